// Package publish writes a page of results in Markdown from records: tables, plots, links from every row to its records, and
// what the runs do not show.
//
// In go records with the paths of their files; out come the page and its plots, which depend on nothing else, so that a test
// can compare a page with its records.
package publish

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/frontier"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// Source is a record and where its file is, relative to the page, with slashes.
type Source struct {
	Record results.Record
	Path   string
}

// Page is what a page of results is made of.
type Page struct {
	Trained []Source // accuracy and memory
	Timed   []Source // step times, measured apart; empty: those of Trained
	Images  string   // folder of the plots, relative to the page
	InDocs  bool     // the page lies in the folder of Localbench's documentation, which it can link
}

// Figures are the plots of the page, in its order, by the names of their files without extension.
func (p Page) Figures() (all []figure.Named, err error) {
	for _, s := range p.sections() {
		if s.smoke() {
			continue
		}
		f, err := figure.Frontier(s.task)
		if err != nil {
			return nil, err
		}
		all = append(all, figure.Named{Name: "frontier-" + s.task.Name(), Figure: f})
		if f, err := figure.AccuracyByEpoch(records(s.trained)); err == nil && s.task.Epochs > 1 {
			all = append(all, figure.Named{Name: "accuracy-" + s.task.Name(), Figure: f})
		}
	}
	return all, nil
}

// section is one network, data set and schedule.
type section struct {
	task    frontier.Task
	trained []Source
}

// sections are those whose accuracies mean something, the longest schedule of a network and data set first, and of
// two schedules of one length the one with more runs; then the smoke runs.
func (p Page) sections() (all []section) {
	for _, t := range frontier.Of(records(p.Trained), records(p.Timed)) {
		s := section{task: t}
		for _, r := range p.Trained {
			if t.Has(r.Record) {
				s.trained = append(s.trained, r)
			}
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b section) int {
		x, y := a.trained[0].Record.Spec, b.trained[0].Record.Spec
		return cmp.Or(cmp.Compare(rank(a.smoke()), rank(b.smoke())), cmp.Compare(x.Network, y.Network),
			cmp.Compare(x.Dataset, y.Dataset), cmp.Compare(b.task.Epochs, a.task.Epochs), cmp.Compare(len(b.trained), len(a.trained)))
	})
	return all
}

func rank(last bool) int {
	if last {
		return 1
	}
	return 0
}

func records(sources []Source) (all []results.Record) {
	for _, s := range sources {
		all = append(all, s.Record)
	}
	return all
}

// Write writes the page.
func (p Page) Write(w io.Writer) error {
	var b bytes.Buffer
	sections := p.sections()
	b.WriteString("# Results\n\nThis page is written from records by `benchctl report --results`; do not edit it. " +
		"Each table is followed by links to " +
		"the records that\nits numbers are from, with the command of each.\n")
	fmt.Fprintf(&b, "\nAccuracies and memory: %s.\n", machines(records(p.Trained)))
	if len(p.Timed) > 0 {
		fmt.Fprintf(&b, "Step times, measured apart: %s.\n", machines(records(p.Timed)))
	}
	if p.InDocs {
		b.WriteString("\nWhat the columns mean: [measurement.md](measurement.md). Verdicts: [frontier.md](frontier.md).\n")
	} else {
		b.WriteString("\nLocalbench's documentation tells what the columns mean (docs/measurement.md) " +
			"and the verdicts (docs/frontier.md).\n")
	}
	markdown, err := table.Lookup("markdown")
	if err != nil {
		return err
	}
	smoke := false
	for _, s := range sections {
		t := s.task.Table()
		t.Title, t.Notes = "", s.task.Notes // the others are in frontier.md
		heading := "##"
		if s.smoke() {
			if !smoke {
				b.WriteString("\n## Smoke runs\n\nShort runs, which show that a combination works. Their accuracies mean nothing.\n")
			}
			smoke, heading = true, "###"
			t = t.Only("run", "step_arena_bytes", "last_top1")
		}
		fmt.Fprintf(&b, "\n%s %s\n\n", heading, s.task.Title())
		if err := markdown.Write(&b, t); err != nil {
			return err
		}
		if !s.smoke() {
			fmt.Fprintf(&b, "\n![%s](%s)\n", "accuracy over memory", path.Join(p.Images, "frontier-"+s.task.Name()+".svg"))
			if s.task.Epochs > 1 {
				fmt.Fprintf(&b, "\n![%s](%s)\n", "accuracy by epoch", path.Join(p.Images, "accuracy-"+s.task.Name()+".svg"))
			}
		}
		links(&b, s.trained)
	}
	if len(p.Timed) > 0 {
		b.WriteString("\n## Records of step times\n")
		links(&b, p.Timed)
	}
	b.WriteString(p.limits(sections))
	_, err = w.Write(b.Bytes())
	return err
}

// links writes a table of records with links to their files, and the command of each.
func links(b *bytes.Buffer, sources []Source) {
	b.WriteString("\n| record | command |\n|---|---|\n")
	for _, r := range sources {
		fmt.Fprintf(b, "| [%s](%s) | `benchctl %s` |\n", r.Record.ID, r.Path, results.Command(r.Record.Spec))
	}
}

// smoke reports whether the runs were too short to say anything about accuracy.
func (s section) smoke() bool {
	return s.task.Epochs < 3 || s.trained[0].Record.Spec.TrainLimit > 0
}

// machines says on what, and by which commits, records were made.
func machines(all []results.Record) string {
	of := map[string]int{}
	for _, r := range all {
		e := r.Environment
		commit := cmp.Or(e.Commit, e.Version, "an unknown version")
		isa := e.Libraries["isa"]
		if isa != "" {
			isa = ", " + isa
		}
		of[fmt.Sprintf("%s%s, %s, commit %s", cmp.Or(e.GPU, e.CPU, "a machine without a name"), isa,
			e.OS, commit[:min(len(commit), 10)])]++
	}
	var parts []string
	for _, place := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%d on %s", of[place], place))
	}
	return strings.Join(parts, "; ")
}

// limits is the section on what the runs do not show.
func (p Page) limits(sections []section) string {
	longest := int64(0)
	gpu, single := false, false
	for _, s := range p.Trained {
		longest = max(longest, s.Record.Spec.Epochs)
		gpu = gpu || s.Record.Environment.GPU != ""
	}
	for _, s := range sections {
		for _, point := range s.task.Points {
			single = single || len(point.Top1) == 1
		}
	}
	var b strings.Builder
	b.WriteString("\n## What these runs do not show\n\n")
	fmt.Fprintf(&b, "- The longest schedule here has %d epochs. Papers train for 160 to 400: the accuracies here are lower, "+
		"and the distances between\n"+
		"  methods may shrink or grow with training. Only the order of methods is compared with papers.\n", longest)
	if single {
		b.WriteString("- Rows of one seed say nothing about the spread of accuracies: " +
			"their order may be another one with other seeds.\n")
	}
	if !gpu {
		b.WriteString("- Nothing here ran on a GPU. Memory is exact for these programs; step times say nothing about a GPU.\n")
	}
	b.WriteString("- No network here is larger than its table says, " +
		"and no result carries over to larger networks or images by itself.\n")
	return b.String()
}

// Save writes the page to a file and its plots to the folder of images beside it, and returns the files.
func (p Page) Save(path string) (files []string, err error) {
	figures, err := p.Figures()
	if err != nil {
		return nil, err
	}
	images := filepath.Join(filepath.Dir(path), filepath.FromSlash(p.Images))
	if err := atomicfile.MakeFolder(images); err != nil {
		return nil, err
	}
	for _, drawn := range figures {
		file := filepath.Join(images, drawn.Name+".svg")
		if err := atomicfile.WriteThrough(file, 0o666, drawn.SVG); err != nil {
			return files, err
		}
		files = append(files, file)
	}
	if err := atomicfile.WriteThrough(path, 0o666, p.Write); err != nil {
		return files, err
	}
	return append(files, path), nil
}

package page

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/frontier"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// Options are what a page says besides its records.
type Options struct {
	Title string
	Paths []string // that the records were read from
	Eager bool     // with tables of what an eager framework would report
}

// Of is the report of records: their tables, figures, runs, and files to save.
func Of(records []results.Record, o Options) (r Report, err error) {
	r = Report{Title: o.Title, Tables: tables(records, o.Eager), Figures: figure.All(records), About: about(records, o.Paths)}
	for _, task := range frontier.Of(records, nil) {
		if len(task.Points) < 2 {
			continue
		}
		r.Tables = append(r.Tables, task.Table())
		f, err := figure.Frontier(task)
		if err != nil {
			return r, err
		}
		r.Figures = append(r.Figures, figure.Named{Name: "frontier-" + task.Name(), Figure: f})
	}
	r.Runs, r.MoreRuns = Runs(records)
	r.Files, err = downloads(records)
	return r, err
}

// tables are the tables of a page: one for each network and data set, so that a phone's width
// is left to what was measured.
func tables(records []results.Record, eager bool) (all []table.Table) {
	of := map[string][]results.Record{}
	for _, r := range records {
		task := r.Spec.Network + " on " + r.Spec.Dataset
		of[task] = append(of[task], r)
	}
	for _, task := range slices.SortedFunc(maps.Keys(of), table.CompareNatural) {
		all = append(all, table.Summary(of[task]))
		if eager {
			all = append(all, table.Eager(of[task]))
		}
	}
	return all
}

// about says what a page is of, to a reader who has nothing but the page: how many runs of what,
// when, by which program and on which machines.
func about(records []results.Record, paths []string) []string {
	statuses := map[results.Status]int{}
	var what, where, commits []string
	var first, last time.Time
	for _, r := range records {
		statuses[r.Status]++
		what = append(what, r.Spec.Network+" on "+r.Spec.Dataset)
		where = append(where, cmp.Or(r.Environment.GPU, r.Environment.CPU, "a machine without a name"))
		if c := r.Environment.Commit; c != "" {
			commits = append(commits, "commit "+c[:min(len(c), 10)])
		} else {
			commits = append(commits, "version "+cmp.Or(r.Environment.Version, "unknown"))
		}
		if !r.Started.IsZero() && (first.IsZero() || r.Started.Before(first)) {
			first = r.Started
		}
		if r.Finished.After(last) {
			last = r.Finished
		}
	}
	distinct := func(names []string) string {
		slices.Sort(names)
		return strings.Join(slices.Compact(names), ", ")
	}
	runs := english.Plural(len(records), "run", "")
	for _, s := range results.Statuses()[1:] {
		if statuses[s] > 0 {
			runs += fmt.Sprintf(", %d %s", statuses[s], s)
		}
	}
	lines := []string{fmt.Sprintf("%s of %s (%s).", runs, distinct(what), strings.Join(relative(paths), ", "))}
	made := "Made by benchctl, " + distinct(commits) + ", on " + distinct(where)
	if !first.IsZero() && !last.IsZero() {
		made += ", from " + first.UTC().Format("2006-01-02 15:04") + " to " + last.UTC().Format("2006-01-02 15:04 MST")
	}
	return append(lines, made+".")
}

// relative shortens absolute paths to their last part: a page that is sent to others says nothing of the folders of its maker.
func relative(paths []string) (short []string) {
	for _, path := range paths {
		if filepath.IsAbs(path) {
			path = filepath.Base(path)
		}
		short = append(short, path)
	}
	return short
}

// maxData bounds the records inside a page.
const maxData = 4 << 20

// downloads are the files that a reader can save from the page: the table, and the records if they are not too large.
func downloads(records []results.Record) ([]Download, error) {
	format, err := table.Lookup("csv")
	if err != nil {
		return nil, err
	}
	var summary, all bytes.Buffer
	if err := format.Write(&summary, table.Summary(records)); err != nil {
		return nil, err
	}
	files := []Download{{Name: "summary.csv", Type: "text/csv", Text: summary.Bytes()}}
	encoder := json.NewEncoder(&all)
	for _, r := range records {
		if err := encoder.Encode(r); err != nil {
			return nil, err
		}
		if all.Len() > maxData {
			return files, nil
		}
	}
	return append(files, Download{Name: "records.jsonl", Type: "application/jsonl", Text: all.Bytes()}), nil
}

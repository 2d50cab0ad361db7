package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// historyFlags are those of `history`.
type historyFlags struct {
	baseline, since, format, plots string
	metrics                        []string
}

func historyCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "history [PATH ...] | history --baseline NAME",
		Short: "metrics over commits, and the commits at which they changed",
		Long: "history follows a baseline through the commits that changed it, or records through the\n" +
			"commits of the programs that made them, in the order of git's history. Exact metrics,\n" +
			"such as planned memory, changed where they differ; step time, process peak and accuracy\n" +
			"where a rank test says so, corrected for the number of series. Without paths it is the\n" +
			"history of the baseline memory.",
		Example: "  benchctl history\n  benchctl history results/runs results/older --metrics step_time --plots plots",
	}
	f := &historyFlags{format: "table"}
	flags := c.Flags()
	flags.SortFlags = false
	define(flags, "baseline", "name", "", "a file under version control, or a name below results/baselines", word(&f.baseline))
	define(flags, "since", "revision", "", "only commits that this one does not contain", word(&f.since))
	define(flags, "metrics", "names", "", "follow these only: "+strings.Join(compare.Metrics(), ", "), words(&f.metrics))
	define(flags, "plots", "folder", "", "draw each metric that changed over the commits, as PNG and SVG", word(&f.plots))
	define(flags, "format", "name", f.format, "of the table: table, markdown, csv, latex or json", word(&f.format))
	c.RunE = func(_ *cobra.Command, args []string) error { return f.run(env, args) }
	return c
}

func (f *historyFlags) run(env Env, paths []string) error {
	format, err := table.Lookup(f.format)
	if err != nil {
		return usage(err)
	}
	for _, m := range f.metrics {
		if !slices.Contains(compare.Metrics(), m) {
			return usage(fmt.Errorf("metrics: got %q, want some of %s", m, strings.Join(compare.Metrics(), ", ")))
		}
	}
	if f.baseline != "" && len(paths) > 0 {
		return usage(errors.New("history: got paths and --baseline, want one of them"))
	}
	var revisions []compare.Revision
	if len(paths) > 0 {
		revisions, err = f.ofRecords(env, paths)
	} else {
		revisions, err = f.ofBaseline(env, baselinePath(cmp.Or(f.baseline, memoryBaseline)))
	}
	if err != nil {
		return err
	}
	all := compare.History(revisions, f.metrics...)
	if len(all) == 0 {
		return &noBaselineError{fmt.Errorf("history: of %d commits no two have a measurement in common, want two", len(revisions))}
	}
	steps := compare.Steps(all)
	a := answer{tables: []table.Table{historyTable(revisions, all, steps)}}
	if f.plots != "" {
		if a.plots, err = drawHistory(f.plots, revisions, all, steps); err != nil {
			return usage(err)
		}
	}
	return env.emit(format, a, nil)
}

// ofBaseline reads every version that a file had.
func (f *historyFlags) ofBaseline(env Env, path string) (revisions []compare.Revision, err error) {
	dir, base := filepath.Split(path)
	commits, err := gitLog(dir, f.since, "--", base)
	if err != nil {
		return nil, &noBaselineError{err}
	}
	scratch, err := os.MkdirTemp("", "benchctl-history-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	for _, c := range commits {
		text, err := git(dir, "show", c.hash+":./"+base)
		if err != nil {
			continue // the commit that removed it
		}
		version := filepath.Join(scratch, short(c.hash)+"-"+base)
		if err := os.WriteFile(version, []byte(text), 0o600); err != nil {
			return nil, err
		}
		records, warnings, err := results.ReadAny(version)
		for _, w := range warnings {
			fmt.Fprintf(env.Stderr, "benchctl: commit %s: %s\n", short(c.hash), w)
		}
		if err != nil {
			fmt.Fprintf(env.Stderr, "benchctl: commit %s: skipped %v\n", short(c.hash), err)
			continue
		}
		revisions = append(revisions, compare.Revision{Commit: c.hash, Subject: c.subject, Records: records})
	}
	return revisions, nil
}

// ofRecords groups records by the commit of the program that made them. The order is git's
// where git knows all of the commits, and else that of the first runs.
func (f *historyFlags) ofRecords(env Env, paths []string) ([]compare.Revision, error) {
	records, err := readAll(env, paths)
	if err != nil {
		return nil, err
	}
	commits, err := gitLog("", f.since)
	if err != nil && f.since != "" {
		return nil, usage(err)
	}
	type entry struct {
		compare.Revision
		place int // in git's order; -1: git does not know it
		first time.Time
	}
	found := map[string]*entry{}
	unknown := 0
	for _, r := range records {
		hash := r.Environment.Commit
		if hash == "" {
			unknown++
			continue
		}
		e := found[hash]
		if e == nil {
			e = &entry{Revision: compare.Revision{Commit: hash}, first: r.Started}
			e.place = slices.IndexFunc(commits, func(c commit) bool { return strings.HasPrefix(c.hash, hash) })
			if e.place >= 0 {
				e.Subject = commits[e.place].subject
			}
			found[hash] = e
		}
		if r.Started.Before(e.first) {
			e.first = r.Started
		}
		e.Records = append(e.Records, r)
	}
	if unknown > 0 {
		fmt.Fprintf(env.Stderr, "benchctl: history: %d records without a commit are left out\n", unknown)
	}
	var all []*entry
	known := true
	for _, e := range found {
		if f.since != "" && e.place < 0 {
			continue
		}
		known = known && e.place >= 0
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int {
		if known {
			return cmp.Or(cmp.Compare(a.place, b.place), strings.Compare(a.Commit, b.Commit))
		}
		return cmp.Or(a.first.Compare(b.first), strings.Compare(a.Commit, b.Commit))
	})
	var out []compare.Revision
	for _, e := range all {
		out = append(out, e.Revision)
	}
	return out, nil
}

// commit is one commit of the history.
type commit struct{ hash, subject string }

// gitLog lists commits, the oldest first: those that since does not contain, or all.
func gitLog(dir, since string, extra ...string) (commits []commit, err error) {
	revisions := "HEAD"
	if since != "" {
		revisions = since + "..HEAD"
	}
	text, err := git(dir, append([]string{"log", "--topo-order", "--reverse", "--format=%H%x09%s", revisions}, extra...)...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		hash, subject, _ := strings.Cut(strings.TrimSpace(line), "\t")
		commits = append(commits, commit{hash, subject})
	}
	return commits, nil
}

// git runs git in a folder and returns what it prints.
func git(dir string, args ...string) (string, error) {
	c := exec.Command("git", args...)
	c.Dir = dir
	out, err := c.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return "", fmt.Errorf("git %s: %s", args[0], oneLine(string(failed.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("git: %w", err)
	}
	return string(out), nil
}

// short is the beginning of a hash.
func short(hash string) string { return hash[:min(len(hash), 10)] }

func historyTable(revisions []compare.Revision, all []compare.Series, steps []compare.Step) table.Table {
	t := table.Table{Title: "Where metrics changed", Columns: []table.Column{textColumn("run", "run"), textColumn("metric", "metric"),
		textColumn("commit", "commit"), textColumn("subject", "subject"), numberColumn("before", "before"), numberColumn("after", "after"),
		numberColumn("change", "change"), numberColumn("p", "p, corrected")}}
	for _, s := range steps {
		series := all[s.Series]
		cell := compare.Cell{Metric: series.Metric, Exact: series.Exact, Old: s.Before, New: s.After}
		p := table.Text("exact")
		if !series.Exact {
			p = table.Number(s.P, fmt.Sprintf("%.2g", s.P))
		}
		t.Rows = append(t.Rows, []table.Cell{table.Text(series.Run), table.Text(series.Metric), table.Text(short(s.Commit)), table.Text(s.Subject),
			metricCell(series, s.Before), metricCell(series, s.After), table.Number(s.Change, cell.Percent(s.Change)), p})
	}
	t.Notes = []string{fmt.Sprintf("%d series over %d commits, %s to %s; %d changes.", len(all), len(revisions),
		short(revisions[0].Commit), short(revisions[len(revisions)-1].Commit), len(steps))}
	return t
}

func metricCell(s compare.Series, x float64) table.Cell {
	switch {
	case s.Unit == "bytes":
		return table.Number(x, table.Bytes(int64(x)))
	case s.Metric == "top1":
		return table.Number(x, fmt.Sprintf("%.2f %%", 100*x))
	case x == math.Trunc(x):
		return table.Number(x, strings.TrimSpace(fmt.Sprintf("%.0f %s", x, s.Unit)))
	}
	return table.Number(x, strings.TrimSpace(fmt.Sprintf("%.5g %s", x, s.Unit)))
}

// drawHistory draws a figure for each metric that changed anywhere: the series that did.
func drawHistory(dir string, revisions []compare.Revision, all []compare.Series, steps []compare.Step) (files []string, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("plots: %w", err)
	}
	var names []string
	place := map[string]int{}
	for i, r := range revisions {
		names = append(names, short(r.Commit)[:min(len(r.Commit), 7)])
		place[r.Commit] = i
	}
	lines := map[string][]figure.HistoryLine{}
	for i, s := range all {
		line := figure.HistoryLine{Label: s.Run}
		for _, p := range s.Points {
			line.Points = append(line.Points, figure.HistoryPoint{At: place[p.Commit], Value: p.Median()})
		}
		for _, step := range steps {
			if step.Series == i {
				line.Steps = append(line.Steps, place[step.Commit])
			}
		}
		if len(line.Steps) > 0 {
			lines[s.Metric] = append(lines[s.Metric], line)
		}
	}
	for _, metric := range compare.Metrics() {
		if len(lines[metric]) == 0 {
			continue
		}
		one, err := figure.History(metric, names, lines[metric])
		if err != nil {
			return files, err
		}
		base := filepath.Join(dir, "history-"+metric)
		if err := figure.Save(one, base); err != nil {
			return files, fmt.Errorf("plots: %w", err)
		}
		files = append(files, base+".png", base+".svg")
	}
	return files, nil
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// historyFlags are those of `history`.
type historyFlags struct {
	baseline, since, plots string
	output                 *output
	metrics                []string
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
	f := &historyFlags{}
	flags := c.Flags()
	flags.SortFlags = false
	define(flags, "baseline", "name", "", "a file under version control, or a name below results/baselines", word(&f.baseline))
	define(flags, "since", "revision", "", "what changed in commits that this one does not contain", word(&f.since))
	define(flags, "metrics", "names", "", "follow these only: "+strings.Join(compare.Metrics(), ", "), words(&f.metrics))
	define(flags, "plots", "folder", "", "draw each metric that changed over the commits, as PNG, SVG and PDF", word(&f.plots))
	f.output = addOutput(flags)
	c.RunE = func(_ *cobra.Command, args []string) error { return f.run(env, args) }
	return c
}

func (f *historyFlags) run(env Env, paths []string) error {
	err := f.output.open()
	if err != nil {
		return err
	}
	if err := knownMetrics(f.metrics); err != nil {
		return err
	}
	if f.baseline != "" && len(paths) > 0 {
		return usage(errors.New("history: got paths and --baseline, want one of them"))
	}
	var revisions []compare.Revision
	order := gitOrder
	if len(paths) > 0 {
		revisions, order, err = f.ofRecords(env, paths)
	} else {
		revisions, err = f.ofBaseline(env, baselinePath(cmp.Or(f.baseline, memoryBaseline)))
	}
	if err != nil {
		return err
	}
	h := history{revisions: revisions, all: compare.History(revisions, f.metrics...), order: order}
	if len(h.all) == 0 {
		return &noBaselineError{fmt.Errorf("history: of %d commits no two have a measurement in common, want two", len(revisions))}
	}
	h.steps, h.short = compare.Steps(h.all)
	a := answer{tables: []table.Table{h.table()}}
	if f.plots != "" {
		if a.plots, err = h.draw(f.plots); err != nil {
			return usage(err)
		}
	}
	return env.emit(f.output, a, nil)
}

// history is what is followed over commits, and where it changed.
type history struct {
	revisions []compare.Revision
	all       []compare.Series
	steps     []compare.Step
	short     int
	order     string // of the commits, in words
}

// gitOrder says that commits come in the order of git's history.
const gitOrder = "in git's order"

// ofBaseline reads every version that a file had; with --since those behind it, and the one
// before them to hold the first against.
func (f *historyFlags) ofBaseline(env Env, path string) (revisions []compare.Revision, err error) {
	dir, base := filepath.Split(path)
	commits, err := gitLog(dir, "HEAD", "--", base)
	if err != nil {
		return nil, &noBaselineError{err}
	}
	behind, err := f.behind(dir)
	if err != nil {
		return nil, err
	}
	for _, c := range keep(commits, behind, func(c commit) string { return c.hash }) {
		text, err := git(dir, "show", c.hash+":./"+base)
		if err != nil {
			continue // the commit that removed it
		}
		records, warnings, err := results.Parse(base+" at commit "+short(c.hash), []byte(text))
		if err != nil {
			warnings = append(warnings, results.Warning{Path: path, Err: err})
		}
		for _, w := range warnings {
			warn(env.Stderr, w.String())
		}
		if err == nil {
			revisions = append(revisions, compare.Revision{Commit: c.hash, Subject: c.subject, Records: records})
		}
	}
	return revisions, nil
}

// behind is the set of commits that --since does not contain; nil without the flag.
func (f *historyFlags) behind(dir string) (map[string]bool, error) {
	if f.since == "" {
		return nil, nil
	}
	commits, err := gitLog(dir, f.since+"..HEAD")
	if err != nil {
		return nil, usage(fmt.Errorf("since: %w", err))
	}
	set := map[string]bool{}
	for _, c := range commits {
		set[c.hash] = true
	}
	return set, nil
}

// keep is what lies behind, and the last before; all without a set.
func keep[T any](all []T, behind map[string]bool, hash func(T) string) (out []T) {
	if behind == nil {
		return all
	}
	for _, one := range slices.Backward(all) {
		if !behind[hash(one)] {
			out = append(out, one)
			break
		}
	}
	for _, one := range all {
		if behind[hash(one)] {
			out = append(out, one)
		}
	}
	return out
}

// ofRecords groups records by the commit of the program that made them. The order is git's
// where git knows all of the commits, and else that of the first runs, which it says.
func (f *historyFlags) ofRecords(env Env, paths []string) (revisions []compare.Revision, order string, err error) {
	records, err := readAll(env, paths)
	if err != nil {
		return nil, "", err
	}
	behind, err := f.behind("")
	if err != nil {
		return nil, "", err
	}
	commits, _ := gitLog("", "HEAD") // without git no commit is known
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
				e.Commit, e.Subject = commits[e.place].hash, commits[e.place].subject
			}
			found[hash] = e
		}
		if r.Started.Before(e.first) {
			e.first = r.Started
		}
		e.Records = append(e.Records, r)
	}
	if unknown > 0 {
		fmt.Fprintf(env.Stderr, "benchctl: history: %s without a commit left out\n", english.Plural(unknown, "record", ""))
	}
	all := slices.SortedFunc(maps.Values(found), func(a, b *entry) int {
		return cmp.Or(a.first.Compare(b.first), strings.Compare(a.Commit, b.Commit))
	})
	if behind != nil {
		all = slices.DeleteFunc(all, func(e *entry) bool {
			if e.place < 0 {
				fmt.Fprintf(env.Stderr, "benchctl: history: %s of commit %s left out: git does not say whether it comes after %s\n",
					english.Plural(len(e.Records), "record", ""), short(e.Commit), f.since)
			}
			return e.place < 0
		})
	}
	order = gitOrder
	if at := slices.IndexFunc(all, func(e *entry) bool { return e.place < 0 }); at >= 0 {
		order = fmt.Sprintf("in the order of their first runs, because git does not know %s", short(all[at].Commit))
	} else {
		slices.SortStableFunc(all, func(a, b *entry) int { return cmp.Compare(a.place, b.place) })
	}
	for _, e := range keep(all, behind, func(e *entry) string { return e.Commit }) {
		revisions = append(revisions, e.Revision)
	}
	return revisions, order, nil
}

// commit is one commit of the history.
type commit struct{ hash, subject string }

// gitLog lists the commits of a range, the oldest first.
func gitLog(dir, revisions string, extra ...string) (commits []commit, err error) {
	text, err := git(dir, append([]string{"log", "--topo-order", "--reverse", "--format=%H%x09%s", "--end-of-options", revisions}, extra...)...)
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

func (h history) table() table.Table {
	t := table.Table{ID: "history", Title: "Where metrics changed", Columns: []table.Column{table.TextColumn("run", "run"), table.TextColumn("metric", "metric"),
		table.TextColumn("previous", "not yet at"), table.TextColumn("commit", "commit"), table.TextColumn("subject", "subject"), table.NumberColumn("before", "before"), table.NumberColumn("after", "after"),
		table.NumberColumn("change", "change"), table.NumberColumn("p", "p, corrected")}}
	for _, s := range h.steps {
		series := h.all[s.Series]
		cell := compare.Cell{Metric: series.Metric, Exact: series.Exact, Old: s.Before, New: s.After}
		p := table.Text("exact")
		if !series.Exact {
			p = table.Number(s.P, fmt.Sprintf("%.2g", s.P))
		}
		t.Rows = append(t.Rows, []table.Cell{table.Text(series.Run), table.Text(series.Metric), table.Text(short(s.Previous)), table.Text(short(s.Commit)), table.Text(s.Subject),
			metricCell(series, s.Before), metricCell(series, s.After), table.Number(s.Change, cell.Percent(s.Change)), p})
	}
	t.Notes = []string{fmt.Sprintf("%d series over %s, %s to %s, %s; %s.", len(h.all), english.Plural(len(h.revisions), "commit", ""),
		short(h.revisions[0].Commit), short(h.revisions[len(h.revisions)-1].Commit), h.order, english.Plural(len(h.steps), "change", ""))}
	if h.short > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d series have too few repetitions for any change to be found.", h.short))
	}
	return t
}

func metricCell(s compare.Series, x float64) table.Cell {
	return table.Number(x, s.Text(x))
}

// draw draws a figure for each metric that changed anywhere: the series that did.
func (h history) draw(dir string) (files []string, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, unwritten(fmt.Errorf("plots: %w", err))
	}
	var names []string
	place := map[string]int{}
	for i, r := range h.revisions {
		names = append(names, short(r.Commit)[:min(len(r.Commit), 7)])
		place[r.Commit] = i
	}
	lines := map[string][]figure.HistoryLine{}
	for i, s := range h.all {
		line := figure.HistoryLine{Label: s.Run}
		for _, p := range s.Points {
			line.Points = append(line.Points, figure.HistoryPoint{At: place[p.Commit], Value: p.Median()})
		}
		for _, step := range h.steps {
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
		saved, err := figure.Save(one, filepath.Join(dir, "history-"+metric))
		if err != nil {
			return files, fmt.Errorf("plots: %w", err)
		}
		files = append(files, saved...)
	}
	return files, nil
}

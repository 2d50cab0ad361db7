// Package history follows metrics over commits: of a baseline through the commits that changed it, or of records through the
// commits of the programs that made them.
//
// In go revisions in the order of git's history; out come a table of the commits at which metrics changed (package compare
// finds them) and a figure for each metric.
package history

import (
	"fmt"
	"path/filepath"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/git"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/table"
)

// History is what is followed over commits, and where it changed.
type History struct {
	Revisions []compare.Revision
	Order     string // of the commits, in words
	series    []compare.Series
	steps     []compare.Step
	short     int // series with too few repetitions
}

// New finds the changes of metrics over revisions; no metrics are all.
func New(revisions []compare.Revision, order string, metrics ...string) History {
	h := History{Revisions: revisions, Order: order, series: compare.History(revisions, metrics...)}
	if !h.Empty() {
		h.steps, h.short = compare.Steps(h.series)
	}
	return h
}

// Empty reports whether no two revisions have a measurement in common.
func (h History) Empty() bool { return len(h.series) == 0 }

// Table has a row for each change.
func (h History) Table() table.Table {
	t := table.Table{ID: "history", Title: "Where metrics changed", Columns: []table.Column{
		table.TextColumn("run", "run"), table.TextColumn("metric", "metric"), table.TextColumn("previous", "not yet at"),
		table.TextColumn("commit", "commit"), table.TextColumn("subject", "subject"), table.NumberColumn("before", "before"),
		table.NumberColumn("after", "after"), table.NumberColumn("change", "change"), table.NumberColumn("p", "p, corrected")}}
	for _, s := range h.steps {
		series := h.series[s.Series]
		cell := compare.Cell{Metric: series.Metric, Exact: series.Exact, Old: s.Before, New: s.After}
		p := table.Text("exact")
		if !series.Exact {
			p = table.Number(s.P, fmt.Sprintf("%.2g", s.P))
		}
		t.AddRow(table.Text(series.Run), table.Text(series.Metric), table.Text(git.Short(s.Previous)), table.Text(git.Short(s.Commit)),
			table.Text(s.Subject), metricCell(series, s.Before), metricCell(series, s.After),
			table.Number(s.Change, cell.Percent(s.Change)), p)
	}
	first, last := h.Revisions[0], h.Revisions[len(h.Revisions)-1]
	t.Notes = []string{fmt.Sprintf("%d series over %s, %s to %s, %s; %s.", len(h.series),
		english.Plural(len(h.Revisions), "commit", ""), git.Short(first.Commit), git.Short(last.Commit), h.Order,
		english.Plural(len(h.steps), "change", ""))}
	if h.short > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d series have too few repetitions for any change to be found.", h.short))
	}
	return t
}

// metricCell is a value of a series.
func metricCell(s compare.Series, x float64) table.Cell {
	return table.Number(x, s.Text(x))
}

// Draw draws a figure for each metric that changed anywhere into a folder: the series that did. It returns the files.
func (h History) Draw(dir string) (files []string, err error) {
	if err := atomicfile.MakeFolder(dir); err != nil {
		return nil, err
	}
	var names []string
	place := map[string]int{}
	for i, r := range h.Revisions {
		names = append(names, git.Short(r.Commit)[:min(len(r.Commit), 7)])
		place[r.Commit] = i
	}
	lines := map[string][]figure.HistoryLine{}
	for i, s := range h.series {
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

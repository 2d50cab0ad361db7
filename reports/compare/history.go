package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// Revision is the records of one commit.
type Revision struct {
	Commit, Subject string // hash, and first line of its message
	Records         []results.Record
}

// Series is a metric of a measurement over commits, the oldest first.
type Series struct {
	Run, Metric, Unit string // Run with the machine, where there are several
	Exact             bool
	Points            []Point
}

// Point holds the measurements at one commit: a value for each repetition.
type Point struct {
	Commit, Subject string
	Values          []float64
}

// Median is the middle value.
func (p Point) Median() float64 { return median(p.Values) }

// Text writes a value of the series with its unit.
func (s Series) Text(x float64) string {
	m, _ := metricOf(s.Metric)
	switch {
	case s.Unit == "bytes":
		return table.Bytes(int64(x))
	case m.points:
		return fmt.Sprintf("%.2f %%", 100*x)
	case x == math.Trunc(x):
		return strings.TrimSpace(fmt.Sprintf("%.0f %s", x, s.Unit))
	}
	return strings.TrimSpace(fmt.Sprintf("%.5g %s", x, s.Unit))
}

// History follows the metrics of finished records over revisions, the oldest first.
// Chosen names the metrics; empty: all. Times and process memory of different machines,
// libraries or instruction sets are separate series. A measurement at only one commit is not a series.
func History(revisions []Revision, chosen ...string) []Series {
	var out []Series
	at := map[seriesKey]int{}
	machines := map[seriesKey]map[string]bool{} // by series without the machine
	for _, r := range revisions {
		all, _ := measurements(r.Records)
		for _, key := range sortedKeys(all) {
			for _, m := range metrics() {
				if len(chosen) > 0 && !slices.Contains(chosen, m.name) {
					continue
				}
				for _, x := range all[key] {
					value := m.of(x)
					if value == nil {
						continue
					}
					id := seriesKey{run: key, metric: m.name}
					if machines[id] == nil {
						machines[id] = map[string]bool{}
					}
					if m.timed {
						machines[id][place(x)] = true
						id.machine = place(x)
					}
					if _, ok := at[id]; !ok {
						at[id] = len(out)
						out = append(out, Series{Run: key, Metric: m.name, Unit: m.unit, Exact: m.exact})
					}
					out[at[id]].add(r, *value)
				}
			}
		}
	}
	for id, i := range at {
		if len(machines[seriesKey{run: id.run, metric: id.metric}]) > 1 {
			out[i].Run += " on " + id.machine
		}
	}
	out = slices.DeleteFunc(out, func(s Series) bool { return len(s.Points) < 2 })
	slices.SortStableFunc(out, func(a, b Series) int { return cmp.Compare(a.Run, b.Run) })
	return out
}

// seriesKey identifies a series.
type seriesKey struct{ run, metric, machine string }

// add puts a value at the end of the series.
func (s *Series) add(r Revision, value float64) {
	if n := len(s.Points); n == 0 || s.Points[n-1].Commit != r.Commit {
		s.Points = append(s.Points, Point{Commit: r.Commit, Subject: r.Subject})
	}
	last := &s.Points[len(s.Points)-1]
	last.Values = append(last.Values, value)
}

// place names a machine and libraries as far as times depend on them.
func place(r results.Record) string {
	e := r.Environment
	parts := []string{e.CPU, e.OS, e.GPU, e.Driver}
	if e.Threads != nil {
		parts = append(parts, fmt.Sprintf("%d threads", *e.Threads))
	}
	for _, l := range timedLibraries(r.Spec.Backend) {
		if version := e.Libraries[l.key]; version != "" {
			parts = append(parts, l.key+" "+version)
		}
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

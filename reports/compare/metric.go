package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/localbench/localbench/names"
	"github.com/localbench/localbench/reports/rank"
	"github.com/localbench/localbench/results"
)

// metric is a quantity of a record.
type metric struct {
	name, unit string
	exact      bool
	points     bool // changes are differences of fractions, not ratios
	timed      bool // means nothing across machines
	less       bool // less is better
	threshold  float64
	of         func(results.Record) *float64
	set        func(r *results.Record, x float64) // changes a copy of a record and not what it shares with others
}

// exactSize is a metric that is a whole number and the same in every repetition.
func exactSize(name, unit string, field func(*results.Record) **int64) metric {
	return metric{name: name, unit: unit, exact: true, less: true,
		of:  func(r results.Record) *float64 { return size(*field(&r)) },
		set: func(r *results.Record, x float64) { *field(r) = new(int64(x)) }}
}

func size(p *int64) *float64 {
	if p == nil {
		return nil
	}
	return new(float64(*p))
}

// metrics lists the compared quantities, in the order of the tables.
func metrics() []metric {
	return []metric{
		exactSize("planned_peak", "bytes", func(r *results.Record) **int64 { return &r.Memory.PlannedPeakBytes }),
		exactSize("step_arena", "bytes", func(r *results.Record) **int64 { return &r.Memory.StepArenaBytes }),
		exactSize("arena", "bytes", func(r *results.Record) **int64 { return &r.Memory.ArenaBytes }),
		exactSize("parameters", "", func(r *results.Record) **int64 { return &r.Model.Parameters }),
		exactSize("auxiliary_parameters", "", func(r *results.Record) **int64 { return &r.Model.AuxiliaryParameters }),
		exactSize("step_flops", "FLOP", func(r *results.Record) **int64 { return &r.Model.FLOPsPerSample.Step }),
		{name: "step_time", unit: "s", less: true, timed: true, threshold: 0.05,
			of: func(r results.Record) *float64 {
				if r.Time.StepSeconds == nil {
					return nil
				}
				return &r.Time.StepSeconds.Median
			},
			set: func(r *results.Record, x float64) {
				d := *r.Time.StepSeconds
				d.Median = x
				r.Time.StepSeconds = &d
			}},
		{name: "step_cpu", unit: "s", less: true, timed: true, threshold: 0.05,
			of: func(r results.Record) *float64 {
				if r.Time.StepCPUSeconds == nil || r.Spec.Backend == "cuda" { // there it is the time of waiting for the GPU
					return nil
				}
				return &r.Time.StepCPUSeconds.Median
			},
			set: func(r *results.Record, x float64) {
				d := *r.Time.StepCPUSeconds
				d.Median = x
				r.Time.StepCPUSeconds = &d
			}},
		{name: "process_peak", unit: "bytes", less: true, timed: true, threshold: 0.05,
			of:  func(r results.Record) *float64 { return size(r.Memory.ProcessPeakBytes) },
			set: func(r *results.Record, x float64) { r.Memory.ProcessPeakBytes = new(int64(x)) }},
		{name: "top1", points: true, threshold: 0.005,
			of:  func(r results.Record) *float64 { return r.Accuracy.LastTop1 },
			set: func(r *results.Record, x float64) { r.Accuracy.LastTop1 = &x }},
	}
}

// metricOf finds a metric by its name.
func metricOf(name string) (metric, bool) {
	all := metrics()
	i := slices.IndexFunc(all, func(m metric) bool { return m.name == name })
	if i < 0 {
		return metric{}, false
	}
	return all[i], true
}

// Metrics names the compared quantities, in the order of the tables.
func Metrics() []string {
	var names []string
	for _, m := range metrics() {
		names = append(names, m.name)
	}
	return names
}

// values are those of the records that have the metric.
func (m metric) values(records []results.Record) (out []float64) {
	for _, r := range records {
		if x := m.of(r); x != nil {
			out = append(out, *x)
		}
	}
	return out
}

// change is the change from a to b: the ratio minus 1, or the difference.
func (m metric) change(a, b float64) float64 {
	if m.points {
		return rank.Difference(a, b)
	}
	return rank.Ratio(a, b)
}

// worse is the change in the direction of worse values; negative if the metric improved.
func (m metric) worse(change float64) float64 {
	if m.less {
		return change
	}
	return -change
}

// compare makes the cell of a metric that both sides have. A noisy one gets its verdict from judge.
func (m metric) compare(with tester, run string, old, new []results.Record, t Thresholds) Cell {
	a, b := m.values(old), m.values(new)
	c := Cell{Run: run, Metric: m.name, Unit: m.unit, Exact: m.exact, OldN: len(a), NewN: len(b), Threshold: t.of(m)}
	c.OldCommit, c.NewCommit = old[len(old)-1].Environment.Commit, m.since(a, new)
	if m.exact {
		before, after := m.worst(old), m.worst(new)
		c.Old, c.New = *m.of(before), *m.of(after)
		c.Change = m.change(c.Old, c.New)
		c.Low, c.High = c.Change, c.Change
		c.Verdict = Same
		switch worse := m.worse(c.Change); {
		case worse > c.Threshold:
			c.Verdict = Regression
			c.Why = explain(m.name, before, after)
		case worse < 0:
			c.Verdict = Better
		}
		return c
	}
	c.Old, c.New = median(a), median(b)
	with(m, &c, old, new)
	return c
}

// worst is the value by which an exact metric is judged: at the newest commit that has the metric,
// the record with the worst value.
func (m metric) worst(records []results.Record) results.Record {
	measured := slices.DeleteFunc(slices.Clone(records), func(r results.Record) bool { return m.of(r) == nil })
	newest := measured[len(measured)-1].Environment.Commit
	measured = slices.DeleteFunc(measured, func(r results.Record) bool { return r.Environment.Commit != newest })
	return slices.MaxFunc(measured, func(a, b results.Record) int { return cmp.Compare(m.worse(*m.of(a)), m.worse(*m.of(b))) })
}

// since is the commit of the new side at which the values changed: the one that best cuts
// the old values and those of its commits, in the order of the runs, in two.
func (m metric) since(old []float64, new []results.Record) string {
	s := Series{Points: []Point{{Values: old}}}
	for _, r := range new {
		x := m.of(r)
		if x == nil {
			continue
		}
		at := slices.IndexFunc(s.Points[1:], func(p Point) bool { return p.Commit == r.Environment.Commit })
		if at < 0 {
			s.Points = append(s.Points, Point{Commit: r.Environment.Commit, Values: []float64{*x}})
			continue
		}
		s.Points[at+1].Values = append(s.Points[at+1].Values, *x)
	}
	if len(s.Points) == 2 {
		return s.Points[1].Commit
	}
	return s.Points[s.nearest(0, len(s.Points))].Commit
}

// resolution is the smallest change that a test with the given interval finds with 80 % power:
// half its width plus a margin for the power. Ratios are on a logarithmic scale.
func (m metric) resolution(low, high, power float64) float64 {
	if m.points {
		return (high - low) / 2 * power
	}
	return math.Expm1((math.Log1p(high) - math.Log1p(low)) / 2 * power)
}

// CheckMetrics checks names given to --metrics.
func CheckMetrics(given []string) error {
	for _, m := range given {
		if _, err := names.Find("metric", m, Metrics(), func(s string) string { return s }); err != nil {
			return fmt.Errorf("--metrics: %w", err)
		}
	}
	return nil
}

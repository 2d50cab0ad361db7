// Package compare holds new records against old ones, metric by metric, and says
// what became worse: exactly where a metric is exact, and by a test that assumes no
// distribution where it is noisy.
//
// Records that differ in the seed only are repetitions of one measurement; a cell is
// one measurement and one metric. Opinions:
//   - What cannot be told is said, with the number of repetitions that it would
//     take. It is never a pass.
//   - Many cells are many chances to be wrong: p-values are corrected over the whole
//     grid (Holm, 1979).
//   - A noisy metric is worse if the change is significant and a change of the
//     threshold cannot be excluded: the upper end of its confidence interval is
//     beyond. So a real change of the threshold's size is found, and a significant
//     but small one is none.
//   - Repetitions are exchangeable, the tests assume nothing else. A machine that is slower for
//     a whole session is not told from a slower program; measuring again (Confirm) helps.
package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/perf/benchmath"

	"github.com/localbench/localbench/results"
)

// Alpha bounds the chance of any false alarm in a whole comparison.
const Alpha = 0.05

// confidence of the intervals, in every cell.
const confidence = 0.95

// Verdict is what a cell says.
type Verdict string

// The verdicts, the worst first.
const (
	Regression Verdict = "regression"
	Undecided  Verdict = "cannot tell"
	Better     Verdict = "better"
	Same       Verdict = "same"
)

// Cell is one metric of one measurement, before and after.
type Cell struct {
	Run    string // the spec's id, the seed left out
	Metric string
	Unit   string
	Exact  bool
	Old    float64 // value, or median over the repetitions
	New    float64
	// Change is New relative to Old less 1; for accuracies the difference in points.
	// Low and High are its confidence interval; equal to it where it is exact.
	Change, Low, High float64
	OldN, NewN        int
	P                 float64 // corrected over the grid; 0 where it is exact
	Threshold         float64 // in the unit of Change; worse beyond it
	Verdict           Verdict
	// First is the verdict before the cell was measured again; empty where it was not.
	First Verdict
	// Need is how many repetitions a side would be needed, where they are too few.
	Need int
	// Smallest is the change that as many repetitions as these could have found, four times out of
	// five, among so many cells.
	Smallest float64
	noise    float64  // what Smallest is a multiple of
	Why      []string // of an exact change of memory: where the bytes came from
	// OldCommit is the newest of the old side's programs, NewCommit the one of the new side's
	// at which the values changed; empty where records do not tell.
	OldCommit, NewCommit string
}

// Comparison is the whole grid.
type Comparison struct {
	Cells []Cell
	// Apart are measurements whose noisy metrics were taken on different machines, each
	// with the fields that differ.
	Apart []string
	// OnlyOld and OnlyNew are measurements without a partner.
	OnlyOld, OnlyNew []string
}

// metric is a quantity of a record.
type metric struct {
	name, unit string
	exact      bool
	points     bool    // changes are differences, not ratios
	timed      bool    // means nothing across machines
	better     float64 // +1: more is worse; -1: less is worse
	of         func(results.Record) *float64
}

func size(p *int64) *float64 {
	if p == nil {
		return nil
	}
	x := float64(*p)
	return &x
}

func metrics() []metric {
	return []metric{
		{name: "planned_peak", unit: "bytes", exact: true, better: 1, of: func(r results.Record) *float64 { return size(r.Memory.PlannedPeakBytes) }},
		{name: "step_arena", unit: "bytes", exact: true, better: 1, of: func(r results.Record) *float64 { return size(r.Memory.StepArenaBytes) }},
		{name: "arena", unit: "bytes", exact: true, better: 1, of: func(r results.Record) *float64 { return size(r.Memory.ArenaBytes) }},
		{name: "parameters", unit: "", exact: true, better: 1, of: func(r results.Record) *float64 { return size(r.Model.Parameters) }},
		{name: "auxiliary_parameters", unit: "", exact: true, better: 1, of: func(r results.Record) *float64 { return size(r.Model.AuxiliaryParameters) }},
		{name: "step_flops", unit: "FLOP", exact: true, better: 1, of: func(r results.Record) *float64 { return size(r.Model.FLOPsPerSample.Step) }},
		{name: "step_time", unit: "s", better: 1, timed: true, of: func(r results.Record) *float64 {
			if r.Time.StepSeconds == nil {
				return nil
			}
			return &r.Time.StepSeconds.Median
		}},
		{name: "process_peak", unit: "bytes", better: 1, timed: true, of: func(r results.Record) *float64 { return size(r.Memory.ProcessPeakBytes) }},
		{name: "top1", points: true, better: -1, of: func(r results.Record) *float64 { return r.Accuracy.LastTop1 }},
	}
}

// metricOf finds a metric by its name.
func metricOf(name string) metric {
	all := metrics()
	return all[slices.IndexFunc(all, func(m metric) bool { return m.name == name })]
}

// Metrics names what is compared, in the order of the tables.
func Metrics() []string {
	var names []string
	for _, m := range metrics() {
		names = append(names, m.name)
	}
	return names
}

// Thresholds are by metric: a ratio, or a difference for top1. An exact metric is
// worse beyond its own; all but those given are of Defaults.
type Thresholds map[string]float64

// Defaults are the thresholds of a comparison without a file.
func Defaults() Thresholds {
	return Thresholds{"planned_peak": 0, "arena": 0, "parameters": 0, "auxiliary_parameters": 0, "step_flops": 0,
		"step_time": 0.05, "process_peak": 0.05, "top1": 0.005}
}

// Run compares. Chosen names the metrics, none for all.
func Run(old, new []results.Record, t Thresholds, chosen ...string) Comparison {
	return cells(old, new, t, func(_, metric string) bool { return len(chosen) == 0 || slices.Contains(chosen, metric) })
}

// cells compares the cells that are wanted.
func cells(old, new []results.Record, t Thresholds, wanted func(run, metric string) bool) Comparison {
	var c Comparison
	before, after := measurements(old), measurements(new)
	for _, key := range sortedKeys(before) {
		if after[key] == nil {
			c.OnlyOld = append(c.OnlyOld, key)
			continue
		}
		for _, m := range metrics() {
			if !wanted(key, m.name) {
				continue
			}
			if cell, ok := m.compare(key, before[key], after[key], t); ok {
				c.Cells = append(c.Cells, cell)
				if differ := Machine(before[key][0].Environment, after[key][0].Environment); m.timed && len(differ) > 0 {
					c.Apart = append(c.Apart, key+" ("+strings.Join(differ, ", ")+")")
				}
			}
		}
	}
	for _, key := range sortedKeys(after) {
		if before[key] == nil {
			c.OnlyNew = append(c.OnlyNew, key)
		}
	}
	c.correct()
	return c
}

// measurements groups the finished records that differ in the seed only, in the order of
// the runs.
func measurements(records []results.Record) map[string][]results.Record {
	out := map[string][]results.Record{}
	for _, r := range records {
		if r.Status != results.StatusDone {
			continue
		}
		s := r.Spec
		s.Seed = 0
		key := results.SpecID(s)
		out[key] = append(out[key], r)
	}
	for _, group := range out {
		slices.SortStableFunc(group, func(a, b results.Record) int { return a.Started.Compare(b.Started) })
	}
	return out
}

// Machine names what differs between the machines of two environments, as far as both tell.
func Machine(x, y results.Environment) (differ []string) {
	for _, f := range []struct{ name, a, b string }{{"cpu", x.CPU, y.CPU}, {"os", x.OS, y.OS}, {"gpu", x.GPU, y.GPU}, {"driver", x.Driver, y.Driver}} {
		if f.a != f.b && f.a != "" && f.b != "" {
			differ = append(differ, fmt.Sprintf("%s %q and %q", f.name, f.a, f.b))
		}
	}
	if x.Threads != nil && y.Threads != nil && *x.Threads != *y.Threads {
		differ = append(differ, fmt.Sprintf("%d and %d threads", *x.Threads, *y.Threads))
	}
	return differ
}

func sortedKeys(m map[string][]results.Record) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (m metric) values(records []results.Record) (out []float64) {
	for _, r := range records {
		if x := m.of(r); x != nil {
			out = append(out, *x)
		}
	}
	return out
}

func (m metric) compare(run string, old, new []results.Record, t Thresholds) (Cell, bool) {
	a, b := m.values(old), m.values(new)
	if len(a) == 0 || len(b) == 0 {
		return Cell{}, false
	}
	threshold, ok := t[m.name]
	if !ok {
		threshold = Defaults()[m.name]
	}
	c := Cell{Run: run, Metric: m.name, Unit: m.unit, Exact: m.exact, OldN: len(a), NewN: len(b), Threshold: threshold}
	c.OldCommit, c.NewCommit = old[len(old)-1].Environment.Commit, m.since(a, new)
	if m.exact {
		before, after := m.worst(old), m.worst(new)
		c.Old, c.New = *m.of(before), *m.of(after)
		c.Change = m.change(c.Old, c.New)
		c.Low, c.High = c.Change, c.Change
		c.Verdict = Same
		switch {
		case m.better*c.Change > threshold:
			c.Verdict = Regression
			c.Why = explain(m.name, before, after)
		case m.better*c.Change < 0:
			c.Verdict = Better
		}
		return c, true
	}
	x, y := sample(a), sample(b)
	sx, sy := benchmath.AssumeNothing.Summary(x, confidence), benchmath.AssumeNothing.Summary(y, confidence)
	c.Old, c.New = sx.Center, sy.Center
	c.Change = m.change(c.Old, c.New)
	c.Low, c.High = m.interval(sx, sy)
	c.P = pValue(a, b, m.better)
	c.noise = m.noise(a, b)
	return c, true
}

// worst is what an exact metric is judged by: of the newest commit that has the metric,
// the record with the worst value. Records of one commit agree, or are not told apart.
func (m metric) worst(records []results.Record) results.Record {
	measured := slices.DeleteFunc(slices.Clone(records), func(r results.Record) bool { return m.of(r) == nil })
	newest := measured[len(measured)-1].Environment.Commit
	measured = slices.DeleteFunc(measured, func(r results.Record) bool { return r.Environment.Commit != newest })
	return slices.MaxFunc(measured, func(a, b results.Record) int { return cmp.Compare(m.better**m.of(a), m.better**m.of(b)) })
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

// change is how far b is from a: a ratio less 1, or a difference.
func (m metric) change(a, b float64) float64 {
	switch {
	case m.points:
		return b - a
	case a == b:
		return 0
	case a == 0:
		return math.Inf(1)
	}
	return b/a - 1
}

// interval is the confidence interval of the change, from those of the medians: each
// side's ends against the other's, which is wider than it need be. Too few repetitions
// for an interval (of 95 %: less than 6) exclude no change at all.
func (m metric) interval(a, b benchmath.Summary) (low, high float64) {
	for _, end := range []float64{a.Lo, a.Hi, b.Lo, b.Hi} {
		if math.IsInf(end, 0) || math.IsNaN(end) {
			return math.Inf(-1), math.Inf(1)
		}
	}
	low, high = m.change(a.Hi, b.Lo), m.change(a.Lo, b.Hi)
	return min(low, high), max(low, high)
}

// beyond says whether a change of the metric's default threshold, up or down, cannot be
// excluded.
func (m metric) beyond(a, b []float64) bool {
	low, high := m.interval(benchmath.AssumeNothing.Summary(sample(a), confidence), benchmath.AssumeNothing.Summary(sample(b), confidence))
	return max(-low, high) >= Defaults()[m.name]
}

// sample is a copy of values that the tests may sort.
func sample(values []float64) *benchmath.Sample {
	return benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds)
}

// noise is the standard deviation of a shift between two samples with the pooled spread, as a
// rank test sees it, whose efficiency is 3/pi, in the unit of Change.
func (m metric) noise(a, b []float64) float64 {
	if len(a) < 2 || len(b) < 2 {
		return math.Inf(1)
	}
	spread := math.Sqrt((variance(a)*float64(len(a)-1) + variance(b)*float64(len(b)-1)) / float64(len(a)+len(b)-2))
	shift := spread * math.Sqrt(math.Pi/3*(1/float64(len(a))+1/float64(len(b))))
	if m.points {
		return shift
	}
	return shift / math.Abs(mean(a))
}

func mean(x []float64) (sum float64) {
	for _, v := range x {
		sum += v / float64(len(x))
	}
	return sum
}

func variance(x []float64) (sum float64) {
	m := mean(x)
	for _, v := range x {
		sum += (v - m) * (v - m) / float64(len(x)-1)
	}
	return sum
}

// correct applies Holm's correction to the noisy cells and gives their verdicts.
func (c *Comparison) correct() {
	var noisy []*Cell
	for i := range c.Cells {
		if !c.Cells[i].Exact {
			noisy = append(noisy, &c.Cells[i])
		}
	}
	order := slices.Clone(noisy)
	slices.SortStableFunc(order, func(a, b *Cell) int { return cmp.Compare(a.P, b.P) })
	largest := 0.0
	for i, cell := range order {
		largest = max(largest, min(1, float64(len(order)-i)*cell.P))
		cell.P = largest
	}
	// To be significant at the first step of the correction, and that four times out of five.
	z := quantile(1-Alpha/float64(2*tests*max(len(noisy), 1))) + quantile(0.8)
	for _, cell := range noisy {
		cell.Smallest = z * cell.noise
		cell.decide(Repetitions(len(noisy)))
	}
}

// quantile is the normal distribution's.
func quantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// decide gives the verdict of a noisy cell, which needs so many repetitions.
func (c *Cell) decide(need int) {
	worse, upper := c.Change, c.High
	if c.Metric == "top1" {
		worse, upper = -c.Change, -c.Low
	}
	if min(c.OldN, c.NewN) < need {
		c.Need = need
		c.Verdict = Undecided
		return
	}
	switch {
	case c.P >= Alpha:
		c.Verdict = Same
	case worse > 0 && upper >= c.Threshold:
		c.Verdict = Regression
	case worse < 0:
		c.Verdict = Better
	default:
		c.Verdict = Same
	}
}

// Repetitions is the smallest number of repetitions a side with which rank tests can
// reach significance at all after the correction for so many noisy cells: where all of
// one side lie above all of the other, p of each test is 2 / (2n choose n).
func Repetitions(cells int) int { return repetitions(tests * cells) }

// repetitions is the same for one rank test and so many p-values.
func repetitions(looks int) int {
	n, choose := 1, 2.0
	for 2/choose*float64(looks) >= Alpha {
		n++
		choose *= float64(2*n) * float64(2*n-1) / float64(n) / float64(n)
	}
	return n
}

// explain says where the bytes of two plans differ: by phase, category, module and value.
func explain(name string, old, new results.Record) []string {
	if name != "planned_peak" && name != "arena" {
		return nil
	}
	var out []string
	add := func(what string, before, after int64) {
		if before != after {
			out = append(out, fmt.Sprintf("%s: %d bytes, was %d (%+d)", what, after, before, after-before))
		}
	}
	if old.Memory.PeakOp != new.Memory.PeakOp && new.Memory.PeakOp != "" {
		out = append(out, fmt.Sprintf("the peak is at %s, was at %s", new.Memory.PeakOp, old.Memory.PeakOp))
	}
	if len(old.Memory.ByPhase) > 0 { // older records do not have it
		for _, key := range union(old.Memory.ByPhase, new.Memory.ByPhase) {
			add("highest in phase "+key, old.Memory.ByPhase[key], new.Memory.ByPhase[key])
		}
	}
	for _, key := range union(old.Memory.ByCategory, new.Memory.ByCategory) {
		add("category "+key, old.Memory.ByCategory[key], new.Memory.ByCategory[key])
	}
	if len(old.Memory.ByModule) > 0 && len(new.Memory.ByModule) > 0 { // baselines do not have them
		modules, after := map[string]int64{}, map[string]int64{}
		for _, m := range old.Memory.ByModule {
			modules[m.Name] += m.Bytes
		}
		for _, m := range new.Memory.ByModule {
			after[m.Name] += m.Bytes
		}
		for _, key := range union(modules, after) {
			add(key, modules[key], after[key])
		}
	}
	if len(old.Memory.Top) == 0 || len(new.Memory.Top) == 0 {
		return out
	}
	values, later := largest(old), largest(new)
	for _, key := range union(values, later) {
		switch before, after := values[key], later[key]; {
		case before == 0:
			out = append(out, fmt.Sprintf("tensor %s: %d bytes, was not among the largest", key, after))
		case after == 0:
			out = append(out, fmt.Sprintf("tensor %s: was %d bytes, is not among the largest", key, before))
		default:
			add("tensor "+key, before, after)
		}
	}
	return out
}

// largest are the bytes of the largest tensors by name and category.
func largest(r results.Record) map[string]int64 {
	out := map[string]int64{}
	for _, v := range r.Memory.Top {
		out[v.Name+" ("+v.Category+")"] += v.Bytes
	}
	return out
}

func union(a, b map[string]int64) []string {
	var keys []string
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// Worst returns the cells of a verdict.
func (c Comparison) Worst(v Verdict) []Cell {
	return slices.DeleteFunc(slices.Clone(c.Cells), func(x Cell) bool { return x.Verdict != v })
}

// Sentence is the one that a person needs: the worst of what was found.
func (c Comparison) Sentence() string {
	if bad := c.Worst(Regression); len(bad) > 0 {
		worst := slices.MaxFunc(bad, func(a, b Cell) int { return cmp.Compare(math.Abs(a.Change), math.Abs(b.Change)) })
		text := fmt.Sprintf("%s of %s is worse by %s (%s, was %s)%s", worst.Metric, worst.Run, worst.Percent(worst.Change), number(worst.New), number(worst.Old), worst.since())
		if len(bad) > 1 {
			text += fmt.Sprintf("; %d regressions in all", len(bad))
		}
		return text
	}
	if open := c.Worst(Undecided); len(open) > 0 {
		return fmt.Sprintf("cannot tell whether %s of %s changed: %d and %d repetitions, want %d each", open[0].Metric, open[0].Run, open[0].OldN, open[0].NewN, open[0].Need)
	}
	if len(c.Cells) == 0 {
		return "nothing to compare: no measurement is on both sides"
	}
	return fmt.Sprintf("no regression in %d cells", len(c.Cells))
}

// since names the commits between which a cell changed, as far as records tell.
func (c Cell) since() string {
	short := func(commit string) string { return commit[:min(len(commit), 10)] }
	switch {
	case c.NewCommit == "":
		return ""
	case c.NewCommit == c.OldCommit:
		return " at the same commit " + short(c.NewCommit)
	case c.OldCommit == "":
		return " since commit " + short(c.NewCommit)
	}
	return fmt.Sprintf(" since commit %s (base was %s)", short(c.NewCommit), short(c.OldCommit))
}

// Percent writes a change of the cell: 5.2 %, or 0.4 points.
func (c Cell) Percent(x float64) string {
	if math.IsInf(x, 0) {
		return "any"
	}
	if c.Metric == "top1" {
		return fmt.Sprintf("%.2f points", 100*x)
	}
	if c.Exact && math.Abs(x) < 1e-4 && x != 0 {
		return fmt.Sprintf("%.3g %% (%+.0f)", 100*x, c.New-c.Old)
	}
	return fmt.Sprintf("%.2f %%", 100*x)
}

// number writes a value without an exponent where it is whole.
func number(x float64) string {
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		return fmt.Sprintf("%.0f", x)
	}
	return strings.TrimSpace(fmt.Sprintf("%.6g", x))
}

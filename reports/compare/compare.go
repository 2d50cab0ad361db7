// Package compare compares new records with old ones, metric by metric, and reports what became worse:
// exactly where a metric is exact, and by a test that assumes no distribution where it is noisy.
//
// Records that differ in the seed only are repetitions of one measurement; a cell is one measurement
// and one metric. docs/comparing.md states the decision rule for users; verdict.go applies it. Rules:
//
//   - A measurement or metric that is missing on the new side is a failure; it is not skipped.
//   - A cell that could not have shown a regression does not pass: it is inconclusive.
//   - Interval and verdict come from one test (package rank), so they cannot contradict each other.
//   - Many cells mean many chances of a false alarm. The significance level is divided by the number of
//     noisy cells (Bonferroni), which gives simultaneous confidence intervals; Holm's step-down, which is
//     slightly more powerful, has no such intervals.
//   - The test assumes only that repetitions are exchangeable. It can't distinguish a machine that is slower
//     for a whole session from a slower program; measuring again (Confirm) helps.
package compare

import (
	"slices"
	"strings"

	"github.com/localbench/localbench/reports/rank"
	"github.com/localbench/localbench/results"
)

// Alpha bounds the chance of any false alarm in a whole comparison.
const Alpha = rank.Alpha

// Verdict is the result of a cell.
type Verdict string

// The verdicts, the worst first.
const (
	Regression   Verdict = "regression"
	Missing      Verdict = "missing"      // the old side has it, the new side does not
	Inconclusive Verdict = "inconclusive" // a change of the threshold's size could have been missed
	Better       Verdict = "better"
	Same         Verdict = "same"
	Removed      Verdict = "removed" // missing, and accepted
)

// Whole replaces the metric of a cell if a whole measurement is missing.
const Whole = "measurement"

// Cell is one metric of one measurement, before and after.
type Cell struct {
	Run    string // the spec's id, the seed left out
	Metric string // one of Metrics, or Whole
	Unit   string
	Exact  bool
	Old    float64 // value, or median over the repetitions
	New    float64 // not set where the cell is missing
	// Change is New relative to Old less 1; for accuracies the difference as a fraction. Low and High
	// are its confidence interval; equal to it where it is exact. A noisy change outside of its
	// interval, which comes from all values and not from the medians, is moved to the nearer end.
	Change, Low, High float64
	OldN, NewN        int
	Pairs             int     // of a cell that was measured in turns; 0 for others
	P                 float64 // corrected over the grid; 0 where it is exact
	Threshold         float64 // in the unit of Change
	Verdict           Verdict
	// First is the verdict before the cell was measured again; empty if it was not.
	First Verdict
	// Need is the number of repetitions per side, or of pairs, that is needed if there are too few for any change to be significant.
	Need int
	// Smallest is the change that is found with 80 % power with these repetitions and this
	// number of cells; 0 if exact, infinite if Need is set.
	Smallest float64
	Why      []string // of an exact change of memory, where the bytes came from; why a cell is missing
	// OldCommit is the newest of the old side's programs, NewCommit the one of the new side's
	// at which the values changed; empty if unknown.
	OldCommit, NewCommit string

	test test // of a noisy cell, to be judged when the number of cells is known
}

// Comparison is the whole grid.
type Comparison struct {
	Cells []Cell
	// Apart are measurements whose times were taken on different machines, or with different libraries or instruction
	// sets, each with what differs.
	Apart []string
	// OnlyOld and OnlyNew are measurements without a partner.
	OnlyOld, OnlyNew []string
	// Fewer lists the measurements with fewer repetitions on the new side, with the reason if known.
	Fewer []string
	// Copies is the number of records omitted because the same run was there already.
	Copies int
}

// Run compares. Chosen names the metrics; empty: all.
func Run(old, new []results.Record, t Thresholds, chosen ...string) Comparison {
	return cells(old, new, t, unpaired(), choice(chosen))
}

// choice reports whether a metric is among the chosen ones; all are if chosen is empty.
func choice(chosen []string) func(run, metric string) bool {
	return func(_, metric string) bool { return len(chosen) == 0 || slices.Contains(chosen, metric) }
}

// test is a test of two sides of one cell. The interval holds the changes that it does not reject.
type test interface {
	P() float64
	Interval(level float64) (low, high float64)
}

// tester fills in the test of a noisy cell whose records are given, and the change that it goes with.
type tester func(m metric, c *Cell, old, new []results.Record)

// unpaired tests the values of both sides as two samples.
func unpaired() tester {
	var shared rank.Tester
	return func(m metric, c *Cell, old, new []results.Record) {
		c.Change = m.change(c.Old, c.New)
		c.test = shared.Compare(m.values(old), m.values(new), m.change, m.less)
	}
}

// cells compares the chosen cells.
func cells(old, new []results.Record, t Thresholds, with tester, wanted func(run, metric string) bool) Comparison {
	var c Comparison
	before, copiesBefore := measurements(old)
	after, copiesAfter := measurements(new)
	c.Copies = copiesBefore + copiesAfter
	lost := unfinished(new)
	for _, run := range sortedKeys(before) {
		a, b := before[run], after[run]
		var had []metric
		for _, m := range metrics() {
			if wanted(run, m.name) && len(m.values(a)) > 0 {
				had = append(had, m)
			}
		}
		if b == nil {
			c.OnlyOld = append(c.OnlyOld, run)
			if len(had) > 0 {
				gone := Cell{Run: run, Metric: Whole, OldN: len(a), Verdict: Missing, Why: []string{fate(lost[run])}}
				c.Cells = append(c.Cells, gone)
			}
			continue
		}
		if len(had) > 0 && len(b) < len(a) {
			c.Fewer = append(c.Fewer, fewer(run, a, b, lost[run]))
		}
		for _, m := range had {
			if len(m.values(b)) == 0 {
				c.Cells = append(c.Cells, m.missing(run, a, b))
				continue
			}
			c.Cells = append(c.Cells, m.compare(with, run, a, b, t))
			if m.timed {
				if differ := apart(a, b); len(differ) > 0 {
					c.Apart = append(c.Apart, run+" ("+strings.Join(differ, ", ")+")")
				}
			}
		}
	}
	for _, run := range sortedKeys(after) {
		if before[run] == nil {
			c.OnlyNew = append(c.OnlyNew, run)
		}
	}
	c.judge()
	return c
}

// Worst returns the cells of a verdict.
func (c Comparison) Worst(v Verdict) []Cell {
	return slices.DeleteFunc(slices.Clone(c.Cells), func(x Cell) bool { return x.Verdict != v })
}

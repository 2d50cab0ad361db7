package compare

import (
	"gonum.org/v1/gonum/stat"

	"github.com/localbench/localbench/reports/rank"
	"github.com/localbench/localbench/results"
)

// Pair holds measurements of both sides close to each other in time.
type Pair = results.Pair

// RunPaired is Run for records that were measured in turns. A noisy cell is judged by the change within each pair, from the
// mean of the old side's records to the mean of the new side's, and a signed-rank test of these changes
// (rank.Paired); what the machine does from pair to pair cancels.
//
// Note: on a loaded machine with two threads per core the times of processes have two modes, 7.6 and 9.5 ms for ResNet-20 at
// batch 8, with and without another process on the core. The mean of five has a standard deviation a third below that of their
// median (250 processes at a load average of 25).
func RunPaired(pairs []Pair, t Thresholds, chosen ...string) Comparison {
	old, new := sides(pairs)
	return cells(old, new, t, paired(pairs), choice(chosen))
}

// sides are all records of either side.
func sides(pairs []Pair) (old, new []results.Record) {
	for _, p := range pairs {
		old, new = append(old, p.Old...), append(new, p.New...)
	}
	return old, new
}

// paired tests the changes within pairs. A pair of which a side lacks the metric is left out.
func paired(pairs []Pair) tester {
	return func(m metric, c *Cell, _, _ []results.Record) {
		var before, after []float64
		for _, p := range pairs {
			a, b := m.values(ofRun(p.Old, c.Run)), m.values(ofRun(p.New, c.Run))
			if len(a) > 0 && len(b) > 0 {
				before, after = append(before, m.center(a)), append(after, m.center(b))
			}
		}
		p := rank.ComparePairs(before, after, !m.points)
		c.Pairs, c.test = len(before), p
		if c.Change = p.Change(); len(before) == 0 {
			c.Change = m.change(c.Old, c.New)
		}
	}
}

// center is the mean of values, for ratios that of their logarithms.
func (m metric) center(values []float64) float64 {
	if m.points {
		return stat.Mean(values, nil)
	}
	return stat.GeometricMean(values, nil)
}

// ofRun are the finished records of a measurement.
func ofRun(records []results.Record, run string) (out []results.Record) {
	for _, r := range records {
		if r.Status == results.StatusDone && results.ExperimentID(r.Spec) == run {
			out = append(out, r)
		}
	}
	return out
}

package compare

import (
	"cmp"
	"math"
	"slices"

	"github.com/localbench/localbench/results"
)

// Revision is the records of one commit.
type Revision struct {
	Commit, Subject string // hash, and first line of its message
	Records         []results.Record
}

// Series is a metric of a measurement over commits, the oldest first.
type Series struct {
	Run, Metric, Unit string
	Exact             bool
	Points            []Point
}

// Point is what was measured at one commit: a value for each repetition.
type Point struct {
	Commit, Subject string
	Values          []float64
}

// Median is the middle value.
func (p Point) Median() float64 { return median(p.Values) }

// Step is a place in a series where its metric changed.
type Step struct {
	Series          int // its number in the list that Steps was given
	At              int // the first point behind it
	Commit, Subject string
	Before, After   float64 // values, or medians of the stretches on both sides
	Change          float64 // After relative to Before less 1; for accuracies the difference
	P               float64 // 0 where the metric is exact
}

// History follows the metrics of finished records over revisions, the oldest first.
// Chosen names the metrics, none for all. A measurement that was made at one
// commit only is no series.
func History(revisions []Revision, chosen ...string) []Series {
	var out []Series
	at := map[[2]string]int{}
	for _, r := range revisions {
		all := measurements(r.Records)
		for _, key := range sortedKeys(all) {
			for _, m := range metrics() {
				if len(chosen) > 0 && !slices.Contains(chosen, m.name) {
					continue
				}
				values := m.values(all[key])
				if len(values) == 0 {
					continue
				}
				id := [2]string{key, m.name}
				if _, ok := at[id]; !ok {
					at[id] = len(out)
					out = append(out, Series{Run: key, Metric: m.name, Unit: m.unit, Exact: m.exact})
				}
				s := &out[at[id]]
				s.Points = append(s.Points, Point{r.Commit, r.Subject, values})
			}
		}
	}
	out = slices.DeleteFunc(out, func(s Series) bool { return len(s.Points) < 2 })
	slices.SortStableFunc(out, func(a, b Series) int { return cmp.Compare(a.Run, b.Run) })
	return out
}

// Steps finds where metrics changed. Of an exact one every change is a step. A noisy one
// is cut in two, and then its parts again (binary segmentation;
// Vostrikova, 1981), as long as the test is significant; then the cuts settle between their
// neighbours. Pettitt's test (1979) is of ranks and
// assumes no distribution; its p-value is approximate, and rather too large. Holm's
// correction is over all series, so that the chance of any false step is at most Alpha.
func Steps(all []Series) []Step {
	var out []Step
	var noisy []candidate
	for i, s := range all {
		if !s.Exact {
			if c, ok := s.split(i, 0, len(s.Points)); ok {
				noisy = append(noisy, c)
			}
			continue
		}
		for k := 1; k < len(s.Points); k++ {
			if before, after := s.Points[k-1].Values[0], s.Points[k].Values[0]; before != after {
				out = append(out, s.step(i, k, before, after, 0))
			}
		}
	}
	slices.SortStableFunc(noisy, func(a, b candidate) int { return cmp.Compare(a.p, b.p) })
	tests := len(noisy)
	for i, c := range noisy {
		if float64(tests-i)*c.p >= Alpha {
			break
		}
		s := all[c.series]
		for _, c := range s.settle(s.cut(c, float64(tests-i)), float64(tests-i)) {
			out = append(out, s.step(c.series, c.at, s.median(c.from, c.at), s.median(c.at, c.to), min(1, float64(tests-i)*c.p)))
		}
	}
	slices.SortStableFunc(out, func(a, b Step) int { return cmp.Or(cmp.Compare(a.Series, b.Series), cmp.Compare(a.At, b.At)) })
	return out
}

// candidate is the best place to cut the points from, ..., to-1 of a series.
type candidate struct {
	series, from, to, at int
	p                    float64
}

// split finds the cut of a stretch; false if it has one point only. The test is of ranks; the
// place is where the values deviate the least from the medians of both sides.
func (s Series) split(series, from, to int) (candidate, bool) {
	var values []float64
	var ends []int // of each point, in values
	for _, p := range s.Points[from:to] {
		values = append(values, p.Values...)
		ends = append(ends, len(values))
	}
	c := candidate{series: series, from: from, to: to, p: 1}
	if len(ends) < 2 {
		return c, false
	}
	n := float64(len(values))
	largest, least, u, next := 0.0, math.Inf(1), 0.0, 0
	for k, end := range ends[:len(ends)-1] {
		// U is the sum of the signs of all differences across the cut; each value that moves to the
		// left adds its signs against all.
		for ; next < end; next++ {
			for _, x := range values {
				u += float64(cmp.Compare(values[next], x))
			}
		}
		largest = max(largest, math.Abs(u))
		if d := deviation(values[:end]) + deviation(values[end:]); d < least {
			least, c.at = d, from+k+1
		}
	}
	c.p = min(1, 2*math.Exp(-6*largest*largest/(n*n*n+n*n)))
	return c, true
}

// cut is the cuts of a stretch, the first of which is significant, and of its parts, in order.
func (s Series) cut(c candidate, tests float64) (cuts []candidate) {
	tests *= 2 // two parts
	if next, ok := s.split(c.series, c.from, c.at); ok && tests*next.p < Alpha {
		cuts = s.cut(next, tests)
	}
	cuts = append(cuts, c)
	if next, ok := s.split(c.series, c.at, c.to); ok && tests*next.p < Alpha {
		cuts = append(cuts, s.cut(next, tests)...)
	}
	return cuts
}

// mostRounds bounds how often cuts are moved; they come to rest after two or three.
const mostRounds = 20

// settle moves each cut to where it is best between its neighbours, and drops it where the test
// is not significant there, until nothing changes: the first cut of a stretch with several steps
// lies where all of them pull it (repartition; Bai, 1997).
func (s Series) settle(cuts []candidate, tests float64) []candidate {
	for range mostRounds {
		moved := false
		for i := 0; i < len(cuts); i++ {
			from, to := 0, len(s.Points)
			if i > 0 {
				from = cuts[i-1].at
			}
			if i+1 < len(cuts) {
				to = cuts[i+1].at
			}
			c, _ := s.split(cuts[i].series, from, to)
			moved = moved || c != cuts[i]
			if cuts[i] = c; tests*float64(len(cuts))*c.p >= Alpha {
				cuts = slices.Delete(cuts, i, i+1)
				moved = true
				i--
			}
		}
		if !moved {
			break
		}
	}
	return cuts
}

func (s Series) median(from, to int) float64 {
	var values []float64
	for _, p := range s.Points[from:to] {
		values = append(values, p.Values...)
	}
	return median(values)
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// deviation is the sum of the distances from the median.
func deviation(values []float64) (sum float64) {
	m := median(values)
	for _, x := range values {
		sum += math.Abs(x - m)
	}
	return sum
}

func (s Series) step(series, at int, before, after, p float64) Step {
	m := metric{points: s.Metric == "top1"}
	return Step{Series: series, At: at, Commit: s.Points[at].Commit, Subject: s.Points[at].Subject, Before: before, After: after,
		Change: m.change(before, after), P: p}
}

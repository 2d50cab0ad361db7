package compare

import (
	"cmp"
	"math"
	"slices"

	"golang.org/x/perf/benchmath"

	"github.com/localbench/localbench/reports/rank"
)

// Step is a change point of a series.
type Step struct {
	Series          int // its number in the list that Steps was given
	At              int // the first point after it
	Commit, Subject string
	Previous        string  // the last commit that was measured before
	Before, After   float64 // values, or medians of the segments on both sides
	Change          float64 // After relative to Before less 1; for accuracies the difference
	P               float64 // corrected; 0 where the metric is exact
}

// leastValues is the shortest segment of a noisy series between two steps, in repetitions.
const leastValues = 5

// Steps finds where metrics changed. Of an exact one every change is a step.
//
// A noisy one is searched by seeded binary segmentation (Kovács, Bühlmann, Li, Munk:
// Biometrika 110, 2023): in segments of every length, so that a temporary regression is
// found too, for the change point with the largest rank statistic, as
// in the test of Pettitt (1979). The p-value is that of the rank test that compares both
// sides (Mann, Whitney, 1947), which assumes no distribution, times the number of change points
// tested; Holm's correction is over the series. So the chance of any false step is
// at most Alpha, if repetitions are exchangeable: a machine that is slower for a whole
// session can't be distinguished from a slower commit. A change is a step if one of the metric's
// default threshold cannot be excluded, so that a step of just that size is found. Short is the number of series
// with too few repetitions for any step to be found.
func Steps(all []Series) (out []Step, short int) {
	var noisy []search
	for i, s := range all {
		if !s.Exact {
			noisy = append(noisy, newSearch(i, s))
			continue
		}
		for k := 1; k < len(s.Points); k++ {
			if before, after := s.Points[k-1].Values[0], s.Points[k].Values[0]; before != after {
				out = append(out, s.step(i, k, before, after, 0))
			}
		}
	}
	slices.SortStableFunc(noisy, func(a, b search) int { return cmp.Compare(a.smallest(), b.smallest()) })
	for _, one := range noisy {
		need := max(leastValues, rank.RepetitionsOfOne(len(noisy)*max(one.looked, 1)))
		if len(one.values(0, len(one.Points))) < 2*need {
			short++
		}
	}
	for i, one := range noisy {
		tests := float64(len(noisy) - i)
		if tests*one.smallest() >= Alpha {
			break
		}
		out = append(out, one.steps(tests)...)
	}
	slices.SortStableFunc(out, func(a, b Step) int { return cmp.Or(cmp.Compare(a.Series, b.Series), cmp.Compare(a.At, b.At)) })
	return out, short
}

// segment is the points from, ..., to-1 of a series and their best change point.
type segment struct {
	from, to, at int
	p            float64 // not corrected
}

// search is a series with all its segments to search.
type search struct {
	number int
	Series
	looked   int       // cuts
	segments []segment // that can be cut at all, the smallest p first
}

func newSearch(number int, s Series) search {
	out := search{number: number, Series: s}
	n := len(s.Points)
	for _, part := range seeded(n) {
		at, z, cuts := s.cut(part.from, part.to)
		out.looked += cuts
		if cuts > 0 {
			part.at, part.p = at, math.Erfc(math.Abs(z)/math.Sqrt2)
			out.segments = append(out.segments, part)
		}
	}
	for i, part := range out.segments {
		if part.p*float64(out.looked) < 2*Alpha { // the exact test is slow, and does not make the others significant
			out.segments[i].p = s.test(part.from, part.at, part.to)
		}
	}
	slices.SortStableFunc(out.segments, func(a, b segment) int {
		return cmp.Or(cmp.Compare(a.p, b.p), cmp.Compare(a.to-a.from, b.to-b.from))
	})
	return out
}

// seeded lists the segments of n points: the whole series, and for each length shorter by a
// factor of sqrt(2) segments that cover it, each overlapping the next by half.
func seeded(n int) (out []segment) {
	last := 0
	for length := float64(n); length >= 2; length /= math.Sqrt2 {
		l := int(math.Ceil(length))
		if l == last {
			continue
		}
		last = l
		parts := 2*int(math.Ceil(float64(n)/length)) - 1
		for i := range parts {
			from := 0
			if parts > 1 {
				from = i * (n - l) / (parts - 1)
			}
			out = append(out, segment{from: from, to: from + l})
		}
	}
	return slices.CompactFunc(out, func(a, b segment) bool { return a == b })
}

// smallest is the smallest p-value of all change points, corrected for their number.
func (s search) smallest() float64 {
	if len(s.segments) == 0 {
		return 1
	}
	return min(1, s.segments[0].p*float64(s.looked))
}

// steps takes the change point with the smallest p, removes the segments that contain it, and repeats while
// change points are significant. Then settle refines them.
func (s search) steps(tests float64) (out []Step) {
	tests *= float64(s.looked)
	var cuts []int
	left := slices.Clone(s.segments)
	for len(left) > 0 && tests*left[0].p < Alpha {
		at := left[0].at
		cuts = append(cuts, at)
		left = slices.DeleteFunc(left, func(x segment) bool { return x.from < at && at < x.to })
	}
	slices.Sort(cuts)
	m, _ := metricOf(s.Metric)
	cuts = s.settle(cuts, func(from, at, to int) bool {
		return tests*s.test(from, at, to) < Alpha && m.beyond(s.values(from, at), s.values(at, to))
	})
	for i, at := range cuts {
		from, to := s.between(cuts, i)
		out = append(out, s.step(s.number, at, median(s.values(from, at)), median(s.values(at, to)),
			min(1, tests*s.test(from, at, to))))
	}
	return out
}

// mostRounds bounds the number of refinements; two or three are usually enough.
const mostRounds = 20

// settle moves each change point to the best position between its neighbours and removes it if it is not
// significant there, until nothing changes (repartition; Bai, 1997).
func (s Series) settle(cuts []int, holds func(from, at, to int) bool) []int {
	for range mostRounds {
		before := slices.Clone(cuts)
		for i := 0; i < len(cuts); i++ {
			from, to := s.between(cuts, i)
			cuts[i] = s.nearest(from, to)
			if !holds(from, cuts[i], to) {
				cuts = slices.Delete(cuts, i, i+1)
				i--
			}
		}
		if slices.Equal(before, cuts) {
			break
		}
	}
	return cuts
}

// between is the segment around a change point: from the previous one to the next.
func (s Series) between(cuts []int, i int) (from, to int) {
	to = len(s.Points)
	if i > 0 {
		from = cuts[i-1]
	}
	if i+1 < len(cuts) {
		to = cuts[i+1]
	}
	return from, to
}

// cut finds the position at which the ranks of both sides differ most, among those with at least
// leastValues on each side: the standardised sum of the ranks on the left, with mean ranks and a
// smaller variance for ties. Cuts is the number of positions.
func (s Series) cut(from, to int) (at int, z float64, cuts int) {
	values := s.values(from, to)
	ranks, variance := meanRanks(values)
	n, sum, left := len(values), 0.0, 0
	for k := from; k < to-1; k++ {
		for range s.Points[k].Values {
			sum += ranks[left]
			left++
		}
		if left < leastValues || n-left < leastValues {
			continue
		}
		cuts++
		expected := float64(left) * float64(n+1) / 2
		if d := (sum - expected) / math.Sqrt(float64(left)*float64(n-left)*variance); variance > 0 && math.Abs(d) > math.Abs(z) {
			at, z = k+1, d
		}
	}
	return at, z, cuts
}

// meanRanks gives values their mean ranks, from 1, and the variance of a rank sum over the product
// of the sizes of both sides.
func meanRanks(values []float64) (ranks []float64, variance float64) {
	n := len(values)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	ranks = make([]float64, n)
	ties := 0.0
	for i := 0; i < n; {
		j := i
		for j < n && values[order[j]] == values[order[i]] {
			j++
		}
		for _, at := range order[i:j] {
			ranks[at] = float64(i+j+1) / 2
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	return ranks, (float64(n+1) - ties/float64(n)/float64(max(n-1, 1))) / 12
}

// test is the p-value of the rank test of both sides of a cut.
func (s Series) test(from, at, to int) float64 {
	return benchmath.AssumeNothing.Compare(sample(s.values(from, at)), sample(s.values(at, to))).P
}

// beyond reports whether a change of the metric's default threshold, up or down, can't be
// excluded.
func (m metric) beyond(a, b []float64) bool {
	low, high := m.ofMedians(benchmath.AssumeNothing.Summary(sample(a), 1-Alpha),
		benchmath.AssumeNothing.Summary(sample(b), 1-Alpha))
	return max(-low, high) >= m.threshold
}

// ofMedians is an interval of the change from the confidence intervals of both medians: each side's
// ends compared with the other's, which is conservative. Too few repetitions for an interval (of
// 95 %: less than 6) exclude no change at all.
func (m metric) ofMedians(a, b benchmath.Summary) (low, high float64) {
	for _, end := range []float64{a.Lo, a.Hi, b.Lo, b.Hi} {
		if math.IsInf(end, 0) || math.IsNaN(end) {
			return math.Inf(-1), math.Inf(1)
		}
	}
	low, high = m.change(a.Hi, b.Lo), m.change(a.Lo, b.Hi)
	return min(low, high), max(low, high)
}

// sample is a copy of values for tests that sort.
func sample(values []float64) *benchmath.Sample {
	return benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds)
}

// nearest is the position in a segment at which the values deviate the least from the medians
// of both sides.
func (s Series) nearest(from, to int) (at int) {
	least := math.Inf(1)
	for k := from + 1; k < to; k++ {
		if d := deviation(s.values(from, k)) + deviation(s.values(k, to)); d < least {
			least, at = d, k
		}
	}
	return at
}

func (s Series) values(from, to int) (values []float64) {
	for _, p := range s.Points[from:to] {
		values = append(values, p.Values...)
	}
	return values
}

func (s Series) step(series, at int, before, after, p float64) Step {
	m, _ := metricOf(s.Metric)
	return Step{Series: series, At: at, Commit: s.Points[at].Commit, Subject: s.Points[at].Subject, Previous: s.Points[at-1].Commit,
		Before: before, After: after, Change: m.change(before, after), P: p}
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

// Package rank compares two samples of one quantity, such as the step times before and
// after a change, and assumes nothing about their distribution.
//
// One test gives all results for two samples: the p-value and the confidence
// interval of the change, which is the set of changes that the test does not reject. So the
// interval excludes "no change" exactly where the test is significant.
//
// The test is the smaller p-value of two rank tests, times two for the choice between them:
//
//   - Mann and Whitney's U (1947), which weights all values equally;
//   - a rank test of the better half of the values (Gastwirth, 1965). Step times have a lower bound
//     given by the program and a tail caused by the machine; a shift of the bound is detected
//     with fewer repetitions.
//
// Both use the exact permutation distribution up to mostExact values and a normal
// approximation beyond. Values that are equal on both sides count against a finding. That
// makes a test with many ties conservative, the null distribution depend on the two sample
// sizes alone, and the p-value monotone in the shift that is tested.
//
// If the two tests find significant differences in opposite directions, as for samples with
// different spread, no direction is reported: p is 1.
package rank

import (
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Alpha is the accepted probability of a false alarm over all simultaneous comparisons.
const Alpha = 0.05

// tests is the number of rank tests of which a p-value is the smallest.
const tests = 2

// mostExact is the number of values of both samples up to which permutation distributions are exact.
const mostExact = 100

// Ratio is the change from a to b relative to a: 0.1 for 10 % more. From 0 to anything else it is infinite.
func Ratio(a, b float64) float64 {
	switch {
	case a == b:
		return 0
	case a == 0:
		return math.Inf(1)
	}
	return b/a - 1
}

// Difference is the change from a to b in their own unit.
func Difference(a, b float64) float64 { return b - a }

// Tester compares samples. It keeps the null distributions that it has computed; it must not be
// used by several goroutines at once. The zero value is ready to use.
type Tester struct {
	tails map[tailKey][]float64
}

// Pair is two samples to be compared.
type Pair struct {
	tester *Tester
	less   bool
	// worse[i][j] is by how much value j of the second sample is worse than value i of the first. Rows
	// and columns go from the best value to the worst, so it rises along a row and falls along a column.
	worse  [][]float64
	sorted []float64 // all of worse, ascending
	n, m   int       // sizes of both samples
}

// Compare prepares the comparison of two samples; the change is Ratio or Difference. Less means that
// smaller values are better. The samples are not changed.
func (t *Tester) Compare(a, b []float64, change func(a, b float64) float64, less bool) *Pair {
	order := func(values []float64) []float64 {
		values = slices.Clone(values)
		slices.Sort(values)
		if !less {
			slices.Reverse(values)
		}
		return values
	}
	a, b = order(a), order(b)
	p := &Pair{tester: t, less: less, n: len(a), m: len(b)}
	for _, x := range a {
		row := make([]float64, len(b))
		for j, y := range b {
			row[j] = change(x, y)
			if !less {
				row[j] = 0 - row[j] // not -0
			}
		}
		p.worse = append(p.worse, row)
	}
	return p
}

// P is the probability that two samples of one distribution differ at least this much, in either direction.
func (p *Pair) P() float64 {
	if p.n == 0 || p.m == 0 {
		return 1
	}
	worse, better := p.pWorse(0), p.pBetter(0)
	if worse < Alpha && better < Alpha {
		return 1
	}
	return min(1, worse, better)
}

// Direction is 1 where the second sample is significantly worse than the first at the level, -1 where it is
// significantly better, and 0 otherwise.
func (p *Pair) Direction(level float64) int {
	switch {
	case p.P() >= level:
		return 0
	case p.pWorse(0) < p.pBetter(0):
		return 1
	}
	return -1
}

// Interval is the set of changes from the first sample to the second that the test does not reject
// at the level: with level 0.05 a 95 % confidence interval. It excludes 0 exactly where P is
// below the level, as long as that is at most Alpha. Both ends are infinite if the samples are too small to reject any
// change.
func (p *Pair) Interval(level float64) (low, high float64) {
	if p.n == 0 || p.m == 0 {
		return math.Inf(-1), math.Inf(1)
	}
	if p.sorted == nil {
		p.sorted = slices.Sorted(slices.Values(slices.Concat(p.worse...)))
	}
	// Where the two tests reject each other's changes, the changes between are rejected in both
	// directions at once, which P does not count; see the head of the package.
	low = min(p.lowest(level), math.Nextafter(p.highest(Alpha), math.Inf(1)))
	high = max(p.highest(level), math.Nextafter(p.lowest(Alpha), math.Inf(-1)))
	if !p.less {
		return 0 - high, 0 - low
	}
	return low, high
}

// lowest is the smallest shift that is not rejected as too small.
func (p *Pair) lowest(level float64) float64 {
	if p.pWorse(math.Inf(-1)) >= level {
		return math.Inf(-1)
	}
	i := sort.Search(len(p.sorted)-1, func(i int) bool { return p.pWorse(p.sorted[i]) >= level })
	return p.sorted[i]
}

// highest is the largest shift that is not rejected as too large.
func (p *Pair) highest(level float64) float64 {
	if p.pBetter(math.Inf(1)) >= level {
		return math.Inf(1)
	}
	last := len(p.sorted) - 1
	i := sort.Search(last, func(i int) bool { return p.pBetter(p.sorted[last-i]) >= level })
	return p.sorted[last-i]
}

// pWorse is twice the p-value of the test whether the second sample is worse than the first by more
// than the shift.
func (p *Pair) pWorse(shift float64) float64 {
	pairs, half, ahead := 0, 0, 0
	for i, row := range p.worse {
		for ahead < p.m && row[ahead] <= shift {
			ahead++
		}
		pairs += p.m - ahead
		half += halfScore(p.n+p.m, i+1+ahead)
	}
	return p.combined(p.n, p.m, half, pairs)
}

// pBetter is twice the p-value of the test whether the second sample is worse by less than the shift.
func (p *Pair) pBetter(shift float64) float64 {
	pairs, half, ahead := 0, 0, 0
	for j := range p.m {
		for ahead < p.n && p.worse[ahead][j] >= shift {
			ahead++
		}
		pairs += p.n - ahead
		half += halfScore(p.n+p.m, j+1+ahead)
	}
	return p.combined(p.m, p.n, half, pairs)
}

// combined is twice the p-value of both rank tests of whether a sample of the given size is better than
// another: half is the sum of its scores, pairs the number of pairs of values that it wins.
func (p *Pair) combined(size, other, half, pairs int) float64 {
	rest := other * (other - 1) / 2 // the rank sum of the other sample if it were all in front
	u := p.tester.tail(ranks, other, size+other, pairs+rest)
	return min(1, 2*tests*min(u, p.tester.tail(betterHalf, size, size+other, half)))
}

// kind is a scoring of ranks.
type kind int

const (
	ranks      kind = iota // 0 for the best place, 1 for the next
	betterHalf             // halfScore
)

// halfScore is twice the score of a place from 1, the best, to n: it falls by one a place to zero at
// the middle and stays zero beyond.
func halfScore(n, place int) int { return max(0, n+1-2*place) }

type tailKey struct {
	kind
	k, n int
}

// tail is the probability that the scores of k of n ranks, drawn at random, add up to at least a sum.
func (t *Tester) tail(scores kind, k, n, least int) float64 {
	key := tailKey{scores, k, n}
	if known, ok := t.tails[key]; ok {
		return known[least]
	}
	list := make([]int, n)
	for i := range list {
		list[i] = i
		if scores == betterHalf {
			list[i] = halfScore(n, i+1)
		}
	}
	if n > mostExact {
		return normalTail(list, k, least)
	}
	if t.tails == nil {
		t.tails = map[tailKey][]float64{}
	}
	t.tails[key] = exactTail(list, k)
	return t.tails[key][least]
}

// exactTail is, for every sum, the chance that k of the scores reach it.
func exactTail(scores []int, k int) []float64 {
	total := 0
	for _, s := range scores {
		total += s
	}
	ways := make([][]float64, k+1) // ways[i][sum]: to choose i scores of that sum
	for i := range ways {
		ways[i] = make([]float64, total+1)
	}
	ways[0][0] = 1
	for done, s := range scores {
		for i := min(k, done+1); i > 0; i-- {
			for sum := total; sum >= s; sum-- {
				ways[i][sum] += ways[i-1][sum-s]
			}
		}
	}
	tail := ways[k]
	for sum := total; sum > 0; sum-- {
		tail[sum-1] += tail[sum]
	}
	for sum := total; sum >= 0; sum-- {
		tail[sum] /= tail[0]
	}
	return tail
}

// normalTail approximates exactTail by the mean and the variance of the sum.
func normalTail(scores []int, k, least int) float64 {
	x := make([]float64, len(scores))
	for i, s := range scores {
		x[i] = float64(s)
	}
	mean, variance := stat.MeanVariance(x, nil)
	n, drawn := float64(len(scores)), float64(k)
	spread := math.Sqrt(variance * drawn * (n - drawn) / n)
	if spread == 0 {
		return 1
	}
	return distuv.UnitNormal.Survival((float64(least) - 0.5 - drawn*mean) / spread)
}

// Repetitions is the smallest size of two samples with which a change can be significant at all, given
// the number of comparisons: if all values of one lie above all of the other, P is
// 4 / (2n choose n).
func Repetitions(comparisons int) int { return repetitions(tests * comparisons) }

// RepetitionsOfOne is the same for a single rank test and the given number of p-values.
func RepetitionsOfOne(looks int) int { return repetitions(looks) }

func repetitions(looks int) int {
	n, choose := 1, 2.0
	for 2/choose*float64(looks) >= Alpha {
		n++
		choose *= float64(2*n) * float64(2*n-1) / float64(n) / float64(n)
	}
	return n
}

// Power is how much wider than half a confidence interval of the level a change must be to be
// found with 80 % power, if the estimate is approximately normal.
func Power(level float64) float64 {
	critical := distuv.UnitNormal.Quantile(1 - level/(2*tests))
	return 1 + distuv.UnitNormal.Quantile(0.8)/critical
}

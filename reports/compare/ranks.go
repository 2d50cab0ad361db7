package compare

import (
	"cmp"
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// tests is how many tests a noisy cell is put to; see pValue.
const tests = 2

// pValue is the chance that two samples of one distribution, whatever it is, differ as much as
// these. It is the smaller of two tests' p, times two for having had the choice:
//
//   - Mann and Whitney's U, which sees all values alike;
//   - a rank test of the better half of the values (Gastwirth, 1965). Times have a floor that
//     a program can be held against and a tail that the machine adds: with 20 repetitions of
//     recorded timings a slow-down of 5 % among 200 cells is found by U in 77 of 100
//     comparisons, by both together in 98.
//
// Better is +1 where less is better, as in metric.
func pValue(a, b []float64, better float64) float64 {
	u := benchmath.AssumeNothing.Compare(sample(a), sample(b)).P
	return min(1, tests*min(u, betterHalf(a, b, better)))
}

// betterHalf is the p of the rank test of the better half, of both sides. Scores fall from the
// best value to the middle one by one and are zero beyond; values that are equal share theirs. The
// distribution of a sample's sum is that over all ways to deal the scores to the two.
func betterHalf(a, b []float64, better float64) float64 {
	scores, mine := halfScores(a, b, better)
	total := 0
	for _, s := range scores {
		total += s
	}
	return min(1, 2*min(dealt(scores, len(a), mine), dealt(scores, len(b), total-mine)))
}

// halfScores are twice the scores of all values, and the sum of those of a.
func halfScores(a, b []float64, better float64) (scores []int, ofA int) {
	type value struct {
		x     float64
		first bool
	}
	var all []value
	for _, x := range a {
		all = append(all, value{better * x, true})
	}
	for _, x := range b {
		all = append(all, value{better * x, false})
	}
	slices.SortFunc(all, func(p, q value) int { return cmp.Compare(p.x, q.x) })
	for from := 0; from < len(all); {
		to := from
		for to < len(all) && all[to].x == all[from].x {
			to++
		}
		// Places from+1 to `to` share their mean; twice the score is the number of values + 1 less twice that.
		score := max(0, len(all)+1-(from+1+to))
		for ; from < to; from++ {
			scores = append(scores, score)
			if all[from].first {
				ofA += score
			}
		}
	}
	return scores, ofA
}

// mostExact is up to how many values all ways to deal are counted.
const mostExact = 60

// dealt is the chance that n of the scores, drawn at random, sum up to at least so much.
func dealt(scores []int, n, least int) float64 {
	total := 0
	for _, s := range scores {
		total += s
	}
	if len(scores) > mostExact {
		return dealtNormal(scores, n, float64(least))
	}
	// ways[k][sum]: of choosing k scores of that sum.
	ways := make([][]float64, n+1)
	for k := range ways {
		ways[k] = make([]float64, total+1)
	}
	ways[0][0] = 1
	for _, s := range scores {
		for k := n; k > 0; k-- {
			for sum := total; sum >= s; sum-- {
				ways[k][sum] += ways[k-1][sum-s]
			}
		}
	}
	all, some := 0.0, 0.0
	for sum, w := range ways[n] {
		all += w
		if sum >= least {
			some += w
		}
	}
	return some / all
}

// dealtNormal is dealt for many scores, by the mean and the variance of their sum.
func dealtNormal(scores []int, n int, least float64) float64 {
	x := make([]float64, len(scores))
	for i, s := range scores {
		x[i] = float64(s)
	}
	count, k := float64(len(scores)), float64(n)
	spread := math.Sqrt(variance(x) * k * (count - k) / count)
	if spread == 0 {
		return 1
	}
	return 0.5 * math.Erfc((least-k*mean(x))/spread/math.Sqrt2)
}

package rank

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/aclements/go-moremath/stats"
)

// TestByHand works p-values out by counting. Of 1 2 3 against 4 5 6 one way of the 20 to deal them has all of the
// first side in front, in both tests; P is 4/20. Of 1 2 6 against 3 4 5 the first wins 6 of 9 pairs;
// U's one-sided p is 7/20, and the scores of its better half (5, 3 and 0 of 5 3 1 0 0 0) sum to 8, which 4
// deals of 20 reach; P is 4 times 4/20.
func TestByHand(t *testing.T) {
	for _, row := range []struct {
		name string
		a, b []float64
		less bool
		want float64
	}{
		{"apart, times", []float64{3, 1, 2}, []float64{4, 6, 5}, true, 4.0 / 20},
		{"apart, the other way", []float64{4, 6, 5}, []float64{3, 1, 2}, true, 4.0 / 20},
		{"apart, accuracies", []float64{4, 6, 5}, []float64{3, 1, 2}, false, 4.0 / 20},
		{"the better half", []float64{1, 2, 6}, []float64{3, 4, 5}, true, 4 * 4.0 / 20},
		{"all equal", []float64{1, 1, 1}, []float64{1, 1, 1}, true, 1},
		// Ties count against a finding: the 3s of both sides, so one pair of nine is not won.
		// A U of 8 is reached by 2 deals of 20; the better half of 1 2 3 | 3 4 5 is 5+3+0, reached by 4.
		{"a tie", []float64{1, 2, 3}, []float64{3, 4, 5}, true, 4 * 2.0 / 20},
		{"no values", nil, []float64{1}, true, 1},
	} {
		var tester Tester
		if got := tester.Compare(row.a, row.b, Difference, row.less).P(); math.Abs(got-row.want) > 1e-12 {
			t.Errorf("%s: p %g, want %g", row.name, got, row.want)
		}
	}
}

// TestTailAgainstU compares the distribution of rank sums with go-moremath's distribution of U, and both scores'
// with random deals and with the normal approximation.
func TestTailAgainstU(t *testing.T) {
	var tester Tester
	for _, size := range [][2]int{{3, 3}, {5, 9}, {9, 5}, {20, 20}} {
		n, m := size[0], size[1]
		u := stats.UDist{N1: n, N2: m}
		for pairs := range n*m + 1 {
			want := u.CDF(float64(n*m - pairs)) // U is symmetric
			got := tester.tail(ranks, m, n+m, pairs+m*(m-1)/2)
			if math.Abs(got-want) > 1e-12 {
				t.Fatalf("%d and %d values: P(U >= %d) = %g, want %g", n, m, pairs, got, want)
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	const deals, k, n, least = 100_000, 15, 30, 140
	reached := 0
	scores := make([]int, n)
	for i := range scores {
		scores[i] = halfScore(n, i+1)
	}
	for range deals {
		sum := 0
		for _, i := range random.Perm(n)[:k] {
			sum += scores[i]
		}
		if sum >= least {
			reached++
		}
	}
	got, want := tester.tail(betterHalf, k, n, least), float64(reached)/deals
	if math.Abs(got-want) > 0.006 { // four standard deviations
		t.Errorf("better half: got %g, want %g of random deals", got, want)
	}
	if normal := normalTail(scores, k, least); math.Abs(normal-got) > 0.01 {
		t.Errorf("normal approximation: got %g, want about %g", normal, got)
	}
}

// sample draws values from one of several distributions, some with many ties, some all equal.
func sample(random *rand.Rand, n int, draw func() float64) (values []float64) {
	for range n {
		values = append(values, draw())
	}
	return values
}

// TestIntervalIsTheTest: over random samples of every kind and size the interval excludes no change exactly where P is
// below the level, and a smaller level gives an interval that holds the larger one's.
func TestIntervalIsTheTest(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var tester Tester
	significant := 0
	for round := range 20_000 {
		scale := math.Exp(random.NormFloat64())
		draws := []func() float64{
			func() float64 { return 1 + 0.01*random.ExpFloat64() },
			func() float64 { return math.Exp(random.NormFloat64()) },
			func() float64 { return float64(random.IntN(4)) },
			func() float64 { return float64(1 + random.IntN(30)) },
			func() float64 { return 5 },
			func() float64 { return 1 + scale*random.Float64() },
		}
		draw := draws[round%len(draws)]
		a, b := sample(random, 1+random.IntN(25), draw), sample(random, 1+random.IntN(25), draw)
		switch random.IntN(4) {
		case 0, 1:
			for i := range b {
				b[i] *= 1 + 0.5*random.Float64()
			}
		case 2: // the same middle, a wider spread
			for i := range b {
				b[i] = max(0, 3*b[i]-2)
			}
		}
		change, less := Ratio, random.IntN(2) == 0
		if random.IntN(2) == 0 {
			change = Difference
		}
		pair := tester.Compare(a, b, change, less)
		p := pair.P()
		for _, level := range []float64{Alpha, Alpha / 7, Alpha / 200} {
			low, high := pair.Interval(level)
			if low > high {
				t.Fatalf("%v, %v at %g: interval %g to %g", a, b, level, low, high)
			}
			if excluded := low > 0 || high < 0; excluded != (p < level) {
				t.Fatalf("%v, %v, less is better %t, at %g: interval %g to %g, p %g", a, b, less, level, low, high, p)
			} else if excluded {
				significant++
			}
			if wideLow, wideHigh := pair.Interval(level / 10); wideLow > low || wideHigh < high {
				t.Fatalf("%v, %v: interval at %g %g to %g is not within that at a tenth, %g to %g", a, b, level, low, high, wideLow, wideHigh)
			}
		}
	}
	if significant < 1000 {
		t.Errorf("%d significant comparisons: too few to show anything", significant)
	}
}

// TestBothDirections: of two samples of 200 the second has the 76 best values and the 124 worst. U calls it worse,
// the better half better; no direction is claimed, and the interval agrees.
func TestBothDirections(t *testing.T) {
	var a, b []float64
	for i := range 200 {
		a = append(a, 1000+float64(i))
		b = append(b, float64(i))
		if i >= 76 {
			b[i] += 2000
		}
	}
	for _, less := range []bool{true, false} {
		var tester Tester
		pair := tester.Compare(a, b, Difference, less)
		if less && (pair.pWorse(0) >= Alpha || pair.pBetter(0) >= Alpha) {
			t.Fatalf("p %g and %g: want both to be significant", pair.pWorse(0), pair.pBetter(0))
		}
		if low, high := pair.Interval(Alpha); less && pair.P() != 1 || (low > 0 || high < 0) != (pair.P() < Alpha) {
			t.Errorf("less is better %t: p %g, interval %g to %g", less, pair.P(), low, high)
		}
	}
}

// TestIntervalByHand: of 5 against 5 values U is significant at 5 % where 24 of the 25 pairs or all are won
// (4 times 2/252 is 0.032, and 4 times 4/252 is 0.063), so the interval leaves out the smallest
// and the largest of the 25 differences, 6 and 14; with 4 nothing is significant, and it has no ends.
func TestIntervalByHand(t *testing.T) {
	var tester Tester
	a, b := []float64{1, 2, 3, 4, 5}, []float64{11, 12, 13, 14, 15}
	if low, high := tester.Compare(a, b, Difference, true).Interval(Alpha); low != 7 || high != 13 {
		t.Errorf("interval %g to %g, want 7 to 13", low, high)
	}
	if low, high := tester.Compare(a, b, Difference, false).Interval(Alpha); low != 7 || high != 13 {
		t.Errorf("more is better: interval %g to %g, want 7 to 13", low, high)
	}
	if low, high := tester.Compare(a[:4], b[:4], Difference, true).Interval(Alpha); !math.IsInf(low, -1) || !math.IsInf(high, 1) {
		t.Errorf("4 values: interval %g to %g, want none", low, high)
	}
	for comparisons, want := range map[int]int{1: 5, 2: 5, 200: 9} {
		if got := Repetitions(comparisons); got != want {
			t.Errorf("%d comparisons: %d repetitions, want %d", comparisons, got, want)
		}
	}
}

// TestIntervalCovers: the interval at 5 % holds the true ratio of two samples in at least 95 % of the cases, whatever
// the distribution, and is no interval that always does.
func TestIntervalCovers(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	var tester Tester
	for name, draw := range map[string]func() float64{
		"normal":       func() float64 { return 1 + 0.05*random.NormFloat64() },
		"a floor":      func() float64 { return 1 + 0.1*random.ExpFloat64() },
		"a heavy tail": func() float64 { return math.Exp(2 * random.NormFloat64()) },
	} {
		const rounds, truth = 2000, 0.3
		missed := 0
		for range rounds {
			a, b := sample(random, 8, draw), sample(random, 8, draw)
			for i := range b {
				b[i] *= 1 + truth
			}
			if low, high := tester.Compare(a, b, Ratio, true).Interval(Alpha); low > truth || high < truth {
				missed++
			}
		}
		if missed > rounds*65/1000 || missed < rounds/100 { // 5 %, three standard deviations above
			t.Errorf("%s: missed in %d of %d cases, want at most 5 %%", name, missed, rounds)
		}
	}
}

// TestManyValues: beyond the exact distribution like samples are alike, and a shift is seen.
func TestManyValues(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	var tester Tester
	a, b := sample(random, 200, random.NormFloat64), sample(random, 200, random.NormFloat64)
	if p := tester.Compare(a, a, Difference, true).P(); p < 0.9 {
		t.Errorf("a sample and itself: p %g", p)
	}
	for i := range b {
		b[i] += 0.6
	}
	low, high := tester.Compare(a, b, Difference, true).Interval(Alpha)
	if low <= 0 || low > 0.6 || high < 0.6 || !slices.IsSorted([]float64{low, high}) {
		t.Errorf("a shift of 0.6: interval %g to %g", low, high)
	}
}

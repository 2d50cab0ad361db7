package rank

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestPairedByHand works the test out by counting the signs. Of three pairs there are 8 ways to set the signs; W is the sum
// of the ranks of the positive differences.
func TestPairedByHand(t *testing.T) {
	for _, row := range []struct {
		name      string
		a, b      []float64
		p         float64
		estimate  float64
		low, high float64 // at level 0.3
	}{
		// Differences 1 2 3: W = 6, one way of 8, and as many on the other side. P(W >= 6) is 1/8 and 2/8 is below 0.3, so
		// 6 averages of 1 1.5 2 2 2.5 3 must be on one side: the interval is from the smallest to the largest.
		{"all worse", []float64{1, 1, 1}, []float64{2, 3, 4}, 2.0 / 8, 2, 1, 3},
		// Differences -1 2 3: W = 2 + 3, reached by 5 and 6, 2 ways of 8. Averages -1 0.5 1 2 2.5 3, median 1.5.
		{"one better", []float64{1, 1, 1}, []float64{0, 3, 4}, 4.0 / 8, 1.5, -1, 3},
		// Equal pairs count against a finding: of 0 2 3 the average of 0 with itself is not positive, W = 5.
		{"a tie", []float64{1, 1, 1}, []float64{1, 3, 4}, 4.0 / 8, 1.75, 0, 3},
		{"no change", []float64{1, 2, 3}, []float64{1, 2, 3}, 1, 0, 0, 0},
	} {
		p := ComparePairs(row.a, row.b, false)
		low, high := p.Interval(0.3)
		if got := p.P(); math.Abs(got-row.p) > 1e-12 || math.Abs(p.Change()-row.estimate) > 1e-12 || low != row.low ||
			high != row.high {
			t.Errorf("%s: P %g, change %g in [%g, %g], want %g, %g in [%g, %g]", row.name, got, p.Change(), low, high, row.p, row.estimate,
				row.low, row.high)
		}
	}
	if low, high := ComparePairs([]float64{1}, []float64{2}, false).Interval(0.05); !math.IsInf(low, -1) || !math.IsInf(high, 1) {
		t.Errorf("one pair: got [%g, %g], want no bound", low, high)
	}
	if p := ComparePairs(nil, nil, true); p.P() != 1 || !math.IsNaN(p.Change()) {
		t.Errorf("no pairs: P %g, change %g", p.P(), p.Change())
	}
}

// TestPairedRatios: ratios are compared as logarithms, so that a change and its inverse are the same size.
func TestPairedRatios(t *testing.T) {
	a, b := []float64{1, 10, 100, 7, 3, 2}, make([]float64, 6)
	for i := range a {
		b[i] = 1.25 * a[i]
	}
	there, back := ComparePairs(a, b, true), ComparePairs(b, a, true)
	if math.Abs(there.Change()-0.25) > 1e-12 || math.Abs(back.Change()+0.2) > 1e-12 {
		t.Errorf("got %g and %g, want 0.25 and -0.2", there.Change(), back.Change())
	}
	if p := there.P(); p != 2.0/64 || back.P() != p {
		t.Errorf("six pairs of one sign: got P %g and %g, want 2/64", p, back.P())
	}
	if Pairs(1) != 6 || Pairs(2) != 7 {
		t.Errorf("got %d and %d pairs, want 6 (2/64 < 0.05) and 7 (2/128 < 0.025)", Pairs(1), Pairs(2))
	}
}

// TestSignedTailAgainstPublished: critical values of the signed-rank sum from Wilcoxon and Wilcox (1964), two-sided 5 %: the
// smaller of both rank sums must be at most this.
func TestSignedTailAgainstPublished(t *testing.T) {
	for n, critical := range map[int]int{6: 0, 7: 2, 8: 3, 9: 5, 10: 8, 15: 25, 20: 52, 25: 89} {
		tail, most := signedTail(n), n*(n+1)/2
		if p := 2 * tail[most-critical]; p > 0.05 {
			t.Errorf("n %d: a rank sum of %d has p %g, want at most 0.05", n, critical, p)
		}
		if p := 2 * tail[most-critical-1]; p <= 0.05 {
			t.Errorf("n %d: a rank sum of %d has p %g, want more than 0.05", n, critical+1, p)
		}
	}
}

// TestPairedIntervalIsTheTest: the interval excludes 0 exactly where P is below the level, also with ties.
func TestPairedIntervalIsTheTest(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	significant := 0
	for range 5000 {
		n := 1 + random.IntN(14)
		a, b := make([]float64, n), make([]float64, n)
		shift := float64(random.IntN(3))
		for i := range n {
			a[i], b[i] = 10+float64(random.IntN(4)), 10+shift+float64(random.IntN(4))
		}
		for _, ratio := range []bool{false, true} {
			p := ComparePairs(a, b, ratio)
			low, high := p.Interval(Alpha)
			if excludes := low > 0 || high < 0; excludes != (p.P() < Alpha) {
				t.Fatalf("%v and %v: P %g and [%g, %g] contradict each other", a, b, p.P(), low, high)
			}
			if c := p.Change(); c < low || c > high {
				t.Fatalf("%v and %v: change %g is outside [%g, %g]", a, b, c, low, high)
			}
			if p.P() < Alpha {
				significant++
			}
		}
	}
	if significant < 100 {
		t.Errorf("only %d of the cases were significant", significant)
	}
}

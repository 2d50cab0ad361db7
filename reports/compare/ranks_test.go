package compare

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestBetterHalfByHand: of 1 2 3 against 4 5 6 the scores are 2.5, 1.5, 0.5 and three zeros (doubled
// 5, 3, 1): one way of the 20 to choose three has all of them. Of 1 2 6 against 3 4 5 the three best
// are two of mine, 8 or more of the doubled 9 are in 4 ways: 5, 3 and any of 1, 0, 0, 0.
func TestBetterHalfByHand(t *testing.T) {
	// 1 3 against 2 2 4: places 1, 2.5, 2.5, 4, 5, doubled scores 4, 1, 1, 0, 0.
	if scores, mine := halfScores([]float64{3, 1}, []float64{2, 4, 2}, 1); !slices.Equal(scores, []int{4, 1, 1, 0, 0}) || mine != 4 {
		t.Errorf("scores %v, %d of the first, want 4 1 1 0 0 and 4", scores, mine)
	}
	for _, c := range []struct {
		a, b   []float64
		better float64
		want   float64
	}{
		{[]float64{3, 1, 2}, []float64{4, 6, 5}, 1, 2.0 / 20},
		{[]float64{4, 6, 5}, []float64{3, 1, 2}, 1, 2.0 / 20},
		{[]float64{1, 2, 6}, []float64{3, 4, 5}, 1, 2 * 4.0 / 20},
		{[]float64{-1, -2, -6}, []float64{-3, -4, -5}, -1, 2 * 4.0 / 20}, // more is better
		{[]float64{1, 1, 1}, []float64{1, 1, 1}, 1, 1},
		// 1 | 1 2: places 1.5, 1.5, 3, doubled scores 1, 1, 0: of 3 ways to choose one, 2 have a 1; of
		// the other side's pairs all have one.
		{[]float64{1}, []float64{1, 2}, 1, 1},
	} {
		if got := betterHalf(c.a, c.b, c.better); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v against %v: got p %g, want %g", c.a, c.b, got, c.want)
		}
	}
}

// TestBetterHalfCounts holds the counted distribution against as many random deals, and the normal
// one against the counted.
func TestBetterHalfCounts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var a, b []float64
	for range 15 {
		a, b = append(a, math.Floor(20*random.Float64())), append(b, math.Floor(22*random.Float64()))
	}
	scores, mine := halfScores(a, b, 1)
	const deals = 100_000
	reached := 0
	for range deals {
		sum := 0
		for _, i := range random.Perm(len(scores))[:len(a)] {
			sum += scores[i]
		}
		if sum >= mine {
			reached++
		}
	}
	got, want := dealt(scores, len(a), mine), float64(reached)/deals
	if math.Abs(got-want) > 0.006 { // four standard deviations
		t.Errorf("counted: got %g, want %g of random deals", got, want)
	}
	if n := dealtNormal(scores, len(a), float64(mine)); math.Abs(n-got) > 0.03 {
		t.Errorf("normal: got %g, want about %g", n, got)
	}
	many := make([]float64, 100)
	for i := range many {
		many[i] = random.NormFloat64()
	}
	if p := pValue(many, many, 1); p < 0.9 {
		t.Errorf("100 against the same: p %g, want about 1", p)
	}
}

// TestLikeSamplesAreUniform: of samples of one distribution with a tail, p is below 0.05 in about
// 5 % of the cases or fewer, as it must be whatever the distribution.
func TestLikeSamplesAreUniform(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	const rounds = 2000
	below := 0
	for range rounds {
		var a, b []float64
		for range 8 {
			a, b = append(a, math.Exp(2*random.NormFloat64())), append(b, math.Exp(2*random.NormFloat64()))
		}
		if betterHalf(a, b, 1) < 0.05 {
			below++
		}
	}
	if below > rounds*7/100 || below < rounds*2/100 {
		t.Errorf("p below 0.05 in %d of %d cases, want 5 %% or a little fewer", below, rounds)
	}
}

package rank

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// around are values in equal steps around a middle.
func around(middle, step float64, n int) (values []float64) {
	for i := range n {
		values = append(values, middle+step*(float64(i)-float64(n-1)/2))
	}
	return values
}

// TestBest: a sample is among the best unless the one with the best mean is significantly better.
func TestBest(t *testing.T) {
	for _, row := range []struct {
		name    string
		samples [][]float64
		less    bool
		want    []bool
	}{
		{"one clear winner", [][]float64{around(0.9, 0.001, 6), around(0.8, 0.001, 6)}, false, []bool{true, false}},
		{"less is better", [][]float64{around(0.9, 0.001, 6), around(0.8, 0.001, 6)}, true, []bool{false, true}},
		{"two share", [][]float64{around(0.9, 0.001, 6), around(0.901, 0.001, 6), around(0.8, 0.001, 6)}, false,
			[]bool{true, true, false}},
		{"two seeds show nothing", [][]float64{{0.07, 0.1254}, {0.0725, 0.1111}}, false, nil},
		{"four seeds are too few", [][]float64{around(0.9, 0.001, 4), around(0.5, 0.001, 4)}, false, nil},
		{"one seed on top", [][]float64{{0.95}, around(0.9, 0.001, 6), around(0.8, 0.001, 6)}, false, nil},
		{"one seed below", [][]float64{{0.85}, around(0.9, 0.001, 6), around(0.8, 0.001, 6)}, false, []bool{false, true, false}},
		{"all alike", [][]float64{around(0.9, 0.001, 6), around(0.9, 0.001, 6)}, false, nil},
		{"one row", [][]float64{around(0.9, 0.001, 6)}, false, nil},
		{"nothing measured", [][]float64{nil, nil}, false, nil},
	} {
		if got := Best(row.samples, row.less); !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

// TestBestHoldsTheBest: of five distributions, one of them better by about a standard deviation, the better one is
// among the best in at least 95 % of the draws; and if all are alike, so is any given one.
func TestBestHoldsTheBest(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	for _, lead := range []float64{0, 1} {
		const rounds = 2000
		lost, marked := 0, 0
		for range rounds {
			var samples [][]float64
			for i := range 5 {
				samples = append(samples, sample(random, 8, func() float64 {
					if i == 0 {
						return lead + random.NormFloat64()
					}
					return random.NormFloat64()
				}))
			}
			if best := Best(samples, false); best != nil {
				marked++
				if !best[0] {
					lost++
				}
			}
		}
		t.Logf("lead %g: marks in %d of %d, without the best in %d", lead, marked, rounds, lost)
		if lost > rounds*5/100 {
			t.Errorf("lead %g: the best is not among the marked in %d of %d", lead, lost, rounds)
		}
		if lead > 0 && marked < rounds/10 {
			t.Errorf("lead %g: marks in %d of %d, too few to show anything", lead, marked, rounds)
		}
	}
}

// TestFront: a sample that costs more is on the front only if it is significantly better than all that cost less.
func TestFront(t *testing.T) {
	for _, row := range []struct {
		name    string
		samples [][]float64 // the cheapest first
		want    []bool
	}{
		{"each better than the last", [][]float64{around(0.8, 0.001, 6), around(0.85, 0.001, 6), around(0.9, 0.001, 6)},
			[]bool{true, true, true}},
		{"the second dominated", [][]float64{around(0.8, 0.001, 6), around(0.7, 0.001, 6), around(0.9, 0.001, 6)},
			[]bool{true, false, true}},
		{"two seeds show nothing", [][]float64{{0.0725, 0.1111}, {0.07, 0.1254}}, []bool{true, false}},
		{"no better than one that is not on it", [][]float64{around(0.8, 0.001, 6), around(0.801, 0.001, 6),
			around(0.8012, 0.0001, 6)}, []bool{true, false, false}},
		{"one seed", [][]float64{{0.8}, {0.9}}, []bool{true, false}},
		{"none", nil, []bool{}},
	} {
		if got := Front(row.samples, false); !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

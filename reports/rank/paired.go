package rank

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Paired compares values that were measured in pairs, one of each side close to the other in time, by Wilcoxon's
// signed-rank test (1945). What changes from pair to pair, such as the load of the machine, cancels in the difference of
// a pair; the test assumes only that, without a change, a difference is as likely to be positive as negative by the same
// amount, which measuring in random order makes true.
//
// The test is in Tukey's form: it counts the Walsh averages, the means of every two differences (and of each with
// itself), on either side of the change that is tested. So the confidence interval is a pair of Walsh averages, and
// excludes 0 exactly where P is below the level. Averages that equal the change count against a finding.
type Paired struct {
	walsh []float64 // ascending
	tail  []float64 // tail[c] is the chance that at least c Walsh averages are positive
	ratio bool      // differences are of logarithms
}

// ComparePairs prepares the comparison of a[i] with b[i]. With ratio the change is b/a - 1, and the values must be
// positive; without, it is b - a.
func ComparePairs(a, b []float64, ratio bool) *Paired {
	n := min(len(a), len(b))
	differences := make([]float64, n)
	for i := range n {
		differences[i] = b[i] - a[i]
		if ratio && a[i] != b[i] {
			differences[i] = math.Log(b[i] / a[i])
		}
	}
	p := &Paired{ratio: ratio, tail: signedTail(n)}
	for i := range n {
		for j := range i + 1 {
			p.walsh = append(p.walsh, (differences[i]+differences[j])/2)
		}
	}
	slices.Sort(p.walsh)
	return p
}

// signedTail is the null distribution of the number of positive Walsh averages of n differences: the sum of those of the
// ranks 1 to n that a fair coin chooses.
func signedTail(n int) []float64 {
	tail := make([]float64, n*(n+1)/2+1)
	tail[0] = 1
	for rank := 1; rank <= n; rank++ {
		for sum := rank * (rank + 1) / 2; sum >= 0; sum-- {
			tail[sum] /= 2
			if sum >= rank {
				tail[sum] += tail[sum-rank] / 2
			}
		}
	}
	for sum := len(tail) - 2; sum >= 0; sum-- {
		tail[sum] += tail[sum+1]
	}
	return tail
}

// P is the chance of differences at least as one-sided as these, in either direction, if nothing changed.
func (p *Paired) P() float64 {
	above, below := 0, 0
	for _, w := range p.walsh {
		switch {
		case w > 0:
			above++
		case w < 0:
			below++
		}
	}
	return min(1, 2*p.tail[max(above, below)])
}

// Interval is the set of changes that the test does not reject at the level: with level 0.05 a 95 % confidence interval.
// Both ends are infinite if there are too few pairs to reject any change.
func (p *Paired) Interval(level float64) (low, high float64) {
	reject := slices.IndexFunc(p.tail, func(chance float64) bool { return 2*chance < level })
	if reject < 1 {
		return math.Inf(-1), math.Inf(1)
	}
	return p.change(p.walsh[len(p.walsh)-reject]), p.change(p.walsh[reject-1])
}

// Change is the estimate of the change that goes with the test: the median of the Walsh averages (Hodges and Lehmann,
// 1963). It is NaN without pairs.
func (p *Paired) Change() float64 {
	n := len(p.walsh)
	if n == 0 {
		return math.NaN()
	}
	return p.change((p.walsh[(n-1)/2] + p.walsh[n/2]) / 2)
}

func (p *Paired) change(difference float64) float64 {
	if p.ratio {
		return math.Expm1(difference)
	}
	return difference
}

// PairedPower is how much wider than half a confidence interval of the level a change must be to be found with 80 %
// power, if the estimate is approximately normal.
func PairedPower(level float64) float64 {
	return 1 + distuv.UnitNormal.Quantile(0.8)/distuv.UnitNormal.Quantile(1-level/2)
}

// Pairs is the smallest number of pairs with which a change can be significant at all, given the number of comparisons:
// if all differences have one sign, P is 2 / 2^n.
func Pairs(comparisons int) int {
	n := 1
	for math.Ldexp(2, -n)*float64(comparisons) >= Alpha {
		n++
	}
	return n
}

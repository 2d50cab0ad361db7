package optest

import (
	"math"

	"github.com/localbench/localbench/core/rng"
)

// fill writes the content of a value from a stream of random numbers.
type fill func(s rng.Stream, out []float64)

// each makes a fill from a function of the stream and the place.
func each(f func(s rng.Stream, i uint64) float64) fill {
	return func(s rng.Stream, out []float64) {
		for i := range out {
			out[i] = f(s, uint64(i))
		}
	}
}

// normal gives normal numbers.
func normal(mean, deviation float64) fill {
	return each(func(s rng.Stream, i uint64) float64 { return mean + deviation*s.Normal(i) })
}

// uniform gives numbers in [low, high).
func uniform(low, high float64) fill {
	return each(func(s rng.Stream, i uint64) float64 { return low + (high-low)*s.Uniform(i) })
}

// constant gives one number.
func constant(x float64) fill { return uniform(x, x) }

// whole gives whole numbers in 0..n-1: labels, bytes and, for a small n, ties.
func whole(n int64) fill {
	return each(func(s rng.Stream, i uint64) float64 { return math.Floor(float64(n) * s.Uniform(i)) })
}

// scattered gives random bits as signed numbers of 32 bits.
func scattered() fill {
	return each(func(s rng.Stream, i uint64) float64 { return float64(int32(s.Uint32(i))) })
}

// away gives numbers of random sign and a magnitude in [low, high): none is
// near zero.
func away(low, high float64) fill {
	return each(func(s rng.Stream, i uint64) float64 {
		x := low + (high-low)*s.Uniform(2*i)
		if s.Uniform(2*i+1) < 0.5 {
			return -x
		}
		return x
	})
}

// apart is away with half of the magnitudes in [from, to) instead: on both sides of a bound
// between high and from.
func apart(low, high, from, to float64) fill {
	return each(func(s rng.Stream, i uint64) float64 {
		x := low + (high-low)*s.Uniform(3*i)
		if s.Uniform(3*i+2) < 0.5 {
			x = from + (to-from)*s.Uniform(3*i)
		}
		if s.Uniform(3*i+1) < 0.5 {
			return -x
		}
		return x
	})
}

// clipped gives the results of a ReLU6 of apart numbers.
func clipped() fill {
	signed := apart(0.1, 2, 7, 8)
	return func(s rng.Stream, out []float64) {
		signed(s, out)
		for i := range out {
			out[i] = min(max(out[i], 0), 6)
		}
	}
}

// unitClipped gives the results of a hardsigmoid: 0, 1, and numbers well between.
func unitClipped() fill {
	signed := apart(0.1, 2.5, 4, 5)
	return func(s rng.Stream, out []float64) {
		signed(s, out)
		for i := range out {
			out[i] = min(max(out[i]/6+0.5, 0), 1)
		}
	}
}

// firstPositive is f with the magnitude of the first number: a result of one element is not tiny.
func firstPositive(f fill) fill {
	return func(s rng.Stream, out []float64) {
		f(s, out)
		out[0] = math.Abs(out[0])
	}
}

// rectified gives zero for about half of the elements, else numbers in
// [low, high): the result of a rectifier, away from its kink.
func rectified(low, high float64) fill {
	signed := away(low, high)
	return func(s rng.Stream, out []float64) {
		signed(s, out)
		for i := range out {
			out[i] = max(out[i], 0)
		}
	}
}

// rows gives each of as many rows a fill of its own.
func rows(of ...fill) fill {
	return func(s rng.Stream, out []float64) {
		n := len(out) / len(of)
		for i, f := range of {
			all := make([]float64, (i+1)*n) // other numbers than those of the rows before
			f(s, all)
			copy(out[i*n:], all[i*n:])
		}
	}
}

// distinct gives numbers around middle in random order, all 1/64 apart: no
// window has two candidates for its maximum.
func distinct(middle float64) fill {
	return func(s rng.Stream, out []float64) {
		for i, place := range s.Permutation(len(out)) {
			out[i] = middle + (float64(place)-float64(len(out)/2))/64
		}
	}
}

// balanced gives values for normalisation over rows of the given number of
// channels: in each channel the rows alternate between +m and -m with
// magnitudes m in [low, high). So the mean is near zero and the normalised
// values are not.
func balanced(channels int64, low, high float64) fill {
	return func(s rng.Stream, out []float64) {
		for i := range out {
			row, c := int64(i)/channels, int64(i)%channels
			out[i] = low + (high-low)*s.Uniform(uint64(i))
			if (row+c)%2 == 0 {
				out[i] = -out[i]
			}
		}
	}
}

// channelwise adds i/2 to channel i modulo 4, and makes the first channel
// constant: every channel has another mean, one has no variance.
func channelwise(channels int64, f fill) fill {
	return func(s rng.Stream, out []float64) {
		f(s, out)
		for i := range out {
			c := int64(i) % channels
			out[i] += float64(c%4) / 2
			if c == 0 {
				out[i] = 1
			}
		}
	}
}

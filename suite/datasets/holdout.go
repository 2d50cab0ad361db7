package datasets

import (
	"fmt"
	"math"
	"slices"

	"github.com/localbench/localbench/core/rng"
)

// HeldOut is how many of n samples a fraction holds out.
func HeldOut(n int, fraction float64) int { return int(math.Round(fraction * float64(n))) }

// Holdout parts a training split in two: what is left to train on, and a fraction held out
// to choose by. The samples are drawn at random, the same for every seed of a run, and stand
// in their old order in either part. Both parts are copies, of pictures of their names.
func (s Split) Holdout(fraction float64) (rest, held Split, err error) {
	n := HeldOut(s.N, fraction)
	if n < 1 || n >= s.N {
		return rest, held, fmt.Errorf("datasets: holdout: got a fraction of %g, want one that holds out 1 to %d of %d samples", fraction, s.N-1, s.N)
	}
	order := make([]int32, s.N)
	rng.Stream{Purpose: rng.PurposeHoldout}.Permute(order)
	slices.Sort(order[:n])
	slices.Sort(order[n:])
	return s.pick(order[n:]), s.pick(order[:n]), nil
}

// pick copies samples.
func (s Split) pick(samples []int32) Split {
	if s.Pictures != nil {
		return s.pickPictures(samples)
	}
	out := newSplit(s.Shape, len(samples))
	size := s.Shape.Bytes()
	for i, sample := range samples {
		copy(out.Images[i*size:(i+1)*size], s.Image(int(sample)))
		out.Labels[i] = s.Labels[sample]
	}
	return out
}

func (s Split) pickPictures(samples []int32) Split {
	files := *s.Pictures
	files.files = make([]picture, len(samples))
	for i, sample := range samples {
		files.files[i] = s.Pictures.files[sample]
	}
	return Split{Shape: s.Shape, N: len(samples), Labels: files.labels(), Pictures: &files}
}

package datasets

import (
	"fmt"
	"math"
	"slices"

	"github.com/localbench/localbench/core/rng"
)

// HeldOut is the number of samples that a fraction of n holds out.
func HeldOut(n int, fraction float64) int { return int(math.Round(fraction * float64(n))) }

// Holdout divides a training split in two: one part for training, and a fraction held out for
// validation. The samples are selected at random, the same for every seed of a run, and keep
// their order in both parts. Both parts are copies; of image files only the names are copied.
func (s Split) Holdout(fraction float64) (rest, held Split, err error) {
	n := HeldOut(s.N, fraction)
	if n < 1 || n >= s.N {
		return rest, held, fmt.Errorf("--holdout %g: must hold out 1 to %d of the %d samples", fraction, s.N-1, s.N)
	}
	order := make([]int32, s.N)
	rng.Stream{Purpose: rng.PurposeHoldout}.Permute(order)
	slices.Sort(order[:n])
	slices.Sort(order[n:])
	return s.pick(order[n:]), s.pick(order[:n]), nil
}

// pick copies the selected samples.
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

package datasets

import (
	"bytes"
	"slices"
	"testing"
)

// TestHoldout: every sample is in one of the two parts, with its label and in its old order; the
// parts are the same every time; and a set whose labels go round is not parted by class.
func TestHoldout(t *testing.T) {
	s := newSplit(Shape{1, 1, 2}, 1000)
	for i := range s.N {
		s.Labels[i], s.Images[2*i], s.Images[2*i+1] = int32(i%10), byte(i>>8), byte(i)
	}
	rest, held, err := s.Holdout(0.1)
	if err != nil {
		t.Fatal(err)
	}
	if rest.N != 900 || held.N != 100 || rest.check() != nil || held.check() != nil {
		t.Fatalf("%d and %d samples, want 900 and 100", rest.N, held.N)
	}
	var all []int
	classes := map[int32]int{}
	for _, part := range []Split{rest, held} {
		last := -1
		for i := range part.N {
			sample := int(part.Images[2*i])<<8 | int(part.Images[2*i+1])
			if sample <= last || part.Labels[i] != int32(sample%10) {
				t.Fatalf("sample %d after %d with label %d", sample, last, part.Labels[i])
			}
			last = sample
			all = append(all, sample)
		}
	}
	for _, label := range held.Labels {
		classes[label]++
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != s.N || len(classes) != 10 {
		t.Errorf("%d samples of %d classes held out, want all samples once and all classes", len(all), len(classes))
	}
	_, again, err := s.Holdout(0.1)
	if err != nil || !bytes.Equal(again.Images, held.Images) {
		t.Errorf("a second time another part was held out: %v", err)
	}
	for _, fraction := range []float64{0, 1, -1} {
		if _, _, err := s.Holdout(fraction); err == nil {
			t.Errorf("fraction %g: no error", fraction)
		}
	}
}

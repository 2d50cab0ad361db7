package suite

import (
	"math"
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
)

// warmed expands one run of a network on a data set for 12 epochs.
func warmed(t *testing.T, dataset string, warmup *int) results.Spec {
	t.Helper()
	specs, err := Request{Methods: []string{"bp"}, Networks: []string{"resnet20"}, Datasets: []string{dataset}, Epochs: 12,
		WarmupEpochs: warmup}.Expand()
	if err != nil {
		t.Fatal(err)
	}
	return specs[0]
}

// The rates are worked out by hand: a cosine from 0.8 over 12 epochs, and in the warm-up of n epochs a mean of it and of 0.01.
func TestWarmupEpochs(t *testing.T) {
	cosine := func(e float64) float64 { return 0.4 * (1 + math.Cos(math.Pi*e/12)) }
	for _, c := range []struct {
		warmup *int
		want   map[int]float64
	}{
		{nil, map[int]float64{1: 0.01, 6: 0.4*0.5 + 0.005, 11: cosine(11)}}, // the recipe's 10
		{new(1), map[int]float64{1: 0.01, 2: cosine(2), 12: 0}},
		{new(2), map[int]float64{1: 0.01, 2: cosine(2)/2 + 0.005, 3: cosine(3)}},
		{new(0), map[int]float64{1: cosine(1), 2: cosine(2)}},
	} {
		s := schedule(warmed(t, "cifar10", c.warmup))
		for epoch, want := range c.want {
			if got := s.LearningRate(epoch); math.Abs(got-want) > 1e-12 {
				t.Errorf("warm-up %v, epoch %d: got a rate of %g, want %g", c.warmup, epoch, got, want)
			}
		}
	}
}

// A run has one id whether the recipe's warm-up is named or not, and another one with another warm-up.
func TestWarmupEpochsInTheID(t *testing.T) {
	recipes, named, other := warmed(t, "cifar10", nil), warmed(t, "cifar10", new(10)), warmed(t, "cifar10", new(1))
	if results.SpecID(recipes) != results.SpecID(named) {
		t.Errorf("got %s with the recipe's warm-up named, want %s", results.SpecID(named), results.SpecID(recipes))
	}
	if results.SpecID(recipes) == results.SpecID(other) {
		t.Error("runs with different warm-ups have the same id")
	}
	if a, b := results.StepSpec(recipes), results.StepSpec(other); results.SpecID(a) != results.SpecID(b) {
		t.Error("the warm-up changes the step")
	}
	if s := warmed(t, "mnist", new(0)); s.WarmupEpochs != nil {
		t.Errorf("got %d, want none: mnist has no warm-up", *s.WarmupEpochs)
	}
}

func TestWarmupEpochsOutOfRange(t *testing.T) {
	for warmup, want := range map[int]string{
		13: "--warmup-epochs 13: must be at most 12", -1: "--warmup-epochs -1: must be at least 0",
	} {
		_, err := Request{Datasets: []string{"cifar10"}, Epochs: 12, WarmupEpochs: &warmup}.Expand()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}

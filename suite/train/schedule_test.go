package train

import (
	"math"
	"testing"
)

// TestLearningRate holds the schedule against values worked out by hand from
// the recipe: lr 0.8, 400 epochs, warm-up 10.
func TestLearningRate(t *testing.T) {
	s := Schedule{Base: 0.8, Epochs: 400, Warmup: 10}
	for _, c := range []struct {
		epoch int
		want  float64
	}{
		{1, 0.01},      // all warm-up: 0.01 * 10/10
		{11, 0.798507}, // 0.4 * (1 + cos(0.0863938))
		{200, 0.4},     // half way
		{400, 0},       // the end
		{6, 0.404778},  // 0.4*(1+cos(0.0471239))*5/10 + 0.01*5/10
	} {
		if got := s.LearningRate(c.epoch); math.Abs(got-c.want) > 2e-4 {
			t.Errorf("epoch %d: %g, want %g", c.epoch, got, c.want)
		}
	}
	fromZero := Schedule{Base: 0.4, Epochs: 200, FromZero: true}
	for e, want := range map[int]float64{1: 0.4, 101: 0.2, 200: 0.2 * (1 - math.Cos(math.Pi/200))} {
		if got := fromZero.LearningRate(e); math.Abs(got-want) > 1e-12 {
			t.Errorf("epochs from zero, epoch %d: %g, want %g", e, got, want)
		}
	}
	none := Schedule{Base: 0.4, Epochs: 2}
	if got := none.LearningRate(1); math.Abs(got-0.2) > 1e-12 {
		t.Errorf("without warm-up, epoch 1 of 2: %g, want 0.2", got)
	}
}

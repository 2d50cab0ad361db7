package train_test

import (
	"context"
	"testing"

	"github.com/localbench/localbench/suite/train"
)

// TestProcessorTimeOfSteps: the processor time of a step is the difference of two readings, at its begin and at its end. The
// readings here rise by 1, 2, 3, ... seconds, two a step, so step k takes 2k seconds. The first of the five steps is the
// warm-up and the last a partial batch: steps 2 to 4 are timed, of 4, 6 and 8 seconds.
func TestProcessorTimeOfSteps(t *testing.T) {
	for _, ahead := range []bool{false, true} {
		b := newBench(t, "", ahead)
		reading, rise := 0.0, 0.0
		b.options.CPU = func() float64 {
			rise++
			reading += rise
			return reading
		}
		b.options.Schedule.Epochs = 1
		r, err := train.Run(context.Background(), b.session, b.options)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := r.CPU.Summary(); !ok || got.N != 3 || got.Median != 6 {
			t.Errorf("ahead %v: got %+v, want 3 steps with a median of 6 s", ahead, got)
		}
	}
}

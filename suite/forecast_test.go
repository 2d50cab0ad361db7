package suite

import (
	"math"
	"testing"

	"github.com/localbench/localbench/results"
)

// The time left is that of the runs in training and of those that wait, divided by the runs at a time.
func TestForecast(t *testing.T) {
	spec := func(method string, batch, samples int64) results.Spec {
		return results.Spec{Method: method, Network: "resnet20", Dataset: "synthetic", Batch: batch, Epochs: 2, TrainLimit: samples}
	}
	specs := []results.Spec{spec("bp", 10, 100), spec("bp", 10, 100), spec("dgl", 10, 100), spec("bp", 20, 90)}
	specs[1].Seed = 2 // the same step
	f := NewForecast(specs, 1)
	if _, ok := f.Left(); ok {
		t.Error("a time before the first step")
	}
	left := func(want float64) {
		t.Helper()
		if got, ok := f.Left(); !ok || math.Abs(got-want) > 1e-9 {
			t.Errorf("%g s left, %v, want %g", got, ok, want)
		}
	}
	// 20 samples/s: 0.5 s a step of 10, 20 steps a run; of batch 20: 1 s a step, 2 times 5 steps.
	f.On(0, Event{Kind: EventStep, SamplesPerSecond: 20, SecondsLeft: 7})
	left(7 + 10 + 10 + 10)
	f.On(0, Event{Kind: EventEnded})
	left(10 + 10 + 10)
	f.On(2, Event{Kind: EventStep, SamplesPerSecond: 5, SecondsLeft: 40}) // dgl takes 2 s a step; the BP that waits does not
	left(10 + 40 + 25)                                                    // 0.125 s a sample on average: 2.5 s a step of batch 20
	f.jobs = 2
	left(40) // the longest run
	if f.Ended() != 1 {
		t.Errorf("%d runs ended, want 1", f.Ended())
	}
	f.On(1, Event{Kind: EventEnded})
	f.On(2, Event{Kind: EventEnded})
	f.On(3, Event{Kind: EventEnded})
	left(0)
}

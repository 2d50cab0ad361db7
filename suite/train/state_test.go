package train

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
)

// sound is a progress in batch 2 of epoch 3, of 4 epochs of 72 samples in batches of 16.
func sound() (Progress, extent) {
	x := 0.5
	epoch := func(n int64) results.Epoch { return results.Epoch{Epoch: n, TrainLoss: &x, TestTop1: &x} }
	return Progress{Epoch: 3, Batch: 2, Sums: Sums{Samples: 32, Losses: []float64{-1, 2}, Correct: []float64{3, 4}},
		Epochs: []results.Epoch{epoch(1), epoch(2)}, TrainSeconds: 1,
		PhaseSeconds: map[string]float64{"forward": 1}}, extent{epochs: 4, samples: 72, batch: 16, losses: 2}
}

// What a progress says has to be possible for the run.
func TestProgressIsChecked(t *testing.T) {
	p, e := sound()
	if err := e.check(p); err != nil {
		t.Fatalf("sound: %v", err)
	}
	last := p
	last.Batch, last.Sums.Samples = 5, 72 // the fifth batch has 8 samples
	if err := e.check(last); err != nil {
		t.Errorf("at the end of the epoch: %v", err)
	}
	for _, row := range []struct {
		name   string
		change func(*Progress)
		want   string
	}{
		{"an epoch too far", func(p *Progress) { p.Epoch = 1000000 }, "epoch 1000000 of 4"},
		{"no epoch", func(p *Progress) { p.Epoch = 0 }, "epoch 0 of 4"},
		{"results missing", func(p *Progress) { p.Epochs = p.Epochs[:1] }, "results of 1"},
		{"results too many", func(p *Progress) { p.Epoch = 2 }, "results of 2"},
		{"results of another epoch", func(p *Progress) { p.Epochs[1].Epoch = 7 }, "of epoch 7"},
		{"a result without a loss", func(p *Progress) { p.Epochs[0].TrainLoss = nil }, "no training loss"},
		{"a batch too far", func(p *Progress) { p.Batch = 6 }, "batch 6 of 5"},
		{"a negative batch", func(p *Progress) { p.Batch = -1 }, "batch -1"},
		{"batches after the end", func(p *Progress) { p.Epoch, p.Epochs = 5, append(p.Epochs, p.Epochs...) }, "in epoch 5 of 4"},
		{"other samples", func(p *Progress) { p.Sums.Samples = 33 }, "33 samples"},
		{"losses missing", func(p *Progress) { p.Sums.Losses = p.Sums.Losses[:1] }, "1 losses and 2 counts"},
		{"counts missing", func(p *Progress) { p.Sums.Correct = nil }, "2 losses and 0 counts"},
		{"losses of no batch", func(p *Progress) { p.Batch, p.Sums.Samples = 0, 0 }, "must be 0"},
		{"negative time", func(p *Progress) { p.TrainSeconds = -1 }, "-1"},
		{"negative phase", func(p *Progress) { p.PhaseSeconds["forward"] = -2 }, "-2"},
	} {
		p, e := sound()
		row.change(&p)
		if err := e.check(p); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}

// Times of steps travel in the state, to the nanosecond.
func TestProgressHasStepTimes(t *testing.T) {
	p, _ := sound()
	for _, seconds := range []float64{0.25, 0.000000003, 1} {
		p.Steps.Add(seconds)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back Progress
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	got, ok := back.Steps.Summary()
	if want, _ := p.Steps.Summary(); !ok || got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := json.Unmarshal([]byte(`{"steps":{"nanoseconds":[5,-1]}}`), &back); err == nil {
		t.Error("a negative time: got no error")
	}
}

package suite

import (
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/results"
)

// A run of Request.Build is the one that Build makes of its spec: the same settings, stages and sizes.
func TestBuiltRunsAreThoseOfTheirSpecs(t *testing.T) {
	null, err := engine.Open(BackendNull, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for i, request := range idRequests(t) {
		runs, err := request.Build()
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range runs {
			again, err := Build(run.Spec)
			if err != nil {
				t.Fatal(err)
			}
			if again.Settings != run.Settings || len(again.Stages) != len(run.Stages) || again.ModuleCount() != run.ModuleCount() {
				t.Errorf("request %d: %s: got %+v in %d stages, want %+v in %d", i, run.ID(), again.Settings, len(again.Stages),
					run.Settings, len(run.Stages))
			}
		}
		if i%6 != 0 || testing.Short() { // a sample of the grid is compiled
			continue
		}
		run := runs[len(runs)-1]
		again, err := Build(run.Spec)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := arenaOf(t, null, again), arenaOf(t, null, run); got != want {
			t.Errorf("%s: got an arena of %d bytes, want %d", run.ID(), got, want)
		}
	}
}

// A run with another batch is the run of the spec with that batch, and leaves the first one as it is.
func TestWithBatch(t *testing.T) {
	null, err := engine.Open(BackendNull, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	build := func(batch int64) *Run {
		runs, err := Request{Methods: []string{"auglocal"}, Networks: []string{"resnet20"}, Batches: []int64{batch}}.Build()
		if err != nil {
			t.Fatal(err)
		}
		return runs[0]
	}
	small, large := build(8), build(16)
	before := arenaOf(t, null, small)
	other := small.WithBatch(16)
	if got, want := arenaOf(t, null, other), arenaOf(t, null, large); got != want || other.ID() != large.ID() {
		t.Errorf("got an arena of %d bytes, want %d", got, want)
	}
	if after := arenaOf(t, null, small); small.Spec.Batch != 8 || after != before {
		t.Errorf("the run of 8 samples has batch %d and an arena of %d bytes now, want %d", small.Spec.Batch, after, before)
	}
}

func arenaOf(t *testing.T, d engine.Device, r *Run) int64 {
	t.Helper()
	c, err := r.with(func(s *results.Spec) { s.Backend = BackendNull }).Compile(d, JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return *c.Memory.ArenaBytes
}

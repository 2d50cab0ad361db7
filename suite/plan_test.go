package suite

import (
	"maps"
	"slices"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/results"
)

// Package results can't import core, so it lists names that must stay the same there.
func TestNamesInResultsAreThoseOfCore(t *testing.T) {
	var names []string
	for _, c := range graph.Categories() {
		names = append(names, c.String())
	}
	if !slices.Equal(names, results.Categories()) || graph.CategoryWorkspace.String() != results.CategoryWorkspace {
		t.Errorf("results has the categories %q, core/graph %q", results.Categories(), names)
	}
	if string(engine.StageArena) != results.StageArena || string(engine.StageSteady) != results.StageSteady {
		t.Errorf("results has the stages %q and %q, core/engine %q and %q", results.StageArena, results.StageSteady,
			engine.StageArena, engine.StageSteady)
	}
}

// A plan as plain data has the sizes of the compiled run: the highest point of its timeline is the planned peak, and the
// scopes and the categories at the peak sum to it.
func TestPlanIsTheCompiledRun(t *testing.T) {
	runs, err := Request{Methods: []string{"auglocal"}, Networks: []string{"resnet20"}, Datasets: []string{"cifar10"}, Batches: []int64{4}}.Build()
	if err != nil {
		t.Fatal(err)
	}
	runs[0] = runs[0].with(func(s *results.Spec) { s.Backend = BackendNull })
	d, err := runs[0].OpenDevice(Host{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	plans, compiled, err := Plans(d, runs, JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, peak := plans[0], compiled[0].Profile.PlannedPeakBytes
	if highest := slices.Max(p.Totals()); highest != peak || *p.Memory.PlannedPeakBytes != peak {
		t.Errorf("the timeline's highest point is %d and the planned peak %d, want %d", highest, *p.Memory.PlannedPeakBytes, peak)
	}
	var scopes, categories int64
	for _, s := range p.ByScope {
		scopes += s.Bytes
	}
	for bytes := range maps.Values(p.Memory.ByCategory) {
		categories += bytes
	}
	if scopes != peak || categories != peak {
		t.Errorf("scopes sum to %d and categories to %d, want %d", scopes, categories, peak)
	}
	if len(p.Kernels) == 0 || p.Kernels[0].Kind != "conv" || p.LocalModules != 10 || p.Alone != nil || p.Unbounded != nil {
		t.Errorf("%d kernels, K %d: want the convolutions, and K 10 of ResNet-20", len(p.Kernels), p.LocalModules)
	}
}

// The median of an even number of steps is the mean of the middle two.
func TestDistributionOfSteps(t *testing.T) {
	if d := distribution([]float64{0.3, 0.1}); d == nil || d.Median < 0.1999 || d.Median > 0.2001 || d.N != 2 {
		t.Errorf("got %+v, want a median of 0.2 of 2 steps", d)
	}
	if d := distribution(nil); d != nil {
		t.Errorf("without steps: got %+v, want none", d)
	}
}

package suite

import (
	"maps"
	"slices"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/reports/table"
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

// Package table must not import methods, so it lists their names.
func TestMethodsInReportsAreThoseOfMethods(t *testing.T) {
	names, _, _ := Names()
	if !slices.Equal(names, table.Methods()) {
		t.Errorf("reports/table has the methods %q, methods.List %q", table.Methods(), names)
	}
}

// A plan as plain data has the sizes of the compiled run: the highest point of its timeline is the planned peak, and the
// scopes and the categories at the peak sum to it.
func TestPlanIsTheCompiledRun(t *testing.T) {
	runs, err := Request{Methods: []string{"auglocal"}, Networks: []string{"resnet20"}, Datasets: []string{"cifar10"},
		Batches: []int64{4}}.Build()
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
	if len(p.Kernels) == 0 || p.Kernels[0].Kind != "conv" || p.LocalModules != 10 || len(p.Without) > 0 {
		t.Errorf("%d kernels, K %d: want the convolutions, and K 10 of ResNet-20", len(p.Kernels), p.LocalModules)
	}
}

// A plan has the plans of the same run without its budget or without overlapping modules, and these are the run's own.
func TestPlansWithout(t *testing.T) {
	plan := func(s results.Settings) results.Plan {
		t.Helper()
		r, err := Request{Methods: []string{"dgl"}, Networks: []string{"resnet20"}, Datasets: []string{"cifar10"},
			Batches: []int64{8}, Settings: s}.Build()
		if err != nil {
			t.Fatal(err)
		}
		r[0] = r[0].with(func(s *results.Spec) { s.Backend = BackendNull })
		d, err := r[0].OpenDevice(Host{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		plans, _, err := Plans(d, r, JobOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return plans[0]
	}
	plain := plan(results.Settings{})
	arena := *plain.Memory.StepArenaBytes
	for option, settings := range map[string]results.Settings{
		"overlap": {Overlap: 2}, "budget": {Budget: *plain.Memory.ArenaBytes * 19 / 20}} {
		p := plan(settings)
		without := p.Without[option]
		if len(p.Without) != 1 || without == nil {
			t.Errorf("%s: compared with %v, want the run without it", option, p.Without)
			continue
		}
		if *without.Memory.StepArenaBytes != arena || results.SpecID(without.Spec) != results.SpecID(plain.Spec) {
			t.Errorf("%s: without it a step arena of %d bytes, run %s; want %d, run %s", option, *without.Memory.StepArenaBytes,
				results.SpecID(without.Spec), arena, results.SpecID(plain.Spec))
		}
		if *p.Memory.StepArenaBytes == arena {
			t.Errorf("%s: the same step arena as without it", option)
		}
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

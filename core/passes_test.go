package core_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/graph"
)

// TestPassesRunInOrder lists the passes that a step with everything has.
func TestPassesRunInOrder(t *testing.T) {
	o := core.StepOptions{Batch: 3, Image: graph.Shape{8, 8, 3}, Deviation: [4]float64{1, 1, 1}, Mixed: true, Overlap: 2,
		Store: graph.StoreInt8, RecomputeNorm: true, FuseNorm: core.FuseNormAll}
	var names []string
	o.AfterPass = func(name string, g *graph.Graph) { names = append(names, name) }
	if _, err := core.TrainingStep(tiny(t, "auglocal"), o); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(names, core.PassNames()) {
		t.Errorf("got passes %v, PassNames are %v", names, core.PassNames())
	}
	want := []string{core.PassNone, "drop-detach", "fuse-gradient-sum", "fuse-norm-input", "recompute", "mark-saved",
		"drop-unused", "mixed", "store", "fuse-norm-statistics", "fuse-norm-gradient", "in-place", "overlap"}
	if !slices.Equal(names, want) {
		t.Errorf("got passes %v, want %v", names, want)
	}
}

// TestInvalidProgramIsNamedByPass breaks the program in two places: in a unit, before any pass, and after a pass. The error
// has the name of the pass after which the program is invalid, not of the last one.
func TestInvalidProgramIsNamedByPass(t *testing.T) {
	o := core.StepOptions{Batch: 3, Image: graph.Shape{8, 8, 3}, Deviation: [4]float64{1, 1, 1}}
	stages := tiny(t, "bp")
	unit := &stages[0].Units[1]
	forward := unit.Forward
	unit.Forward = func(b *graph.Builder, x *graph.Value) *graph.Value {
		b.Rewrite(0, func(ops []*graph.Op) []*graph.Op { return ops[1:] }) // the images are not normalised
		return forward(b, x)
	}
	if _, err := core.TrainingStep(stages, o); err == nil || !strings.HasPrefix(err.Error(), "after pass none: op 0 conv ") {
		t.Errorf("a unit that writes an invalid op: %v", err)
	}
	o.Unverified = true
	if _, err := core.TrainingStep(stages, o); err != nil {
		t.Errorf("the verifier ran, and was switched off: %v", err)
	}

	o.Unverified = false
	o.AfterPass = func(name string, g *graph.Graph) {
		if name == "recompute" {
			g.Ops[2].Results[0].Shape = graph.Shape{1}
		}
	}
	var step *core.Step
	step, err := core.TrainingStep(tiny(t, "bp"), o)
	if err == nil || !strings.HasPrefix(err.Error(), "after pass recompute: op 2 ") || step != nil {
		t.Errorf("a program that is invalid after a pass: %v", err)
	}
}

package audit_test

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/audit"
	"github.com/localbench/localbench/core/autodiff"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/passes"
	"github.com/localbench/localbench/core/plan"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

func auditGraph(t *testing.T, g *graph.Graph) []audit.Finding {
	t.Helper()
	l, err := plan.New(g, nil, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return audit.Step(g, plan.Allocations(g, nil, l), plan.Measure(g, nil, l).Timeline)
}

// TestEveryMethodIsIsolated audits all methods on two networks and under every way
// of trading memory.
func TestEveryMethodIsIsolated(t *testing.T) {
	for _, network := range []string{"resnet20", "resnet32"} {
		for _, m := range methods.List() {
			for _, o := range []core.StepOptions{{}, {RecomputeNorm: true}, {Overlap: 3}} {
				if o.Overlap > 1 && !m.Local() {
					continue
				}
				n, err := networks.New(network, graph.Shape{32, 32, 3}, 10)
				if err != nil {
					t.Fatal(err)
				}
				stages, err := m.Stages(n, methods.Options{})
				if err != nil {
					t.Fatal(err)
				}
				o.Batch, o.Image, o.Deviation = 4, n.Input, [4]float64{1, 1, 1}
				s, err := core.TrainingStep(stages, o)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range auditGraph(t, s.Graph) {
					t.Errorf("%s %s: %+v", network, m.Name, f)
				}
			}
		}
	}
}

// twoModules writes two modules of a convolution and a head each. Fault is planted
// in the second.
func twoModules(t *testing.T, fault string) *graph.Graph {
	t.Helper()
	b := graph.NewBuilder(true)
	x, labels := b.Input("x", graph.Shape{2, 8, 8, 4}, graph.TypeF32), b.Input("labels", graph.Shape{2}, graph.TypeS32)
	rate := b.Input("rate", graph.Shape{1}, graph.TypeF32)
	from := 0
	var inner *graph.Value
	for m := range 2 {
		var loss *graph.Value
		b.InModule(m, graph.PhaseForward, func() {
			name := []string{"first", "second"}[m]
			if m > 0 && fault != "no detach" {
				x = b.Detach(x)
			}
			b.In(name, func() {
				weight := func(role string, s ...int64) *graph.Value { return b.Parameter(role, s, graph.Weight{}) }
				y := b.Conv(x, weight("conv", 4, 3, 3, 4), nil, graph.ConvOptions{Padding: 1})
				if m == 1 && fault == "a look back" {
					y = b.Add(y, b.Conv(b.Detach(inner), weight("conv3", 4, 3, 3, 4), nil, graph.ConvOptions{Padding: 1}))
				}
				inner = y
				x = b.ReLU(b.Conv(y, weight("conv2", 4, 3, 3, 4), nil, graph.ConvOptions{Padding: 1}))
				loss, _, _ = b.CrossEntropy(b.Linear(b.AdaptiveAveragePool(x, 1, 1), weight("fc", 3, 4), nil), labels)
			})
			b.Output(loss)
		})
		ops := b.Ops()[from:]
		if fault == "no detach" {
			ops = b.Ops()
			if m == 0 {
				continue // one backward pass through both
			}
		}
		err := autodiff.Backward(b, ops, []autodiff.Loss{{Value: loss, Weight: 1}}, func(p, g *graph.Value) {
			b.SGD(p, g, b.Momentum(p), rate, graph.SGDOptions{})
		})
		if err != nil {
			t.Fatal(err)
		}
		from = len(b.Ops())
	}
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	passes.DropDetach(g)
	passes.MarkSaved(g)
	passes.DropUnused(g)
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestPlantedFaults: a border without detach, and a module that keeps the one
// before it alive; each is found and its tensor named.
func TestPlantedFaults(t *testing.T) {
	if found := auditGraph(t, twoModules(t, "")); len(found) > 0 {
		t.Fatalf("without a fault: %+v", found)
	}
	for fault, want := range map[string]struct{ tensor, what string }{
		"no detach":   {"second", "a gradient of module 1 reaches module 0"},
		"a look back": {"first", "of module 0 are alive at the peak of module 1"},
	} {
		hit := false
		for _, f := range auditGraph(t, twoModules(t, fault)) {
			hit = hit || strings.Contains(f.Tensor, want.tensor) && strings.Contains(f.What, want.what)
		}
		if !hit {
			t.Errorf("%s: not found: %+v", fault, auditGraph(t, twoModules(t, fault)))
		}
	}
}

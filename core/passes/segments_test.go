package passes_test

import (
	"testing"

	"github.com/localbench/localbench/core/autodiff"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/passes"
)

// TestRecomputeSegments recomputes the first of two segments of a program: linear, normalisation, ReLU; linear, loss. What
// the order must be is written by hand: copies of all three layers come before the gradient of the ReLU, which is
// the first op of the segment's backward pass.
func TestRecomputeSegments(t *testing.T) {
	b := graph.NewBuilder(true)
	x := b.Input("x", graph.Shape{4, 3}, graph.TypeF32)
	labels := b.Input("labels", graph.Shape{4}, graph.TypeS32)
	first, last := b.Parameter("first", graph.Shape{5, 3}, graph.Weight{}), b.Parameter("last", graph.Shape{2, 5}, graph.Weight{})
	gamma, beta := b.Parameter("gamma", graph.Shape{5}, graph.Weight{}), b.Parameter("beta", graph.Shape{5}, graph.Weight{})
	mean, variance := b.Buffer("mean", graph.Shape{5}, graph.Weight{}), b.Buffer("variance", graph.Shape{5}, graph.Weight{})
	h := b.Linear(x, first, nil)
	m, v := b.NormStats(h, mean, variance, 0.1)
	h = b.ReLU(b.NormApply(h, m, v, gamma, beta, 1e-5))
	segment := append([]*graph.Op(nil), b.Ops()...)
	loss, _, _ := b.CrossEntropy(b.Linear(h, last, nil), labels)
	losses := []autodiff.Loss{{Value: loss, Weight: 1}}
	if err := autodiff.Backward(b, b.Ops(), losses, func(p, g *graph.Value) { b.Output(g) }); err != nil {
		t.Fatal(err)
	}
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	passes.RecomputeSegments(g, [][]*graph.Op{segment})
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
	want := []graph.Kind{
		graph.KindLinear, graph.KindNormStats, graph.KindNormApply, graph.KindReLU, graph.KindLinear, graph.KindCrossEntropy,
		graph.KindCrossEntropyBackward, graph.KindLinearBackwardWeights, graph.KindLinearBackwardData,
		graph.KindLinear, graph.KindNormStats, graph.KindNormApply, graph.KindReLU,
		graph.KindReLUBackward, graph.KindNormBackward, graph.KindLinearBackwardWeights,
	}
	if len(g.Ops) != len(want) {
		t.Fatalf("%d ops, want %d", len(g.Ops), len(want))
	}
	for i, op := range g.Ops {
		if op.Kind != want[i] {
			t.Errorf("op %d is %s, want %s", i, op.Kind, want[i])
		}
	}
	copied := g.Ops[9:13]
	if weights := g.Ops[7]; weights.Operands[0] != h {
		t.Errorf("the second segment reads %s, want the first result of the first segment", weights.Operands[0])
	}
	if relu := g.Ops[13]; relu.Operands[1] != copied[3].Results[0] || relu.Forward != copied[3] {
		t.Errorf("the gradient of the ReLU reads %s, want the copy's result", relu.Operands[1])
	}
	if norm := g.Ops[14]; norm.Operands[1] != copied[0].Results[0] || norm.Operands[2] != copied[1].Results[0] {
		t.Errorf("the gradient of the normalisation reads %s and %s, want those of the copies", norm.Operands[1], norm.Operands[2])
	}
	if stats := copied[1]; stats.Operands[1] != nil || len(stats.Mutates()) > 0 && stats.Mutates()[0] != nil {
		t.Error("the copy of the statistics moves the running ones again")
	}
}

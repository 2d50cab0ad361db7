package passes_test

import (
	"slices"
	"testing"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/passes"
)

// TestFuseNormGradient fuses the backward pass of two residual blocks, with the sums of gradients fused and not: the results
// are the same, and of the gradients of the convolutions' results only that of the stem, whose input has no gradient, is left.
func TestFuseNormGradient(t *testing.T) {
	plain := outputs(t, blocks(t, false))
	fuse := passes.Always("fuse-norm-gradient", passes.FuseNormGradient)
	for _, before := range [][]passes.Pass{
		nil,
		{passes.Always("fuse-gradient-sum", passes.FuseGradientSum)},
		{passes.Always("recompute", func(g *graph.Graph) { passes.Recompute(g, activations(g)) })},
	} {
		g := blocks(t, true)
		if err := passes.Apply(g, slices.Concat(before, []passes.Pass{fuse}), verify); err != nil {
			t.Fatal(err)
		}
		if fault := same(plain, outputs(t, g)); fault != "" {
			t.Errorf("after %d passes: %s", len(before), fault)
		}
		if err := counts(g, graph.KindNormBackwardSums, 4, graph.KindConvNormBackward, 4, graph.KindNormBackward, 1,
			graph.KindConvBackwardData, 0, graph.KindConvBackwardWeights, 1); err != nil {
			t.Errorf("after %d passes: %v", len(before), err)
		}
	}
	// A mask that is lost must be seen.
	planted := blocks(t, true)
	passes.FuseNormGradient(planted)
	for _, op := range planted.Ops {
		if op.Kind == graph.KindConvNormBackward {
			op.Attr.Following = graph.ActivationNone
		}
	}
	if same(plain, outputs(t, planted)) == "" {
		t.Error("without the masks of the activations the results are the same")
	}
	// The second convolution of each block can normalise its input.
	g := blocks(t, true)
	input := passes.Always("fuse-norm-input", func(g *graph.Graph) { passes.FuseNormInput(g, nil) })
	if err := passes.Apply(g, []passes.Pass{input, fuse}, verify); err != nil {
		t.Fatal(err)
	}
	if fault := same(plain, outputs(t, g)); fault != "" {
		t.Errorf("with normalised inputs: %s", fault)
	}
	if err := counts(g, graph.KindConvNormBackward, 4, graph.KindNormBackward, 1, graph.KindNormBackwardSums, 2,
		graph.KindNormApply, 3); err != nil {
		t.Errorf("with normalised inputs: %v", err)
	}
}

// TestFuseNormGradientLeaves has backward passes of which something needs the gradient of the convolution's result: they are
// left, and the program stays valid.
func TestFuseNormGradientLeaves(t *testing.T) {
	type parts struct {
		b           *graph.Builder
		conv, apply *graph.Op
		dy          *graph.Value
	}
	both := func(p *parts, dx *graph.Value) {
		p.b.Output(p.b.ConvBackwardData(p.conv, dx))
		dw, _ := p.b.ConvBackwardWeights(p.conv, dx)
		p.b.Output(dw)
	}
	for _, v := range []struct {
		what  string
		fused int
		bias  bool
		more  func(p *parts)
	}{
		{"both gradients", 1, false, func(p *parts) { both(p, p.b.NormBackward(p.apply, p.dy).X) }},
		{"the weights' first", 1, false, func(p *parts) {
			dx := p.b.NormBackward(p.apply, p.dy).X
			p.b.ConvBackwardWeights(p.conv, dx)
			p.b.ConvBackwardData(p.conv, dx)
		}},
		{"a bias", 0, true, func(p *parts) { both(p, p.b.NormBackward(p.apply, p.dy).X) }},
		{"another reader", 0, false, func(p *parts) {
			dx := p.b.NormBackward(p.apply, p.dy).X
			both(p, dx)
			p.b.Output(p.b.ReLU(dx))
		}},
		{"an output", 0, false, func(p *parts) {
			dx := p.b.NormBackward(p.apply, p.dy).X
			both(p, dx)
			p.b.Output(dx)
		}},
		{"the data's gradient only", 0, false, func(p *parts) {
			p.b.Output(p.b.ConvBackwardData(p.conv, p.b.NormBackward(p.apply, p.dy).X))
		}},
		{"the weights' gradient only", 0, false, func(p *parts) {
			p.b.ConvBackwardWeights(p.conv, p.b.NormBackward(p.apply, p.dy).X)
		}},
		{"a second gradient", 0, false, func(p *parts) {
			dx := p.b.NormBackward(p.apply, p.dy).X
			p.b.Ops()[len(p.b.Ops())-1].Operands[graph.NormBackwardSecondGradient] = p.b.Input("dy2", p.dy.Shape, p.dy.Type)
			both(p, dx)
		}},
		{"another module", 0, false, func(p *parts) {
			dx := p.b.NormBackward(p.apply, p.dy).X
			p.b.InModule(1, graph.PhaseBackward, func() { both(p, dx) })
		}},
		// The input is made between the two ops, so the combined one must come second.
		{"an input that is made late", 1, false, func(p *parts) {
			dx := p.b.NormBackward(p.apply, p.dy).X
			p.b.Output(p.b.ConvBackwardData(p.conv, dx))
			late := *p.conv
			late.Operands = slices.Clone(p.conv.Operands)
			late.Operands[0] = p.b.ReLU(p.conv.Operands[0])
			p.b.ConvBackwardWeights(&late, dx)
		}},
		// And here it can't, because its result is read before.
		{"an input that is made late, of the gradient", 0, false, func(p *parts) {
			dx := p.b.NormBackward(p.apply, p.dy).X
			data := p.b.ConvBackwardData(p.conv, dx)
			late := *p.conv
			late.Operands = slices.Clone(p.conv.Operands)
			late.Operands[0] = p.b.ReLU(data)
			p.b.ConvBackwardWeights(&late, dx)
		}},
	} {
		p := parts{b: graph.NewBuilder(true)}
		p.b.InModule(0, graph.PhaseForward, func() {
			x := p.b.Input("x", graph.Shape{2, 5, 5, 4}, graph.TypeF32)
			w, bias := p.b.Parameter("weight", graph.Shape{4, 3, 3, 4}, graph.Weight{}), (*graph.Value)(nil)
			if v.bias {
				bias = p.b.Parameter("bias", graph.Shape{4}, graph.Weight{})
			}
			y := p.b.Conv(x, w, bias, graph.ConvOptions{Padding: 1})
			p.conv = p.b.Ops()[len(p.b.Ops())-1]
			p.b.Output(normalised(p.b, y))
			p.apply = p.b.Ops()[len(p.b.Ops())-1]
			p.dy = p.b.Input("dy", y.Shape, graph.TypeF32)
		})
		p.b.InModule(0, graph.PhaseBackward, func() { v.more(&p) })
		g, err := p.b.Graph()
		if err != nil {
			t.Fatalf("%s: %v", v.what, err)
		}
		passes.FuseNormGradient(g)
		if err := g.Verify(); err != nil {
			t.Errorf("%s: %v", v.what, err)
		}
		if err := counts(g, graph.KindConvNormBackward, v.fused, graph.KindNormBackwardSums, v.fused); err != nil {
			t.Errorf("%s: %v", v.what, err)
		}
	}
}

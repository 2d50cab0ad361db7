package passes_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/autodiff"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/passes"
	"github.com/localbench/localbench/core/reference"
	"github.com/localbench/localbench/core/rng"
)

// blocks writes a training step of a stem, two residual blocks and a classifier: forward, fused if asked for, and
// backward, with the gradients as outputs.
func blocks(t *testing.T, fused bool) *graph.Graph {
	t.Helper()
	b := graph.NewBuilder(true)
	x, labels := b.Input("x", graph.Shape{2, 5, 5, 3}, graph.TypeF32), b.Input("labels", graph.Shape{2}, graph.TypeS32)
	var loss *graph.Value
	b.InModule(0, graph.PhaseForward, func() {
		x = b.Detach(x)
		b.In("stem", func() { x = b.ReLU(normalised(b, convolved(b, x, 3))) })
		for _, name := range []string{"block1", "block2"} {
			b.In(name, func() {
				y := x
				b.In("a", func() { y = b.ReLU(normalised(b, convolved(b, y, 4))) })
				b.In("b", func() { y = normalised(b, convolved(b, y, 4)) })
				x = b.ReLU(b.Add(y, x))
			})
		}
		fc := b.Parameter("fc", graph.Shape{3, 4}, graph.Weight{})
		loss, _, _ = b.CrossEntropy(b.Linear(b.AdaptiveAveragePool(x, 1, 1), fc, nil), labels)
	})
	b.Output(loss)
	if fused {
		b.Rewrite(0, passes.FuseNorm)
	}
	err := autodiff.Backward(b, b.Ops(), []autodiff.Loss{{Value: loss, Weight: 1}}, func(_, g *graph.Value) { b.Output(g) })
	if err != nil {
		t.Fatal(err)
	}
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func convolved(b *graph.Builder, x *graph.Value, in int64) *graph.Value {
	w := b.Parameter("weight", graph.Shape{4, 3, 3, in}, graph.Weight{})
	return b.Conv(x, w, nil, graph.ConvOptions{Padding: 1})
}

func normalised(b *graph.Builder, x *graph.Value) *graph.Value {
	c := graph.Shape{4}
	mean, variance := b.NormStats(x, b.Buffer("mean", c, graph.Weight{}), b.Buffer("variance", c, graph.Weight{}), 0.1)
	return b.NormApply(x, mean, variance, b.Parameter("gamma", c, graph.Weight{}), b.Parameter("beta", c, graph.Weight{}), 1e-5)
}

// outputs runs a program from fixed random numbers, in double precision, and returns what it leaves: outputs, and buffers
// that it updates.
func outputs(t *testing.T, g *graph.Graph) map[string][]float64 {
	t.Helper()
	m := reference.New(g)
	for _, v := range g.Values {
		if !v.Category.Persistent() && v.Category != graph.CategoryInput {
			continue
		}
		x := make([]float64, v.Shape.Elements())
		stream := rng.Stream{Seed: 4, Purpose: rng.PurposeInit, Epoch: rng.NameKey(v.Name)}
		for i := range x {
			if x[i] = stream.Normal(uint64(i)); v.Name == "labels" {
				x[i] = float64(i)
			}
		}
		m.Set(v, x)
	}
	if err := m.Run(0, len(g.Ops)); err != nil {
		t.Fatal(err)
	}
	left := map[string][]float64{}
	for i, v := range g.Outputs {
		left[fmt.Sprint("output ", i)] = m.Get(v)
	}
	for _, v := range g.Values {
		if v.Category == graph.CategoryBuffer {
			left[v.Name] = m.Get(v)
		}
	}
	return left
}

// same reports the first difference between what two programs leave; empty: none.
func same(a, b map[string][]float64) string {
	if len(a) != len(b) {
		return fmt.Sprintf("%d results, want %d", len(b), len(a))
	}
	for _, name := range slices.Sorted(maps.Keys(a)) {
		for i, x := range a[name] {
			if y := b[name][i]; math.Abs(x-y) > 1e-12*max(1, math.Abs(x)) {
				return fmt.Sprintf("%s[%d] is %g, want %g", name, i, y, x)
			}
		}
	}
	return ""
}

func count(g *graph.Graph, k graph.Kind) (n int) {
	for _, op := range g.Ops {
		if op.Kind == k {
			n++
		}
	}
	return n
}

// activations are dropped from what is saved: results of the forward pass but statistics.
func activations(g *graph.Graph) func(v *graph.Value) bool {
	droppable := map[*graph.Value]bool{}
	for _, op := range g.Ops {
		for _, v := range op.Results {
			droppable[v] = op.Phase == graph.PhaseForward && op.Kind != graph.KindNormStats && op.Kind != graph.KindCrossEntropy
		}
	}
	return func(v *graph.Value) bool { return droppable[v] }
}

// savedBytes is what the forward pass makes and the backward pass reads.
func savedBytes(g *graph.Graph) (bytes int64) {
	made, counted := map[*graph.Value]bool{}, map[*graph.Value]bool{}
	for _, op := range g.Ops {
		for _, v := range op.Results {
			made[v] = op.Phase == graph.PhaseForward
		}
		for _, v := range op.Operands {
			if op.Phase == graph.PhaseBackward && made[v] && !counted[v] {
				counted[v] = true
				bytes += v.Bytes()
			}
		}
	}
	return bytes
}

// TestFuseNormInputLeaves has normalisations that convolutions must not take over: each is left, and the program stays valid.
func TestFuseNormInputLeaves(t *testing.T) {
	shape, c := graph.Shape{2, 5, 5, 4}, graph.Shape{4}
	type parts struct {
		b    *graph.Builder
		norm *graph.Op
		y    *graph.Value // its result
		keep map[*graph.Value]bool
	}
	for _, v := range []struct {
		what string
		left int // normalisations
		more func(p *parts)
	}{
		{"nothing else reads it", 0, func(p *parts) { p.b.Output(convolved(p.b, p.y, 4)) }},
		{"two convolutions read it", 0, func(p *parts) {
			p.b.Output(convolved(p.b, p.y, 4))
			p.b.In("second", func() { p.b.Output(convolved(p.b, p.y, 4)) })
		}},
		{"an output", 1, func(p *parts) { p.b.Output(convolved(p.b, p.y, 4)); p.b.Output(p.y) }},
		{"a checkpoint", 1, func(p *parts) { p.b.Output(convolved(p.b, p.y, 4)); p.keep[p.y] = true }},
		{"a residual", 1, func(p *parts) {
			p.norm.Operands[5] = p.norm.Operands[0]
			p.b.Output(convolved(p.b, p.y, 4))
		}},
		{"read by a sum, too", 1, func(p *parts) { p.b.Output(p.b.Add(convolved(p.b, p.y, 4), p.y)) }},
		{"read by another module", 1, func(p *parts) {
			p.b.InModule(1, graph.PhaseForward, func() { p.b.Output(convolved(p.b, p.y, 4)) })
		}},
		{"read by nothing", 1, func(p *parts) { p.b.Output(p.norm.Operands[0]) }},
		{"gamma changes before the convolution", 1, func(p *parts) {
			gradient := p.b.Input("g", c, graph.TypeF32)
			p.b.InModule(0, graph.PhaseUpdate, func() {
				p.b.SGD(p.norm.Operands[3], gradient, nil, p.b.Input("rate", graph.Shape{1}, graph.TypeF32), graph.SGDOptions{})
			})
			p.b.Output(convolved(p.b, p.y, 4))
		}},
		{"already normalised input", 1, func(p *parts) {
			p.b.Output(convolved(p.b, p.y, 4))
			op := p.b.Ops()[len(p.b.Ops())-1]
			copy(op.Operands[3:], p.norm.Operands[1:5])
			op.Attr.Epsilon = 1e-5
		}},
	} {
		p := parts{b: graph.NewBuilder(true), keep: map[*graph.Value]bool{}}
		p.b.InModule(0, graph.PhaseForward, func() {
			p.y = normalised(p.b, p.b.Input("x", shape, graph.TypeF32))
			p.norm = p.b.Ops()[len(p.b.Ops())-1]
			v.more(&p)
		})
		g, err := p.b.Graph()
		if err != nil {
			t.Fatal(err)
		}
		passes.FuseNormInput(g, p.keep)
		if err := g.Verify(); err != nil {
			t.Errorf("%s: %v", v.what, err)
		}
		if left := count(g, graph.KindNormApply); left != v.left {
			t.Errorf("%s: got %d normalisations, want %d", v.what, left, v.left)
		}
	}
}

// TestFuseNormStatisticsLeaves has statistics that convolutions must not take over: each is left, and the program stays valid.
func TestFuseNormStatisticsLeaves(t *testing.T) {
	type parts struct {
		b           *graph.Builder
		x, y        *graph.Value // of the convolution
		mean, other *graph.Value // running statistics
	}
	for _, v := range []struct {
		what string
		left int // norm_stats
		more func(p *parts)
	}{
		{"of the result", 0, func(p *parts) { p.b.NormStats(p.y, p.mean, p.other, 0.1) }},
		{"of the result, without running ones", 1, func(p *parts) { p.b.NormStats(p.y, nil, nil, 0.1) }},
		{"of the input", 1, func(p *parts) { p.b.NormStats(p.x, p.mean, p.other, 0.1) }},
		{"of the result of another module", 1, func(p *parts) {
			p.b.InModule(1, graph.PhaseForward, func() { p.b.NormStats(p.y, p.mean, p.other, 0.1) })
		}},
		{"two of one result", 1, func(p *parts) {
			p.b.NormStats(p.y, p.mean, p.other, 0.1)
			p.b.In("second", func() {
				c := graph.Shape{4}
				p.b.NormStats(p.y, p.b.Buffer("mean", c, graph.Weight{}), p.b.Buffer("variance", c, graph.Weight{}), 0.1)
			})
		}},
		{"running ones that are read in between", 1, func(p *parts) {
			p.b.Add(p.mean, p.other)
			p.b.NormStats(p.y, p.mean, p.other, 0.1)
		}},
	} {
		p := parts{b: graph.NewBuilder(true)}
		p.b.InModule(0, graph.PhaseForward, func() {
			p.x = p.b.Input("x", graph.Shape{2, 5, 5, 4}, graph.TypeF32)
			p.y = convolved(p.b, p.x, 4)
			p.mean, p.other = p.b.Buffer("mean", graph.Shape{4}, graph.Weight{}), p.b.Buffer("variance", graph.Shape{4}, graph.Weight{})
			v.more(&p)
		})
		g, err := p.b.Graph()
		if err != nil {
			t.Fatalf("%s: %v", v.what, err)
		}
		passes.FuseNormStatistics(g)
		if err := g.Verify(); err != nil {
			t.Errorf("%s: %v", v.what, err)
		}
		if left := count(g, graph.KindNormStats); left != v.left {
			t.Errorf("%s: got %d norm_stats, want %d", v.what, left, v.left)
		}
	}
}

// TestPasses runs each pass on a program and checks that it verifies, that it leaves the same results, and that the pass has
// done what it is for, in numbers counted by hand.
func TestPasses(t *testing.T) {
	plain := outputs(t, blocks(t, false))
	for _, c := range []struct {
		pass  passes.Pass
		fused bool
		check func(before, after *graph.Graph) error
	}{
		{passes.Always("none", func(*graph.Graph) {}), false, func(_, g *graph.Graph) error {
			// Two sums of activations, and two of gradients: at the inputs of both blocks.
			return counts(g, graph.KindReLU, 5, graph.KindAdd, 4, graph.KindReLUBackward, 5, graph.KindDetach, 1)
		}},
		{passes.Always("fuse-norm", func(*graph.Graph) {}), true, func(_, g *graph.Graph) error {
			// The sums of gradients are left.
			return counts(g, graph.KindReLU, 0, graph.KindReLUBackward, 0, graph.KindNormApply, 5, graph.KindAdd, 2)
		}},
		{passes.Always("drop-detach", passes.DropDetach), true, func(_, g *graph.Graph) error {
			return counts(g, graph.KindDetach, 0)
		}},
		{passes.Always("fuse-gradient-sum", passes.FuseGradientSum), true, func(_, g *graph.Graph) error {
			return counts(g, graph.KindAdd, 0, graph.KindNormBackward, 5)
		}},
		{passes.Always("fuse-norm-input", func(g *graph.Graph) { passes.FuseNormInput(g, nil) }), true,
			func(before, g *graph.Graph) error {
				// Of each block the first normalisation, which the second convolution and its gradient read. The stem's is also the
				// residual of the first block.
				if saved := savedBytes(before) - savedBytes(g); saved != 2*2*5*5*4*4 {
					return fmt.Errorf("%d bytes less are saved", saved)
				}
				for _, op := range g.Ops {
					if want := strings.HasSuffix(op.Scope, "/b"); op.Kind == graph.KindConv && op.NormalisesInput() != want {
						return fmt.Errorf("%s at %s: normalises its input: %t", op.Kind, op.Scope, !want)
					}
				}
				return counts(g, graph.KindNormApply, 3, graph.KindNormBackward, 5, graph.KindConvBackwardWeights, 5)
			}},
		{passes.Always("fuse-norm-statistics", passes.FuseNormStatistics), true, func(_, g *graph.Graph) error {
			for _, op := range g.Ops {
				if op.Kind == graph.KindConv && (len(op.Results) != 3 || op.Attr.Momentum == 0 || len(op.Mutates()) != 2) {
					return fmt.Errorf("%s at %s: does not compute statistics", op.Kind, op.Scope)
				}
			}
			return counts(g, graph.KindNormStats, 0, graph.KindConv, 5, graph.KindNormApply, 5)
		}},
		{passes.Always("recompute", func(g *graph.Graph) { passes.Recompute(g, activations(g)) }), true,
			func(before, g *graph.Graph) error {
				// The backward pass reads two vectors of four floats of each of the five normalisations, and the probabilities.
				if saved := savedBytes(g); saved != 5*2*4*4+2*3*4 {
					return fmt.Errorf("%d bytes are saved", saved)
				}
				for _, op := range g.Ops {
					for _, v := range op.Results {
						o := v.Recomputes
						if o != nil && (op.Phase != graph.PhaseBackward || o.Name+" again" != v.Name || !o.Shape.Equal(v.Shape)) {
							return fmt.Errorf("%s of the %s pass recomputes %s", v, op.Phase, o)
						}
					}
				}
				// Once more: five convolutions, five normalisations, the pool, which the linear layer reads, and the detached input.
				recomputed := len(g.Values) - len(before.Values)
				if recomputed != 12 {
					return fmt.Errorf("%d values are recomputed, want 12", recomputed)
				}
				return counts(g, graph.KindNormStats, 5, graph.KindConv, 10, graph.KindNormApply, 10, graph.KindAdaptiveAveragePool, 2)
			}},
		{passes.Always("mark-saved", passes.MarkSaved), true, func(_, g *graph.Graph) error {
			for _, op := range g.Ops {
				for _, v := range op.Operands {
					if v != nil && op.Phase == graph.PhaseBackward && v.Category == graph.CategoryActivation {
						return fmt.Errorf("%s is read by the backward pass", v)
					}
				}
			}
			return nil
		}},
		{passes.Always("in-place", passes.InPlace), true, func(before, g *graph.Graph) error {
			shared := 0
			for _, v := range g.Values {
				if v.Shares != nil {
					shared++
				}
			}
			if shared == 0 {
				return errors.New("nothing is in place")
			}
			return nil
		}},
		{passes.Always("overlap", func(g *graph.Graph) { passes.Overlap(g, 2) }), true, func(_, g *graph.Graph) error {
			for _, op := range g.Ops {
				if want := int(min(op.Phase, 1)); op.Stream != want { // 0 for the forward pass
					return fmt.Errorf("%s at %s is in stream %d", op.Kind, op.Scope, op.Stream)
				}
			}
			return nil
		}},
	} {
		before, after := blocks(t, c.fused), blocks(t, c.fused)
		if err := passes.Apply(after, []passes.Pass{c.pass}, verify); err != nil {
			t.Error(err)
			continue
		}
		if fault := same(plain, outputs(t, after)); fault != "" {
			t.Errorf("%s: %s", c.pass.Name, fault)
		}
		if err := c.check(before, after); err != nil {
			t.Errorf("%s: %v", c.pass.Name, err)
		}
	}
}

// counts compares numbers of ops: pairs of a kind and how many there are to be.
func counts(g *graph.Graph, pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		if n := count(g, pairs[i].(graph.Kind)); n != pairs[i+1].(int) {
			return fmt.Errorf("%d ops %s, want %d", n, pairs[i], pairs[i+1])
		}
	}
	return nil
}

func verify(_ passes.Pass, g *graph.Graph) error { return g.Verify() }

// TestBrokenPassIsNamed plants passes that break the program. One that leaves an invalid program ends Apply with its name,
// before the next pass runs; one that leaves a valid program that computes something else is found by the comparison of
// results that TestPasses relies on.
func TestBrokenPassIsNamed(t *testing.T) {
	next := passes.Pass{Name: "next", Run: func(*graph.Graph) error { return errors.New("ran after a broken pass") }}
	for name, broken := range map[string]func(g *graph.Graph){
		"drops an op":           func(g *graph.Graph) { g.Ops = g.Ops[1:] },
		"swaps two ops":         func(g *graph.Graph) { g.Ops[1], g.Ops[2] = g.Ops[2], g.Ops[1] },
		"reads a foreign value": func(g *graph.Graph) { g.Ops[2].Operands[0] = &graph.Value{Shape: g.Ops[2].Operands[0].Shape} },
		"aliases what is read later": func(g *graph.Graph) {
			for _, op := range g.Ops {
				if op.Kind == graph.KindReLUBackward || op.Kind == graph.KindNormApply {
					op.Results[0].Shares = op.Operands[0] // the backward pass reads the operand
					return
				}
			}
		},
	} {
		err := passes.Apply(blocks(t, true), []passes.Pass{passes.Always("planted", broken), next}, verify)
		if err == nil || !strings.HasPrefix(err.Error(), "after pass planted: ") {
			t.Errorf("%s: got %v, want the name of the pass", name, err)
		}
	}
	g := blocks(t, true)
	swap := passes.Always("planted", func(g *graph.Graph) {
		for _, op := range g.Ops {
			if op.Kind == graph.KindNormApply {
				op.Operands[3], op.Operands[4] = op.Operands[4], op.Operands[3] // gamma and beta
			}
		}
	})
	if err := passes.Apply(g, []passes.Pass{swap}, verify); err != nil {
		t.Fatal(err)
	}
	if same(outputs(t, blocks(t, true)), outputs(t, g)) == "" {
		t.Error("gamma and beta change places, and the results are the same")
	}
	failed := errors.New("planted")
	err := passes.Apply(g, []passes.Pass{{Name: "fails", Run: func(*graph.Graph) error { return failed }}, next}, verify)
	if !errors.Is(err, failed) || !strings.HasPrefix(err.Error(), "pass fails: ") {
		t.Errorf("a pass that fails: %v", err)
	}
}

// TestInPlaceByHand: x -> ReLU a -> ReLU b -> sum of a and b. The first ReLU reads an input, which is not overwritten; the
// second can't have the storage of a, which the sum reads later; the sum can have that of either.
func TestInPlaceByHand(t *testing.T) {
	b := graph.NewBuilder(true)
	x := b.Input("x", graph.Shape{2, 4}, graph.TypeF32)
	first := b.ReLU(x)
	second := b.ReLU(first)
	sum := b.Add(first, second)
	b.Output(sum)
	b.Output(b.ReLU(sum)) // an output is not overwritten
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	passes.InPlace(g)
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
	for _, v := range g.Values {
		want := v == sum
		if (v.Shares != nil) != want {
			t.Errorf("%s in place: %v, want %v", v, v.Shares != nil, want)
		}
	}
}

// TestFuseActivations: a normalisation applies hardswish itself; GELU, and hardswish after a sum, stay ops of their own.
func TestFuseActivations(t *testing.T) {
	b := graph.NewBuilder(true)
	x := b.Input("x", graph.Shape{2, 5, 5, 4}, graph.TypeF32)
	b.In("a", func() { x = b.Activate(normalised(b, convolved(b, x, 4)), graph.ActivationHardswish) })
	b.In("b", func() { x = b.Activate(normalised(b, convolved(b, x, 4)), graph.ActivationGELU) })
	b.In("c", func() { x = b.Activate(b.Add(normalised(b, convolved(b, x, 4)), x), graph.ActivationHardswish) })
	b.Output(x)
	b.Rewrite(0, passes.FuseNorm)
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if err := counts(g, graph.KindActivate, 2, graph.KindAdd, 0, graph.KindNormApply, 3); err != nil {
		t.Error(err)
	}
	for _, op := range g.Ops {
		if op.Kind == graph.KindNormApply && (op.Attr.Activation == graph.ActivationHardswish) != (op.Scope == "step/a") {
			t.Errorf("%s applies %s", op.Scope, op.Attr.Activation)
		}
	}
	if err := g.Verify(); err != nil {
		t.Error(err)
	}
}

// TestDropDeadAndUnused: of three branches one leads to an output, one updates state, and one does neither.
func TestDropDeadAndUnused(t *testing.T) {
	b := graph.NewBuilder(true)
	x := b.Input("x", graph.Shape{2, 2, 2, 4}, graph.TypeF32)
	b.Output(b.ReLU(b.SiLU(x)))
	b.NormStats(x, b.Buffer("mean", graph.Shape{4}, graph.Weight{}), b.Buffer("variance", graph.Shape{4}, graph.Weight{}), 0.1)
	b.Add(x, b.AdaptiveAveragePool(x, 2, 2))
	b.Rewrite(0, func(ops []*graph.Op) []*graph.Op { return passes.DropDead(ops, b.Outputs()) })
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if err := counts(g, graph.KindSiLU, 1, graph.KindReLU, 1, graph.KindNormStats, 1, graph.KindAdd, 0,
		graph.KindAdaptiveAveragePool, 0); err != nil {
		t.Error(err)
	}
	passes.DropUnused(g)
	if err := g.Verify(); err != nil {
		t.Error(err)
	}
	if len(g.Values) != 7 { // x, two activations, mean and variance of the batch, two running ones
		t.Errorf("%d values are left, want 7: %v", len(g.Values), g.Values)
	}
}

// TestMixedByHand: linear, cross-entropy in bf16. Input and weight are cast before the layer, and the
// logits are cast back for the loss, which stays f32, as does the weight.
func TestMixedByHand(t *testing.T) {
	b := graph.NewBuilder(true)
	x, labels := b.Input("x", graph.Shape{4, 3}, graph.TypeF32), b.Input("labels", graph.Shape{4}, graph.TypeS32)
	weight := b.Parameter("weight", graph.Shape{2, 3}, graph.Weight{})
	logits := b.Linear(x, weight, nil)
	loss, _, _ := b.CrossEntropy(logits, labels)
	b.Output(loss)
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if err := passes.Mixed(g); err != nil {
		t.Fatal(err)
	}
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
	var kinds []graph.Kind
	for _, op := range g.Ops {
		kinds = append(kinds, op.Kind)
	}
	want := []graph.Kind{graph.KindCast, graph.KindCast, graph.KindLinear, graph.KindCast, graph.KindCrossEntropy}
	if !slices.Equal(kinds, want) {
		t.Errorf("got %v, want %v", kinds, want)
	}
	if weight.Type != graph.TypeF32 || loss.Type != graph.TypeF32 {
		t.Errorf("weight %s and loss %s, want f32", weight.Type, loss.Type)
	}
}

// TestLayerNormResults: the results of layer normalisations are recomputed, too.
func TestLayerNormResults(t *testing.T) {
	b := graph.NewBuilder(true)
	x := b.Input("x", graph.Shape{2, 5, 5, 4}, graph.TypeF32)
	var y *graph.Value
	b.InModule(0, graph.PhaseForward, func() {
		weight, bias := b.Parameter("weight", graph.Shape{4}, graph.Weight{}), b.Parameter("bias", graph.Shape{4}, graph.Weight{})
		y = b.LayerNorm(x, weight, bias, 1e-6)
		b.Output(b.Activate(y, graph.ActivationGELU))
	})
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if got := passes.NormResults(g, 3, nil); !slices.Equal(got, []*graph.Value{y}) {
		t.Errorf("got %v, want %v", got, y)
	}
}

// TestNormResults: of a chain of residual blocks every third result is saved, and none that is kept or that another module
// reads.
func TestNormResults(t *testing.T) {
	b := graph.NewBuilder(true)
	x := b.Input("x", graph.Shape{2, 5, 5, 3}, graph.TypeF32)
	var results []*graph.Value
	b.InModule(0, graph.PhaseForward, func() {
		b.In("stem", func() { x = b.ReLU(normalised(b, convolved(b, x, 3))) })
		results = append(results, x)
		for i := range 5 {
			b.In(fmt.Sprint("block", i), func() { x = b.ReLU(b.Add(normalised(b, convolved(b, x, 4)), x)) })
			results = append(results, x)
		}
	})
	b.InModule(1, graph.PhaseForward, func() { b.Output(b.SiLU(x)) })
	b.Rewrite(0, passes.FuseNorm)
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	index := func(dropped []*graph.Value) (at []int) {
		for _, v := range dropped {
			at = append(at, slices.Index(results, v))
		}
		return at
	}
	// Stem and first block, a saved one, two blocks again, and the last, which module 1 reads.
	if got := index(passes.NormResults(g, 3, nil)); !slices.Equal(got, []int{0, 1, 3, 4}) {
		t.Errorf("dropped %v", got)
	}
	if got := index(passes.NormResults(g, 3, map[*graph.Value]bool{results[0]: true})); !slices.Equal(got, []int{1, 2, 4}) {
		t.Errorf("with the stem kept: dropped %v", got)
	}
}

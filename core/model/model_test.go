package model_test

import (
	"math"
	"testing"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// parameters lists shape and start of the state that write makes, by name. x is [2 4 4 8].
func parameters(t *testing.T, training bool, write func(b *graph.Builder, x *graph.Value)) (
	*graph.Graph, map[string]*graph.Value,
) {
	t.Helper()
	b := graph.NewBuilder(training)
	write(b, b.Input("x", graph.Shape{2, 4, 4, 8}, graph.TypeF32))
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
	found := map[string]*graph.Value{}
	for _, v := range g.Values {
		if v.Category.Persistent() {
			found[v.Name] = v
		}
	}
	return g, found
}

// TestStarts compares shapes and initialisations with PyTorch's rules, computed by hand: He's normal(0, sqrt(2/(k*k*out))) for
// convolutions, and uniform(-1/sqrt(in), 1/sqrt(in)), in being the inputs of one output, for what PyTorch's defaults start.
func TestStarts(t *testing.T) {
	_, got := parameters(t, true, func(b *graph.Builder, x *graph.Value) {
		model.Conv(b, "plain", x, 32, 3, 2)
		model.GroupedConv(b, "grouped", x, 16, 3, 1, 4)
		model.GroupedConv(b, "depthwise", x, 8, 3, 1, 8)
		model.ConvWithBias(b, "biased", x, 2, 5, 1)
		model.ConvWithZeroBias(b, "zero", x, 2, 1, 1)
		model.Linear(b, "linear", x, 10)
		model.LinearWithoutBias(b, "headless", x, 10)
		model.LinearWith(b, "given", x, 10, graph.Weight{Init: graph.InitNormal, Scale: 0.01})
		model.Norm(b, "norm", x)
	})
	for name, want := range map[string]struct {
		shape graph.Shape
		init  graph.Init
		scale float64
	}{
		"plain.weight":      {graph.Shape{32, 3, 3, 8}, graph.InitNormal, math.Sqrt(2.0 / 288)},
		"grouped.weight":    {graph.Shape{16, 3, 3, 2}, graph.InitNormal, math.Sqrt(2.0 / 144)},
		"depthwise.weight":  {graph.Shape{8, 3, 3, 1}, graph.InitNormal, math.Sqrt(2.0 / 72)},
		"biased.weight":     {graph.Shape{2, 5, 5, 8}, graph.InitNormal, math.Sqrt(2.0 / 50)},
		"biased.bias":       {graph.Shape{2}, graph.InitUniform, 1 / math.Sqrt(200)},
		"zero.bias":         {graph.Shape{2}, graph.InitConstant, 0},
		"linear.weight":     {graph.Shape{10, 128}, graph.InitUniform, 1 / math.Sqrt(128)},
		"linear.bias":       {graph.Shape{10}, graph.InitUniform, 1 / math.Sqrt(128)},
		"headless.weight":   {graph.Shape{10, 128}, graph.InitUniform, 1 / math.Sqrt(128)},
		"given.weight":      {graph.Shape{10, 128}, graph.InitNormal, 0.01},
		"given.bias":        {graph.Shape{10}, graph.InitConstant, 0},
		"norm.weight":       {graph.Shape{8}, graph.InitConstant, 1},
		"norm.bias":         {graph.Shape{8}, graph.InitConstant, 0},
		"norm.running_mean": {graph.Shape{8}, graph.InitConstant, 0},
		"norm.running_var":  {graph.Shape{8}, graph.InitConstant, 1},
	} {
		v := got[name]
		if v == nil {
			t.Errorf("%s: not made", name)
			continue
		}
		if !v.Shape.Equal(want.shape) || v.Weight.Init != want.init || math.Abs(v.Weight.Scale-want.scale) > 1e-12 {
			t.Errorf("%s: shape %s, start %v %g; want %s, %v %g", name, v.Shape, v.Weight.Init, v.Weight.Scale, want.shape, want.init,
				want.scale)
		}
	}
	for _, name := range []string{"plain.bias", "headless.bias"} {
		if got[name] != nil {
			t.Errorf("%s was made", name)
		}
	}
	// A linear layer after a map reads [H W C], PyTorch's [C H W]: the file's order has to be known.
	if w := got["linear.weight"].Weight; w.Layout != graph.LayoutFlattened || w.Source != [3]int64{8, 4, 4} {
		t.Errorf("linear.weight: layout %v of %v, want flattened [8 4 4]", w.Layout, w.Source)
	}
}

// TestDefaultStart: all layers get PyTorch's default initialisation, whatever their network said; normalisations keep theirs.
func TestDefaultStart(t *testing.T) {
	g, got := parameters(t, true, func(b *graph.Builder, x *graph.Value) {
		model.ConvWithZeroBias(b, "conv", x, 2, 3, 1)
		model.LinearWith(b, "fc", x, 3, graph.Weight{Init: graph.InitNormal, Scale: 0.01})
		model.Norm(b, "norm", x)
	})
	model.DefaultStart(g.Values)
	for name, scale := range map[string]float64{"conv.weight": 1 / math.Sqrt(72), "conv.bias": 1 / math.Sqrt(72),
		"fc.weight": 1 / math.Sqrt(128), "fc.bias": 1 / math.Sqrt(128)} {
		if w := got[name].Weight; w.Init != graph.InitUniform || math.Abs(w.Scale-scale) > 1e-12 {
			t.Errorf("%s: starts as %v %g, want uniform %g", name, w.Init, w.Scale, scale)
		}
	}
	for name, scale := range map[string]float64{"norm.weight": 1, "norm.bias": 0, "norm.running_var": 1} {
		if w := got[name].Weight; w.Init != graph.InitConstant || w.Scale != scale {
			t.Errorf("%s: starts as %v %g, want constant %g", name, w.Init, w.Scale, scale)
		}
	}
}

// TestNormStatistics: a training program reads the statistics of the batch and updates the running ones, an evaluation reads
// the running ones.
func TestNormStatistics(t *testing.T) {
	for _, training := range []bool{true, false} {
		g, got := parameters(t, training, func(b *graph.Builder, x *graph.Value) { model.Norm(b, "norm", x) })
		apply := g.Ops[len(g.Ops)-1]
		if apply.Kind != graph.KindNormApply || len(g.Ops) != map[bool]int{true: 2, false: 1}[training] {
			t.Fatalf("training %v: %d ops, the last is %s", training, len(g.Ops), apply.Kind)
		}
		if running := apply.Operands[1] == got["norm.running_mean"]; running == training {
			t.Errorf("training %v: reads %s", training, apply.Operands[1])
		}
		if apply.Attr.Epsilon != 1e-5 { // PyTorch's default
			t.Errorf("epsilon %g, want 1e-5", apply.Attr.Epsilon)
		}
	}
}

// TestDropout is written only in a training step that has dropout enabled, and only for a rate above 0.
func TestDropout(t *testing.T) {
	for _, c := range []struct {
		training, enabled bool
		rate              float64
		want              int
	}{{true, true, 0.5, 2}, {true, true, 0, 0}, {true, false, 0.5, 0}, {false, true, 0.5, 0}} {
		g, _ := parameters(t, c.training, func(b *graph.Builder, x *graph.Value) {
			if c.enabled {
				b.EnableDropout()
			}
			b.Output(model.StochasticDepth(b, "branch", model.Dropout(b, "drop", x, c.rate), c.rate))
		})
		if len(g.Ops) != c.want {
			t.Errorf("%+v: %d ops", c, len(g.Ops))
		}
		if c.want > 0 && (g.Ops[0].Attr.Rows || !g.Ops[1].Attr.Rows) {
			t.Error("stochastic depth drops whole samples, dropout elements")
		}
	}
}

// TestErrorsStayInTheBuilder: after an error, of shapes that do not fit, a layer on the value that the builder then returns
// does not panic,
// and the first error is returned.
func TestErrorsStayInTheBuilder(t *testing.T) {
	b := graph.NewBuilder(true)
	x := b.Input("x", graph.Shape{2, 4}, graph.TypeF32)
	y := model.Conv(b, "conv", x, 8, 3, 1) // of a matrix
	model.PooledHead("fc", 10)(b, model.Norm(b, "norm", y))
	if _, err := b.Graph(); err == nil || err != b.Err() {
		t.Errorf("got error %v, the builder has %v", err, b.Err())
	}
}

// TestHeadLosses: a network's head is one term of weight 1, with the count of right answers.
func TestHeadLosses(t *testing.T) {
	n := model.Network{Head: model.PooledHead("fc", 3)}
	b := graph.NewBuilder(true)
	terms := n.HeadLosses(b, b.Input("x", graph.Shape{2, 4, 4, 8}, graph.TypeF32),
		model.Batch{Labels: b.Input("labels", graph.Shape{2}, graph.TypeS32)})
	if len(terms) != 1 || terms[0].Name != "classification" || terms[0].Weight != 1 || terms[0].Value == nil ||
		terms[0].Correct == nil || !terms[0].Probabilities.Shape.Equal(graph.Shape{2, 3}) || b.Err() != nil {
		t.Errorf("got %+v and error %v", terms, b.Err())
	}
}

// TestSmall: the shorter side decides.
func TestSmall(t *testing.T) {
	for _, c := range []struct {
		image graph.Shape
		want  bool
	}{
		{graph.Shape{32, 32, 3}, true}, {graph.Shape{96, 96, 3}, true}, {graph.Shape{127, 300, 3}, true},
		{graph.Shape{128, 128, 3}, false}, {graph.Shape{224, 224, 3}, false},
	} {
		if got := model.Small(c.image); got != c.want {
			t.Errorf("%s: %v", c.image, got)
		}
	}
}

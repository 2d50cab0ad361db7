package autodiff_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/autodiff"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/reference"
	"github.com/localbench/localbench/core/rng"
)

// program is a small network with its gradients, to be run by the reference in double precision.
type program struct {
	graph     *graph.Graph
	losses    []autodiff.Loss
	gradients map[*graph.Value]*graph.Value // by parameter
}

// write builds a network on x [2 6 6 3] and labels [2], and the gradients of what it returns. The values that reach body
// depend on a parameter, so that every op has to give the gradient of its input.
func write(t *testing.T, body func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss) program {
	t.Helper()
	b := graph.NewBuilder(true)
	b.EnableDropout()
	p := program{gradients: map[*graph.Value]*graph.Value{}}
	x, labels := b.Input("x", graph.Shape{2, 6, 6, 3}, graph.TypeF32), b.Input("labels", graph.Shape{2}, graph.TypeS32)
	b.InModule(0, graph.PhaseForward, func() {
		first := b.Parameter("first", graph.Shape{4, 1, 1, 3}, graph.Weight{})
		p.losses = body(b, b.Conv(x, first, nil, graph.ConvOptions{}), labels)
	})
	err := autodiff.Backward(b, b.Ops(), p.losses, func(parameter, gradient *graph.Value) {
		if p.gradients[parameter] != nil {
			t.Errorf("%s: handed out twice", parameter.Name)
		}
		p.gradients[parameter] = gradient
		b.Output(gradient)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range p.losses {
		b.Output(l.Value)
	}
	if p.graph, err = b.Graph(); err != nil {
		t.Fatal(err)
	}
	if err := p.graph.Verify(); err != nil {
		t.Fatal(err)
	}
	return p
}

// run runs the program from fixed random numbers, with one element of a parameter moved by delta.
func (p program) run(t *testing.T, moved *graph.Value, element int, delta float64) *reference.Machine {
	t.Helper()
	m := reference.New(p.graph)
	for _, v := range p.graph.Values {
		if !v.Category.Persistent() && v.Category != graph.CategoryInput {
			continue
		}
		x := make([]float64, v.Shape.Elements())
		stream := rng.Stream{Seed: 3, Purpose: rng.PurposeInit, Epoch: rng.NameKey(v.Name)}
		for i := range x {
			switch {
			case v.Name == "labels":
				x[i] = float64(i)
			case v.Type == graph.TypeU8:
				x[i] = float64(stream.Uint32(uint64(i)) % 256)
			case v.Type == graph.TypeS32: // the dropout stream: seed, seed, step
				x[i] = float64(7 + i)
			default:
				x[i] = 0.5 * stream.Normal(uint64(i))
			}
		}
		if v == moved {
			x[element] += delta
		}
		m.Set(v, x)
	}
	if err := m.Run(0, len(p.graph.Ops)); err != nil {
		t.Fatal(err)
	}
	return m
}

// loss is the weighted sum of the losses.
func (p program) loss(m *reference.Machine) (sum float64) {
	for _, l := range p.losses {
		sum += l.Weight * m.Get(l.Value)[0]
	}
	return sum
}

// faults compares each gradient, element by element, with central differences of the loss.
func (p program) faults(t *testing.T) (found []string) {
	t.Helper()
	const h = 1e-5 // the error of the difference is about h*h, and its rounding error 1e-16/h
	plain := p.run(t, nil, 0, 0)
	for _, v := range p.graph.Values {
		if v.Category != graph.CategoryParameter {
			continue
		}
		gradient := p.gradients[v]
		for i := range int(v.Shape.Elements()) {
			want := (p.loss(p.run(t, v, i, h)) - p.loss(p.run(t, v, i, -h))) / (2 * h)
			got := 0.0
			if gradient != nil {
				got = plain.Get(gradient)[i]
			}
			if math.Abs(got-want) > 1e-7+1e-6*math.Abs(want) {
				found = append(found, fmt.Sprintf("%s[%d]: gradient %g, want %g", v.Name, i, got, want))
			}
		}
	}
	return found
}

// classified ends a network in a linear layer and the cross-entropy of three classes.
func classified(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
	weight := b.Parameter("fc", graph.Shape{3, x.Shape.Elements() / x.Shape[0]}, graph.Weight{})
	loss, _, _ := b.CrossEntropy(b.Linear(x, weight, b.Parameter("fcbias", graph.Shape{3}, graph.Weight{})), labels)
	return []autodiff.Loss{{Value: loss, Weight: 1}}
}

// norm is batch normalisation with the statistics of the batch.
func norm(b *graph.Builder, x *graph.Value) *graph.Value {
	c := graph.Shape{x.Shape[3]}
	mean, variance := b.NormStats(x, b.Buffer("mean", c, graph.Weight{}), b.Buffer("variance", c, graph.Weight{}), 0.1)
	return b.NormApply(x, mean, variance, b.Parameter("gamma", c, graph.Weight{}), b.Parameter("beta", c, graph.Weight{}), 1e-5)
}

// layers are networks with every kind of op that has a gradient rule, by name.
var layers = map[string]func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss{
	"conv": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		w, bias := b.Parameter("w", graph.Shape{6, 3, 3, 2}, graph.Weight{}), b.Parameter("bias", graph.Shape{6}, graph.Weight{})
		return classified(b, b.Conv(x, w, bias, graph.ConvOptions{Stride: 2, Padding: 1, Groups: 2}), labels)
	},
	"norm_apply": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, norm(b, x), labels)
	},
	"relu": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, b.ReLU(x), labels)
	},
	"relu6": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, b.ReLU6(x), labels)
	},
	"silu": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, b.SiLU(x), labels)
	},
	"add of two branches": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, b.Add(b.SiLU(x), x), labels)
	},
	"add of a value to itself": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, b.Add(x, x), labels)
	},
	"max_pool": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		y, _ := b.MaxPool(x, graph.PoolOptions{Kernel: [2]int64{3, 3}, Stride: [2]int64{2, 2}, Padding: [2]int64{1, 1}})
		return classified(b, y, labels)
	},
	"average_pool": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, b.AveragePool(x, graph.PoolOptions{Kernel: [2]int64{2, 2}}), labels)
	},
	"adaptive_average_pool": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, b.AdaptiveAveragePool(x, 4, 2), labels)
	},
	"gate": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, b.Gate(x, b.AdaptiveAveragePool(x, 1, 1), graph.ActivationSigmoid), labels)
	},
	"dropout": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, b.Dropout(x, b.DropoutStream(), graph.DropoutOptions{Rate: 0.4}), labels)
	},
	"concat of three, one of them twice": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		y := b.SiLU(x)
		return classified(b, b.SiLU(b.Concat(3, x, y, x)), labels)
	},
	"concat along the height, with a sum": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		y := b.SiLU(x)
		return classified(b, b.SiLU(b.Concat(1, b.Add(x, y), x, y)), labels)
	},
	"slices that overlap": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		y := b.Add(b.Slice(x, 3, 0, 3, nil), b.SiLU(b.Slice(x, 3, 1, 3, nil)))
		return classified(b, b.Concat(3, y, b.SiLU(x)), labels)
	},
	"permute": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, b.SiLU(b.Permute(x, [4]int64{2, 36, 2, 2}, [4]int64{0, 3, 1, 2}, graph.Shape{2, 2, 36, 2})), labels)
	},
	"reshape": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, b.Slice(b.Reshape(b.SiLU(x), graph.Shape{2, 144}), 1, 5, 100, nil), labels)
	},
	"upsample": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, b.Upsample(x, 8, 9), labels)
	},
	"deviation": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return classified(b, b.Deviation(x), labels)
	},
	"binary_cross_entropy": func(b *graph.Builder, x, _ *graph.Value) []autodiff.Loss {
		w := b.Parameter("w", graph.Shape{3, 1, 1, 4}, graph.Weight{})
		images := b.Input("images", graph.Shape{2, 6, 6, 3}, graph.TypeU8)
		return []autodiff.Loss{{Value: b.BinaryCrossEntropy(b.Conv(x, w, nil, graph.ConvOptions{}), images), Weight: 1}}
	},
	"similarity": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		return []autodiff.Loss{{Value: b.Similarity(b.Deviation(x), labels, 3), Weight: 1}}
	},
	"contrast": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		loss, _ := b.Contrast(b.Deviation(x), labels, 0.5)
		return []autodiff.Loss{{Value: loss, Weight: 1}}
	},
	"a parameter of two ops": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		w := b.Parameter("w", graph.Shape{4, 3, 3, 4}, graph.Weight{})
		o := graph.ConvOptions{Padding: 1}
		return classified(b, b.Conv(b.SiLU(b.Conv(x, w, nil, o)), w, nil, o), labels)
	},
	"two losses, one of them twice": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		losses := classified(b, x, labels)
		losses[0].Weight = 0.25
		other := b.Similarity(b.Deviation(x), labels, 3)
		return append(losses, autodiff.Loss{Value: other, Weight: 2}, autodiff.Loss{Value: losses[0].Value, Weight: 1.5})
	},
	"an op that leads to no loss": func(b *graph.Builder, x, labels *graph.Value) []autodiff.Loss {
		b.SiLU(x) // leads to no loss
		return classified(b, b.ReLU(x), labels)
	},
}

// TestGradients compares the gradients of every rule with finite differences.
func TestGradients(t *testing.T) {
	for name, body := range layers {
		t.Run(name, func(t *testing.T) {
			for _, fault := range write(t, body).faults(t) {
				t.Error(fault)
			}
		})
	}
}

// TestGradientFaultsAreFound plants faults in correct gradients: each makes the comparison fail.
func TestGradientFaultsAreFound(t *testing.T) {
	for name, spoil := range map[string]func(p program){
		"the loss has twice its weight": func(p program) {
			for _, op := range p.graph.Ops {
				if op.Kind == graph.KindCrossEntropyBackward {
					op.Attr.Scale *= 2
				}
			}
		},
		"a branch's gradient is not added": func(p program) {
			for _, op := range p.graph.Ops {
				if op.Kind == graph.KindAdd && op.Phase == graph.PhaseBackward {
					op.Operands[1] = op.Operands[0]
				}
			}
		},
		"a gradient goes to another parameter": func(p program) {
			for v := range p.gradients {
				if v.Name == "first" {
					delete(p.gradients, v)
				}
			}
		},
	} {
		p := write(t, layers["add of two branches"])
		spoil(p)
		if len(p.faults(t)) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}

// TestBackwardByHand writes the backward pass of linear, SiLU, linear, cross-entropy. The gradient of a weight comes before
// that of the layer's input, a parameter is handed out right after its gradient, and the input x gets no gradient.
func TestBackwardByHand(t *testing.T) {
	b := graph.NewBuilder(true)
	x, labels := b.Input("x", graph.Shape{4, 3}, graph.TypeF32), b.Input("labels", graph.Shape{4}, graph.TypeS32)
	first, last := b.Parameter("first", graph.Shape{5, 3}, graph.Weight{}), b.Parameter("last", graph.Shape{2, 5}, graph.Weight{})
	loss, _, _ := b.CrossEntropy(b.Linear(b.SiLU(b.Linear(x, first, nil)), last, nil), labels)
	forward := len(b.Ops())
	var handed []string
	err := autodiff.Backward(b, b.Ops(), []autodiff.Loss{{Value: loss, Weight: 1}}, func(p, g *graph.Value) {
		handed = append(handed, fmt.Sprintf("%s at %d", p.Name, len(b.Ops())-forward))
		if !g.Shape.Equal(p.Shape) {
			t.Errorf("%s: gradient of shape %s", p, g.Shape)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []graph.Kind
	for _, op := range b.Ops()[forward:] {
		kinds = append(kinds, op.Kind)
	}
	want := []graph.Kind{graph.KindCrossEntropyBackward, graph.KindLinearBackwardWeights, graph.KindLinearBackwardData,
		graph.KindSiLUBackward, graph.KindLinearBackwardWeights}
	if !slices.Equal(kinds, want) {
		t.Errorf("got %v, want %v", kinds, want)
	}
	// After the layer's backward ops: 3 for the last layer, 5 for the first.
	if want := []string{"last at 3", "first at 5"}; !slices.Equal(handed, want) {
		t.Errorf("handed out %v, want %v", handed, want)
	}
}

// TestNoGradient: what lies before a detach, before the ops that are differentiated, or on no path to a loss gets no
// gradient, and none of its backward ops are written.
func TestNoGradient(t *testing.T) {
	b := graph.NewBuilder(true)
	x, labels := b.Input("x", graph.Shape{4, 3}, graph.TypeF32), b.Input("labels", graph.Shape{4}, graph.TypeS32)
	layer := func(name string, x *graph.Value) *graph.Value {
		return b.Linear(x, b.Parameter(name, graph.Shape{3, 3}, graph.Weight{}), nil)
	}
	x = layer("before", x)
	from := len(b.Ops())
	x = layer("detached", x)
	x = b.Detach(x)
	layer("unused", x)
	loss, _, _ := b.CrossEntropy(layer("trained", x), labels)
	var handed []string
	err := autodiff.Backward(b, b.Ops()[from:], []autodiff.Loss{{Value: loss, Weight: 1}}, func(p, _ *graph.Value) {
		handed = append(handed, p.Name)
	})
	if err != nil || !slices.Equal(handed, []string{"trained"}) {
		t.Errorf("got gradients of %v and error %v, want of trained only", handed, err)
	}
}

// TestGradientWithoutRule names the kind and the scope of an op that a gradient reaches and can't pass.
func TestGradientWithoutRule(t *testing.T) {
	b := graph.NewBuilder(true)
	x, labels := b.Input("x", graph.Shape{4, 3}, graph.TypeF32), b.Input("labels", graph.Shape{4}, graph.TypeS32)
	var loss *graph.Value
	b.InModule(0, graph.PhaseForward, func() {
		x = b.Linear(x, b.Parameter("first", graph.Shape{3, 3}, graph.Weight{}), nil)
		b.In("narrow", func() { x = b.Cast(b.Cast(x, graph.TypeBF16), graph.TypeF32) })
		loss, _, _ = b.CrossEntropy(x, labels)
	})
	err := autodiff.Backward(b, b.Ops(), []autodiff.Loss{{Value: loss, Weight: 1}}, func(_, _ *graph.Value) {})
	if err == nil || !strings.Contains(err.Error(), "cast at module0/narrow") {
		t.Errorf("got %v, want the kind and the scope of the op", err)
	}
}

package optest

import (
	"fmt"
	"math"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// Machine runs a program in float64; core/reference is one.
type Machine interface {
	Set(v *graph.Value, content []float64)
	Get(v *graph.Value) []float64
	Run(first, last int) error
}

// GradientCase is a function with its gradient, written by the backward
// builders of core/graph.
type GradientCase struct {
	Name  string // a sentence; unique
	build func(p *program) derivative
}

// derivative is a program of a function and its gradients. The function is
//
//	f = sum of result * (sum of the incoming gradients)
//
// or, without an incoming gradient, scale * result with a result of one element.
type derivative struct {
	forward   int // the number of ops that make result
	result    *graph.Value
	incoming  []*graph.Value
	scale     float64
	gradients []gradientOf
}

// gradientOf says that gradient is the derivative of f by variable.
type gradientOf struct{ variable, gradient *graph.Value }

// Gradients returns the cases. They cover every backward kind.
func Gradients() []GradientCase {
	var out []GradientCase
	for _, s := range smallConvolutions {
		out = append(out, GradientCase{"conv: " + s.name, s.derivative})
	}
	for _, s := range products()[1:] {
		if graph.Shape(s.x).Elements() < 400 {
			out = append(out, GradientCase{"linear: " + s.name, s.derivative})
		}
	}
	for _, s := range rowLayers()[1:] {
		if graph.Shape(s.x).Elements() < 400 {
			out = append(out, GradientCase{"linear of rows: " + s.name, s.derivative})
		}
	}
	for _, shape := range []graph.Shape{{2, 3, 5, 3}, {6, 10}, {1, 4, 3, 17}} {
		for _, s := range normVariants(shape, 0.01) {
			out = append(out, GradientCase{"norm: " + s.String(), s.derivative})
		}
	}
	return slices.Concat(out, poolGradients(), otherGradients(), similarityGradients(), gateGradients(), dropoutGradients(),
		shapeGradients(), layerNormGradients(), prologueGradients(), combinedGradients())
}

// smallConvolutions are shapes small enough to perturb every element.
var smallConvolutions = []convolution{
	{"3 channels, 3x3, bias", 2, 5, 4, 3, 5, 3, 3, 1, 1, 1, true, 1},
	{"7x7 with stride 2, padding 3", 1, 6, 9, 2, 3, 7, 7, 2, 3, 1, false, 1},
	{"1x1 with stride 2", 3, 5, 6, 4, 3, 1, 1, 2, 0, 1, false, 1},
	{"3x3 with stride 3, bias", 1, 8, 7, 3, 2, 3, 3, 3, 0, 1, true, 1},
	{"5x3 with padding 1", 1, 6, 5, 2, 3, 5, 3, 1, 1, 1, false, 1},
	{"1x1 with padding, bias", 2, 3, 2, 3, 4, 1, 1, 1, 1, 1, true, 1},
	{"two groups", 2, 4, 5, 6, 4, 3, 3, 1, 1, 2, false, 1},
	{"depthwise with stride 2, bias", 3, 5, 4, 5, 5, 3, 3, 2, 1, 5, true, 1},
	{"depthwise, two results a channel", 1, 4, 4, 3, 6, 3, 3, 1, 1, 3, false, 1},
	{"3x3 with dilation 2, bias", 2, 6, 5, 3, 4, 3, 3, 1, 2, 1, true, 2},
	{"depthwise with dilation 2 and stride 2", 1, 7, 8, 4, 4, 3, 3, 2, 2, 4, false, 2},
}

func (s convolution) derivative(p *program) derivative {
	y := s.forward(p)
	op := p.last()
	x, weight, bias := op.Operands[0], op.Operands[1], op.Operands[2]
	d := derivative{forward: len(p.Ops()), result: y}
	dy := d.comesIn(p, "dy")
	dw, db := p.ConvBackwardWeights(op, dy)
	d.add(x, p.ConvBackwardData(op, dy))
	d.add(weight, dw)
	d.add(bias, db)
	return d
}

func (s product) derivative(p *program) derivative {
	x, weight, bias := s.operands(p)
	d := derivative{result: s.linear(p, x, weight, bias)}
	op := p.last()
	d.forward = len(p.Ops())
	dy := d.comesIn(p, "dy")
	dw, db := p.LinearBackwardWeights(op, dy)
	d.add(x, p.LinearBackwardData(op, dy))
	d.add(weight, dw)
	d.add(bias, db)
	return d
}

// derivative writes norm_stats, norm_apply and norm_backward: the function goes
// through the statistics of the batch. Away from the kink: a normalised x is
// about 0.6 to 1.5 in magnitude, times gamma more than 0.3, plus beta; the
// residual is larger than all of that. For a ReLU6 the betas are at
// its bound, or half of the residuals are beyond it.
func (s normalisation) derivative(p *program) derivative {
	x, gamma, beta := s.variables(p)
	mean, variance := p.NormStats(x, nil, nil, 0.1)
	d := derivative{result: p.NormApply(x, mean, variance, gamma, beta, s.epsilon)}
	apply := p.last()
	apply.Attr.Activation = s.activation
	if s.residual {
		residuals := away(4, 5)
		if s.activation == graph.ActivationReLU6 {
			residuals = apart(3, 3.5, 9, 10)
		}
		apply.Operands[5] = p.input("residual", residuals, s.shape...)
	}
	d.forward = len(p.Ops())
	dy := d.comesIn(p, "dy")
	gradients := p.NormBackward(apply, dy)
	if s.second {
		p.last().Operands[graph.NormBackwardSecondGradient] = d.comesIn(p, "dy2")
	}
	d.add(x, gradients.X)
	d.add(gamma, gradients.Gamma)
	d.add(beta, gradients.Beta)
	switch {
	case gradients.Residual != nil:
		d.add(apply.Operands[5], gradients.Residual)
	case s.residual && !s.second: // documented: then it is the incoming gradient itself
		d.add(apply.Operands[5], dy)
	}
	return d
}

// variables declares the variables of derivative.
func (s normalisation) variables(p *program) (x, gamma, beta *graph.Value) {
	c := s.shape[len(s.shape)-1]
	betas := uniform(-0.1, 0.1)
	if s.activation == graph.ActivationReLU6 && !s.residual {
		betas = uniform(5.9, 6.1)
	}
	x = p.input("x", balanced(c, 0.8, 1.6), s.shape...)
	return x, p.weight("gamma", away(0.75, 1.25), c), p.weight("beta", betas, c)
}

func poolGradients() []GradientCase {
	var out []GradientCase
	for _, s := range poolings() {
		if s.c = min(s.c, 3); s.n*s.h*s.w*s.c > 1000 {
			continue
		}
		counted := s
		counted.options.CountPadding = true
		out = append(out,
			GradientCase{"max pool: " + s.name, func(p *program) derivative {
				x := p.input("x", distinct(0), s.n, s.h, s.w, s.c)
				y, _ := p.MaxPool(x, s.options)
				return pooled(p, x, y, p.MaxPoolBackward)
			}},
			GradientCase{"average pool: " + s.name, s.averageDerivative},
			GradientCase{"average pool, padding counted: " + s.name, counted.averageDerivative})
	}
	for _, to := range [][2]int64{{1, 1}, {3, 2}, {7, 6}, {8, 4}} {
		out = append(out, GradientCase{fmt.Sprintf("adaptive average pool: 7x5 to %dx%d", to[0], to[1]), func(p *program) derivative {
			x := p.input("x", normal(0, 1), 2, 7, 5, 3)
			return pooled(p, x, p.AdaptiveAveragePool(x, to[0], to[1]), p.AveragePoolBackward)
		}})
	}
	return out
}

func (s pooling) averageDerivative(p *program) derivative {
	x := p.input("x", normal(0, 1), s.n, s.h, s.w, s.c)
	return pooled(p, x, p.AveragePool(x, s.options), p.AveragePoolBackward)
}

// pooled writes the gradient of the pooling op written last.
func pooled(p *program, x, y *graph.Value, backward func(*graph.Op, *graph.Value) *graph.Value) derivative {
	op := p.last()
	d := derivative{forward: len(p.Ops()), result: y}
	d.add(x, backward(op, d.comesIn(p, "dy")))
	return d
}

// unary is a function of each element, with its backward builder.
type unary struct {
	name     string
	x        fill
	forward  func(p *program, x *graph.Value) *graph.Value
	backward func(p *program, op *graph.Op, dy *graph.Value) *graph.Value
}

func activation(name string, x fill, a graph.Activation) unary {
	return unary{name, x, func(p *program, x *graph.Value) *graph.Value { return p.Activate(x, a) },
		func(p *program, op *graph.Op, dy *graph.Value) *graph.Value { return p.ActivateBackward(op, dy) }}
}

func otherGradients() []GradientCase {
	var out []GradientCase
	for _, a := range []unary{
		{"relu", away(0.1, 2), func(p *program, x *graph.Value) *graph.Value { return p.ReLU(x) },
			func(p *program, op *graph.Op, dy *graph.Value) *graph.Value { return p.ReLUBackward(op, dy) }},
		{"relu, at most 6", apart(0.1, 2, 7, 8), func(p *program, x *graph.Value) *graph.Value { return p.ReLU6(x) },
			func(p *program, op *graph.Op, dy *graph.Value) *graph.Value { return p.ReLUBackward(op, dy) }},
		activation("hardswish", apart(0.1, 2.8, 3.2, 6), graph.ActivationHardswish),
		activation("hardsigmoid", apart(0.1, 2.8, 3.2, 6), graph.ActivationHardsigmoid),
		activation("sigmoid", normal(0, 3), graph.ActivationSigmoid),
		activation("gelu", normal(0, 2), graph.ActivationGELU),
		activation("gelu, by the tangent", normal(0, 2), graph.ActivationGELUTanh),
		{"silu", normal(0, 3), func(p *program, x *graph.Value) *graph.Value { return p.SiLU(x) },
			func(p *program, op *graph.Op, dy *graph.Value) *graph.Value { return p.SiLUBackward(op, dy) }},
	} {
		out = append(out, GradientCase{a.name, func(p *program) derivative {
			x := p.input("x", a.x, 3, 5, 7)
			d := derivative{result: a.forward(p, x)}
			op := p.last()
			d.forward = len(p.Ops())
			d.add(x, a.backward(p, op, d.comesIn(p, "dy")))
			return d
		}})
	}
	for _, scale := range []float64{1, 0.3} {
		out = append(out, GradientCase{fmt.Sprintf("cross entropy, scale %g", scale), func(p *program) derivative {
			logits := p.input("logits", normal(0, 2), 7, 10)
			labels := p.typed("labels", graph.TypeS32, whole(10), 7)
			loss, _, _ := p.CrossEntropy(logits, labels)
			op := p.last()
			d := derivative{forward: len(p.Ops()), result: loss, scale: scale}
			d.add(logits, p.CrossEntropyBackward(op, scale))
			return d
		}})
	}
	return out
}

// comesIn declares an incoming gradient of the result.
func (d *derivative) comesIn(p *program, name string) *graph.Value {
	dy := p.input(name, normal(0, 1), d.result.Shape...)
	d.incoming = append(d.incoming, dy)
	return dy
}

// add records a gradient; an absent variable has no gradient.
func (d *derivative) add(variable, gradient *graph.Value) {
	if variable != nil {
		d.gradients = append(d.gradients, gradientOf{variable, gradient})
	}
}

// Graph builds the program: the function, then its gradients. The result and
// the gradients are its outputs.
func (c GradientCase) Graph() (*graph.Graph, error) {
	_, _, g, err := c.program()
	return g, err
}

func (c GradientCase) program() (*program, derivative, *graph.Graph, error) {
	p := newProgram()
	d := c.build(p)
	g, err := p.Graph()
	if err == nil {
		p.Output(d.result)
		for _, pair := range d.gradients {
			p.Output(pair.gradient)
		}
		err = g.Verify()
	}
	if err != nil {
		return nil, d, nil, fmt.Errorf("optest: %s: %w", c.Name, err)
	}
	return p, d, g, nil
}

// The step and the tolerance of CheckGradient. Central differences err by about
// step^2 = 1e-10 of the third derivative, which is of order one here, and by
// rounding, 1e-16/step = 1e-11. The tolerance leaves four decades.
const (
	differenceStep      = 1e-5
	differenceTolerance = 1e-6
)

// CheckGradient runs c on a machine and compares every gradient with central
// differences of the function, element by element, relative to the largest
// element of that gradient. The first gradient that is wrong is the error.
func CheckGradient(c GradientCase, open func(*graph.Graph) Machine, seed uint64) error {
	p, d, g, err := c.program()
	if err != nil {
		return err
	}
	m := open(g)
	contents := p.values(g, seed)
	for v, content := range contents {
		m.Set(v, content)
	}
	if err := m.Run(0, len(g.Ops)); err != nil {
		return fmt.Errorf("optest: %s: %w", c.Name, err)
	}
	for _, pair := range d.gradients {
		got := append([]float64(nil), m.Get(pair.gradient)...)
		want, err := d.differences(m, pair.variable, contents)
		if err != nil {
			return fmt.Errorf("optest: %s: %w", c.Name, err)
		}
		if err := agree(got, want); err != nil {
			return fmt.Errorf("optest: %s: gradient by %s: %w", c.Name, pair.variable.Name, err)
		}
	}
	return nil
}

// differences returns the central differences of f by every element of
// variable.
func (d derivative) differences(m Machine, variable *graph.Value, contents map[*graph.Value][]float64) ([]float64, error) {
	moved := append([]float64(nil), contents[variable]...)
	out := make([]float64, len(moved))
	defer m.Set(variable, contents[variable])
	at := func(i int, x float64) ([]float64, error) {
		moved[i] = x
		m.Set(variable, moved)
		err := m.Run(0, d.forward)
		return append([]float64(nil), m.Get(d.result)...), err
	}
	for i := range moved {
		x := moved[i]
		above, err := at(i, x+differenceStep)
		if err != nil {
			return nil, err
		}
		below, err := at(i, x-differenceStep)
		if err != nil {
			return nil, err
		}
		moved[i] = x
		for k := range above {
			out[i] += d.weight(contents, k) * (above[k] - below[k]) / (2 * differenceStep)
		}
	}
	return out, nil
}

// weight is the derivative of f by element k of the result.
func (d derivative) weight(contents map[*graph.Value][]float64, k int) float64 {
	sum := d.scale
	for _, v := range d.incoming {
		sum += contents[v][k]
	}
	return sum
}

// agree compares a gradient with its differences.
func agree(got, want []float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d elements: must be %d", len(got), len(want))
	}
	largest := 0.0
	for _, w := range want {
		largest = max(largest, math.Abs(w))
	}
	if !(largest > differenceStep) { // else the comparison could not fail
		return fmt.Errorf("the function hardly depends on it: largest difference %g", largest)
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= differenceTolerance*largest) {
			return fmt.Errorf("element %d: got %.9g, differences give %.9g (largest %.3g)", i, got[i], want[i], largest)
		}
	}
	return nil
}

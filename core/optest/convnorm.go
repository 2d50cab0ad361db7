package optest

import (
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// combined is the backward pass of a convolution that a normalisation follows.
type combined struct {
	convolution
	activation graph.Activation
	residual   bool              // gradients: a residual is added after the normalisation
	input      *graph.Activation // of the input that the convolution normalises; nil if it does not
	sums       bool              // with norm_backward_sums of the input
}

func (s combined) String() string {
	name := fmt.Sprintf("%s, normalised result, %s", s.name, s.activation)
	if s.input != nil {
		name += fmt.Sprintf(", normalised input, %s", *s.input)
	}
	if s.sums {
		name += ", its sums"
	}
	if s.residual {
		name += ", residual"
	}
	return name
}

// combinedShapes are those of the convolutions on which conv_norm_backward is tested, without their biases, besides some of
// its own.
var combinedShapes = []string{
	"one element", "3 channels, 7x7 with stride 2", "3 channels to 10, 5x5, bias", "16 channels, 3x3",
	"16 channels, 3x3, a whole image", "16 channels, 3x3, bias, images of another height than a tile",
	"32 channels, 3x3, many small images", "16 to 32 channels, 3x3", "32 to 16 channels, 3x3, rows of one", "64 channels, 3x3",
	"17 to 33 channels, 1x1", "1x1 with stride 2, odd sides", "32 to 64 channels, stride 2, odd sides", "two groups",
	"depthwise, 10 channels, stride 2", "3x3, dilation 2, padding 2", "16 to 32 channels, stride 2, even sides",
}

func combinations() (out []combined) {
	shapes := slices.DeleteFunc(slices.Clone(convolutions),
		func(s convolution) bool { return !slices.Contains(combinedShapes, s.name) })
	shapes = append(shapes,
		convolution{"32 channels, 3x3, sides of a tile and one", 2, 17, 17, 32, 32, 3, 3, 1, 1, 1, false, 1},
		convolution{"32 to 16 channels, 3x3, wide", 3, 9, 33, 32, 16, 3, 3, 1, 1, 1, false, 1},
		convolution{"16 channels, 3x3, rows of one, narrow", 41, 1, 5, 16, 16, 3, 3, 1, 1, 1, false, 1})
	others := []graph.Activation{graph.ActivationSiLU, graph.ActivationHardswish}
	for i, s := range shapes {
		s.bias = false
		for _, a := range []graph.Activation{graph.ActivationNone, graph.ActivationReLU, graph.ActivationReLU6, others[i%2]} {
			out = append(out, combined{convolution: s, activation: a})
		}
		// Each activation of the input in turn, with one after the convolution that our own kernels apply.
		input := graph.Activation(i) % (graph.ActivationHardswish + 1)
		out = append(out, combined{convolution: s, activation: graph.ActivationReLU, input: new(graph.ActivationReLU)},
			combined{convolution: s, activation: graph.ActivationReLU, input: new(graph.ActivationReLU), sums: true},
			combined{convolution: s, activation: graph.ActivationReLU6 * graph.Activation(i%2), input: &input, sums: i%4 > 1})
	}
	return out
}

// combinedCases are conv_norm_backward on those shapes, and norm_backward_sums on shapes and variants of norm_backward.
func combinedCases() []Case {
	out := casesOfCombinations(combinations())
	for i, shape := range normShapes {
		for _, s := range append(normVariants(shape, usualEpsilon),
			normalisation{shape: shape, activation: graph.ActivationReLU, epsilon: 0.1}) {
			if s.activation == graph.ActivationNone && s.residual {
				continue // the same as without
			}
			c := Case{Name: s.String(), Kind: graph.KindNormBackwardSums, build: s.sums}
			if i%3 == 2 {
				out = append(out, c.inPlace()...)
			} else {
				out = append(out, c)
			}
		}
	}
	return out
}

func casesOfCombinations(list []combined) (out []Case) {
	for _, s := range list {
		out = append(out, Case{Name: s.String(), Kind: graph.KindConvNormBackward, build: s.build})
	}
	return out
}

// build writes conv_norm_backward of a convolution that is not in the program. With |y| in the ranges of
// normalisation.operands, a scale in 0.75..1.25 and a shift of at most 0.1 the masks are well away from their kinks.
func (s combined) build(p *program) {
	conv := s.conv(p)
	magnitudes := away(0.6, 2)
	switch s.activation {
	case graph.ActivationReLU6:
		magnitudes = apart(0.6, 2, 11, 14)
	case graph.ActivationHardswish:
		magnitudes = apart(0.6, 1.4, 6, 8)
	}
	dy := p.input("dy", normal(0, 1), s.result()...)
	conv.Results = []*graph.Value{p.input("y", magnitudes, s.result()...)}
	coefficients := p.input("coefficients", rows(away(0.75, 1.25), uniform(-0.1, 0.1), away(0.1, 0.5), uniform(-0.5, 0.5),
		uniform(-0.3, 0.3)), graph.Coefficients, s.o)
	dx, _ := p.ConvNormBackward(conv, dy, coefficients, s.activation)
	if s.sums {
		p.inputSums(dx)
	}
}

// inputSums has the last op, a conv_norm_backward, give what norm_backward_sums gives of its input, as the pass does.
func (p *program) inputSums(dx *graph.Value) graph.NormSums {
	conv := p.last()
	input, _ := conv.Kind.NormInput()
	apply := &graph.Op{Kind: graph.KindNormApply, Operands: append([]*graph.Value{conv.Operands[0]}, conv.Operands[input:]...),
		Results: []*graph.Value{nil}, Attr: graph.Attributes{Activation: conv.Attr.Activation, Epsilon: conv.Attr.Epsilon}}
	apply.Operands = append(apply.Operands, nil) // no residual
	sums := p.NormBackwardSums(apply, dx)
	conv.Attr.InputSums, conv.Results = true, append(conv.Results, p.last().Results...)
	p.Rewrite(0, func(ops []*graph.Op) []*graph.Op { return ops[:len(ops)-1] })
	return sums
}

// conv is the convolution, without its result.
func (s combined) conv(p *program) *graph.Op {
	if s.input == nil {
		return s.made(p)
	}
	in := prologue{s.convolution, *s.input}
	return in.made(in.operands(p))
}

// sums writes norm_backward_sums as backward writes norm_backward.
func (s normalisation) sums(p *program) {
	apply, dy, second := s.incoming(p)
	p.NormBackwardSums(apply, dy)
	p.last().Operands[graph.NormBackwardSecondGradient] = second
}

// derivative writes conv, norm_stats, norm_apply and their backward ops: the function goes through the statistics of the batch.
func (s combined) derivative(p *program) derivative {
	x, weight, _ := s.operands(p)
	y := p.Conv(x, weight, nil, s.options())
	conv := p.last()
	d, sums := s.normalised(p, y)
	dy, activation := d.incoming[0], s.activation
	if sums.Residual != nil {
		dy, activation = sums.Residual, graph.ActivationNone
	}
	dx, dweight := p.ConvNormBackward(conv, dy, sums.Coefficients, activation)
	d.add(x, dx)
	d.add(weight, dweight)
	return d
}

// normalised writes norm_stats, norm_apply and norm_backward_sums of y.
func (s combined) normalised(p *program, y *graph.Value) (derivative, graph.NormSums) {
	mean, variance := p.NormStats(y, nil, nil, 0.1)
	gamma, beta := p.weight("gamma after", away(0.75, 1.25), s.o), p.weight("beta after", uniform(-0.1, 0.1), s.o)
	d := derivative{result: p.NormApply(y, mean, variance, gamma, beta, 0.01)}
	apply := p.last()
	apply.Attr.Activation = s.activation
	if s.residual {
		apply.Operands[5] = p.input("residual", apart(3, 3.5, 9, 10), s.result()...)
	}
	d.forward = len(p.Ops())
	sums := p.NormBackwardSums(apply, d.comesIn(p, "dy"))
	d.add(gamma, sums.Gamma)
	d.add(beta, sums.Beta)
	if s.residual {
		d.add(apply.Operands[5], sums.Residual)
	}
	return d, sums
}

// throughInput writes norm_stats of the input, a convolution that normalises it, norm_stats and norm_apply of the result, and
// their backward ops.
func (s combined) throughInput(p *program) derivative {
	of := prologue{s.convolution, *s.input}
	norm := of.norm()
	norm.epsilon = 0.01
	x, gamma, beta := norm.variables(p)
	mean, variance := p.NormStats(x, nil, nil, 0.1)
	weight, _ := s.parameters(p)
	y := p.Conv(x, weight, nil, s.options())
	made, conv := of.made([]*graph.Value{x, weight, nil, mean, variance, gamma, beta}), p.last()
	copy(conv.Operands, made.Operands)
	conv.Attr = made.Attr
	conv.Attr.Epsilon = norm.epsilon
	d, sums := s.normalised(p, y)
	dx, dweight := p.ConvNormBackward(conv, d.incoming[0], sums.Coefficients, s.activation)
	ofInput := p.inputSums(dx)
	apply := &graph.Op{Kind: graph.KindNormApply, Operands: []*graph.Value{x, mean, variance, gamma, beta, nil},
		Results: []*graph.Value{nil}, Attr: graph.Attributes{Activation: *s.input, Epsilon: norm.epsilon}}
	gradients := p.NormBackward(apply, dx)
	d.add(weight, dweight)
	d.add(x, gradients.X)
	d.add(gamma, ofInput.Gamma)
	d.add(beta, ofInput.Beta)
	return d
}

// combinedGradients are small convolutions with each activation, and with a residual.
func combinedGradients() (out []GradientCase) {
	for i, of := range smallConvolutions {
		of.bias = false
		s := combined{convolution: of, activation: graph.Activation(i) % (graph.ActivationHardswish + 1)}
		list := []combined{s}
		if s.activation.Rectifies() {
			s.residual = true
			list = append(list, s)
		}
		for _, s := range list {
			out = append(out, GradientCase{"conv: " + s.String(), s.derivative})
		}
		if of.r > 1 || of.padding > 0 { // else the statistics of the result remove what beta adds to the input
			both := combined{convolution: of, activation: s.activation, input: new(graph.ActivationReLU)}
			out = append(out, GradientCase{"conv: " + both.String(), both.throughInput})
		}
	}
	return out
}

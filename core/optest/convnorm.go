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
	residual   bool // gradients: a residual is added after the normalisation
}

func (s combined) String() string {
	name := fmt.Sprintf("%s, normalised result, %s", s.name, s.activation)
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
	conv := s.made(p)
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
	p.ConvNormBackward(conv, dy, coefficients, s.activation)
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
	mean, variance := p.NormStats(y, nil, nil, 0.1)
	gamma, beta := p.weight("gamma", away(0.75, 1.25), s.o), p.weight("beta", uniform(-0.1, 0.1), s.o)
	d := derivative{result: p.NormApply(y, mean, variance, gamma, beta, 0.01)}
	apply := p.last()
	apply.Attr.Activation = s.activation
	if s.residual {
		apply.Operands[5] = p.input("residual", apart(3, 3.5, 9, 10), s.result()...)
	}
	d.forward = len(p.Ops())
	dy := d.comesIn(p, "dy")
	sums, activation := p.NormBackwardSums(apply, dy), s.activation
	if sums.Residual != nil {
		dy, activation = sums.Residual, graph.ActivationNone
	}
	dx, dweight := p.ConvNormBackward(conv, dy, sums.Coefficients, activation)
	d.add(x, dx)
	d.add(weight, dweight)
	d.add(gamma, sums.Gamma)
	d.add(beta, sums.Beta)
	if s.residual {
		d.add(apply.Operands[5], sums.Residual)
	}
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
	}
	return out
}

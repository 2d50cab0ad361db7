package optest

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
)

// normalisation is the shape and the variant of norm_apply and norm_backward.
type normalisation struct {
	shape      graph.Shape
	activation graph.Activation
	residual   bool
	second     bool // backward: with dy2
	epsilon    float64
	estimated  bool // apply: running statistics instead of the batch's
}

// normShapes are rank 4 and rank 2, from two values for each channel to many.
var normShapes = []graph.Shape{
	{2, 1, 1, 3}, {2, 10}, {2, 9, 7, 3}, {1, 5, 3, 10}, {5, 4, 4, 16}, {3, 6, 5, 17}, {3, 8, 7, 64}, {7, 33}, {129, 64},
	{8, 32, 32, 16}, {3, 5, 4, 12}, {70, 128}, {5, 7, 3, 32},
}

func (s normalisation) String() string {
	name := s.shape.String()
	for _, part := range []struct {
		there bool
		name  string
	}{
		{s.residual, "residual"}, {s.activation == graph.ActivationReLU, "rectified"},
		{s.activation == graph.ActivationReLU6, "at most 6"},
		{s.activation == graph.ActivationSiLU, "SiLU"}, {s.activation == graph.ActivationHardswish, "hardswish"},
		{s.second, "second gradient"},
		{s.estimated, "running statistics"}, {s.epsilon != usualEpsilon, fmt.Sprintf("epsilon %g", s.epsilon)},
	} {
		if part.there {
			name += ", " + part.name
		}
	}
	return name
}

const usualEpsilon = 1e-5

func normCases() []Case {
	var out []Case
	for i, shape := range normShapes {
		out = append(out, normStatsCases(shape)...)
		variants := append(normVariants(shape, usualEpsilon), normalisation{shape: shape, estimated: true, epsilon: usualEpsilon},
			normalisation{shape: shape, activation: graph.ActivationReLU, epsilon: 0.1})
		for _, s := range variants {
			var both []Case
			if !s.second {
				both = append(both, Case{Name: s.String(), Kind: graph.KindNormApply, build: s.apply})
			}
			// Without an activation the backward pass does not depend on a residual.
			if !s.estimated && (s.activation != graph.ActivationNone || !s.residual) {
				both = append(both, Case{Name: s.String(), Kind: graph.KindNormBackward, build: s.backward})
			}
			for _, c := range both {
				if i%3 == 2 { // some shapes are enough for the many in-place variants
					out = append(out, c.inPlace()...)
				} else {
					out = append(out, c)
				}
			}
		}
	}
	return out
}

// normVariants are the valid combinations of activations, a residual and a second gradient.
func normVariants(shape graph.Shape, epsilon float64) (out []normalisation) {
	for a := graph.ActivationNone; a.Fuses(); a++ {
		for v := range 4 {
			if residual := v&1 != 0; a == graph.ActivationNone || a.Rectifies() || !residual {
				out = append(out, normalisation{shape: shape, activation: a, residual: residual, second: v&2 != 0, epsilon: epsilon})
			}
		}
	}
	return out
}

func normStatsCases(shape graph.Shape) []Case {
	channels := shape[len(shape)-1]
	x := func(p *program) *graph.Value {
		return p.input("x", channelwise(channels, normal(0.5, 1)), shape...)
	}
	return []Case{
		{Name: shape.String(), Kind: graph.KindNormStats, build: func(p *program) {
			p.NormStats(x(p), nil, nil, 0.1)
		}},
		{Name: shape.String() + ", running statistics", Kind: graph.KindNormStats, build: func(p *program) {
			mean := p.buffer("running_mean", normal(0, 1), channels)
			variance := p.buffer("running_variance", uniform(0.5, 2), channels)
			p.NormStats(x(p), mean, variance, 0.1)
		}},
	}
}

// apply writes norm_apply with residual and activation as the fusion pass does.
func (s normalisation) apply(p *program) {
	x, mean, variance, gamma, beta := s.operands(p)
	p.NormApply(x, mean, variance, gamma, beta, s.epsilon)
	op := p.last()
	op.Attr.Activation = s.activation
	if s.residual {
		op.Operands[5] = p.input("residual", normal(0, 1), s.shape...)
	}
}

// backward writes norm_backward of an apply that is not in the program. The
// mask is well away from its kink: see operands.
func (s normalisation) backward(p *program) {
	apply, dy, second := s.incoming(p)
	p.NormBackward(apply, dy)
	p.last().Operands[graph.NormBackwardSecondGradient] = second
}

// incoming declares what backward reads; second is nil if there is no second gradient.
func (s normalisation) incoming(p *program) (apply *graph.Op, dy, second *graph.Value) {
	x, mean, variance, gamma, beta := s.operands(p)
	apply = &graph.Op{
		Kind:     graph.KindNormApply,
		Operands: []*graph.Value{x, mean, variance, gamma, beta, nil},
		Results:  []*graph.Value{nil},
		Attr:     graph.Attributes{Activation: s.activation, Epsilon: s.epsilon},
	}
	if s.residual {
		apply.Operands[5] = x // any value: only its presence matters
		z := rectified(0.1, 2)
		if s.activation == graph.ActivationReLU6 {
			z = clipped()
		}
		apply.Results[0] = p.input("z", z, s.shape...)
	}
	dy = p.input("dy", normal(0, 1), s.shape...)
	if s.second {
		second = p.input("dy2", normal(0, 1), s.shape...)
	}
	return apply, dy, second
}

// operands declares x, its statistics, gamma and beta such that
//
//	|gamma * (x - mean) / sqrt(variance + epsilon) + beta| > 0.75*(0.6-0.2)/sqrt(1.5+0.1) - 0.1 = 0.13
//
// or, of half of the elements of a ReLU6, more than 0.75*(11-0.2)/sqrt(1.5+0.1) - 0.1 = 6.3, while that
// of the others is less than 1.25*(2+0.2)/sqrt(0.5) + 0.1 = 4; of a hardswish more than 0.75*(6-0.2)/sqrt(1.5+0.1) - 0.1 = 3.3
// and less than 1.25*(1.4+0.2)/sqrt(0.5) + 0.1 = 2.95. The statistics are not those of x: an op
// takes what it is given.
func (s normalisation) operands(p *program) (x, mean, variance, gamma, beta *graph.Value) {
	c := s.shape[len(s.shape)-1]
	magnitudes := away(0.6, 2)
	switch s.activation {
	case graph.ActivationReLU6:
		magnitudes = apart(0.6, 2, 11, 14)
	case graph.ActivationHardswish:
		magnitudes = apart(0.6, 1.4, 6, 8)
	}
	x = p.input("x", magnitudes, s.shape...)
	if s.estimated {
		mean, variance = p.buffer("mean", normal(0, 1), c), p.buffer("variance", uniform(0.5, 1.5), c)
	} else {
		mean, variance = p.input("mean", uniform(-0.2, 0.2), c), p.input("variance", uniform(0.5, 1.5), c)
	}
	return x, mean, variance, p.weight("gamma", away(0.75, 1.25), c), p.weight("beta", uniform(-0.1, 0.1), c)
}

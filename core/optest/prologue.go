package optest

import (
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// prologue is a convolution that normalises its input.
type prologue struct {
	convolution
	activation graph.Activation
}

func (s prologue) String() string {
	return fmt.Sprintf("%s, normalised input, %s", s.name, s.activation)
}

// prologueShapes are those of the convolutions on which the prologue is tested, besides some of their own.
var prologueShapes = []string{
	"one element", "3 channels, 7x7 with stride 2", "3 channels to 10, 5x5, bias", "16 channels, 3x3",
	"16 channels, 3x3, bias, images of another height than a tile", "32 channels, 3x3, many small images",
	"16 to 32 channels, 3x3", "32 to 16 channels, 3x3, rows of one", "17 to 33 channels, 1x1",
	"1x1 with padding: the border is the bias", "1x1 with stride 2, odd sides", "a kernel larger than the input",
	"four groups of 3 channels in and 5 out, bias", "depthwise, 32 channels, 5x5, bias", "3x3, dilation 2, padding 2",
}

func prologues() (out []prologue) {
	shapes := slices.DeleteFunc(slices.Clone(convolutions),
		func(s convolution) bool { return !slices.Contains(prologueShapes, s.name) })
	shapes = append(shapes,
		convolution{"32 to 64 channels, 3x3, odd sides", 3, 9, 7, 32, 64, 3, 3, 1, 1, 1, false, 1},
		convolution{"64 to 48 channels, 3x3", 2, 12, 10, 64, 48, 3, 3, 1, 1, 1, false, 1})
	for i, s := range shapes {
		out = append(out, prologue{s, graph.ActivationReLU}, prologue{s, graph.ActivationReLU6})
		// The other activations in turn.
		others := []graph.Activation{graph.ActivationNone, graph.ActivationSiLU, graph.ActivationHardswish}
		out = append(out, prologue{s, others[i%len(others)]})
	}
	return out
}

// FewTiles are gradients of the weights of many channels from a few tiles of 4x4 elements, with and without a normalised input.
// For these the tolerance of the table, which knows the number of terms only, is too small for Winograd's algorithm: Cases
// does not have them.
func FewTiles() []Case {
	shape := convolution{"128 channels, 3x3, two tiles", 2, 4, 4, 128, 128, 3, 3, 1, 1, 1, false, 1}
	list := []prologue{{shape, graph.ActivationReLU6}, {shape, graph.ActivationReLU}}
	all := append(casesOfPrologues(list), convolutionCases([]convolution{shape})...)
	return slices.DeleteFunc(all, func(c Case) bool { return c.Kind != graph.KindConvBackwardWeights })
}

// ManyChannels are convolutions in bf16 whose filters do not stay in a cache, on images of few elements. Cases does not have them
// for the same reason.
func ManyChannels() []Case {
	return narrowed(convolutionCases([]convolution{
		{"512 to 48 channels, 3x3, bias, narrow images", 16, 2, 1, 512, 48, 3, 3, 1, 1, 1, true, 1},
	}))
}

func prologueCases() []Case { return casesOfPrologues(prologues()) }

func casesOfPrologues(list []prologue) (out []Case) {
	for _, s := range list {
		out = append(out,
			Case{Name: s.String(), Kind: graph.KindConv, build: func(p *program) { s.forward(p) }},
			Case{Name: s.String(), Kind: graph.KindConvBackwardWeights, build: func(p *program) {
				conv := s.made(s.operands(p))
				p.ConvBackwardWeights(conv, p.input("dy", normal(0, 1), s.result()...))
			}})
	}
	return out
}

// norm is the normalisation of the input.
func (s prologue) norm() normalisation {
	return normalisation{shape: graph.Shape{s.n, s.h, s.w, s.c}, activation: s.activation, epsilon: usualEpsilon}
}

// operands declares the operands of the convolution: x, weight, bias, mean, variance, gamma and beta. No element of the
// normalised x is near a kink of the activation.
func (s prologue) operands(p *program) []*graph.Value {
	x, mean, variance, gamma, beta := s.norm().operands(p)
	weight, bias := s.parameters(p)
	return []*graph.Value{x, weight, bias, mean, variance, gamma, beta}
}

// forward writes the convolution as the pass does.
func (s prologue) forward(p *program) {
	in := s.operands(p)
	p.Conv(in[0], in[1], in[2], s.options())
	made, op := s.made(in), p.last()
	op.Attr = made.Attr
	copy(op.Operands, made.Operands)
}

// made returns the convolution without writing it to the program.
func (s prologue) made(operands []*graph.Value) *graph.Op {
	op := s.op(operands...)
	op.Attr.Activation, op.Attr.Epsilon = s.activation, s.norm().epsilon
	return op
}

// derivative writes norm_stats, the convolution and its backward ops: the function goes through the statistics of the batch.
func (s prologue) derivative(p *program) derivative {
	of := s.norm()
	of.epsilon = 0.01
	x, gamma, beta := of.variables(p)
	mean, variance := p.NormStats(x, nil, nil, 0.1)
	weight, bias := s.parameters(p)
	d := derivative{result: p.Conv(x, weight, bias, s.options())}
	made, conv := s.made([]*graph.Value{x, weight, bias, mean, variance, gamma, beta}), p.last()
	copy(conv.Operands, made.Operands)
	conv.Attr = made.Attr
	conv.Attr.Epsilon = of.epsilon
	d.forward = len(p.Ops())
	dy := d.comesIn(p, "dy")
	dw, db := p.ConvBackwardWeights(conv, dy)
	apply := &graph.Op{Kind: graph.KindNormApply, Operands: []*graph.Value{x, mean, variance, gamma, beta, nil},
		Results: []*graph.Value{nil}, Attr: graph.Attributes{Activation: s.activation, Epsilon: of.epsilon}}
	gradients := p.NormBackward(apply, p.ConvBackwardData(conv, dy))
	d.add(weight, dw)
	d.add(bias, db)
	d.add(x, gradients.X)
	d.add(gamma, gradients.Gamma)
	d.add(beta, gradients.Beta)
	return d
}

// prologueGradients are small convolutions with each activation.
func prologueGradients() (out []GradientCase) {
	for i, s := range smallConvolutions {
		s := prologue{s, graph.Activation(i) % (graph.ActivationHardswish + 1)}
		out = append(out, GradientCase{"conv: " + s.String(), s.derivative})
	}
	return out
}

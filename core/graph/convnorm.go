package graph

import (
	"cmp"
	"errors"
	"fmt"
)

// The backward pass of a convolution that a normalisation follows, y = conv(x), is two ops in place of norm_backward,
// conv_backward_data and conv_backward_weights, so that the gradient of y need not exist (passes.FuseNormGradient):
//
//	norm_backward_sums  dgamma, dbeta, coefficients [, dresidual] from dy [+ dy2]
//	conv_norm_backward  dx, dweight from x, y, dy, or dresidual where there is one, and the coefficients
//
// With the rows of the coefficients [5 C] named scale, shift, slope, offset and mean, conv_norm_backward computes the two
// gradients of the convolution from
//
//	scale * g + (slope * (y - mean) + offset),  g = dy times the derivative of the activation at scale * y + shift
//
// rounded to the type of y as norm_backward stores it. With h = (y - mean) / sqrt(variance + epsilon) and n the elements of a
// channel they are
//
//	scale = gamma / sqrt(variance + epsilon)       slope  = -scale / sqrt(variance + epsilon) * dgamma / n
//	shift = beta - mean * scale                    offset = -scale * dbeta / n
//
// and so do not depend on whether gamma and beta have been updated since. mean is a row to avoid cancellation. The activation
// is the attribute Following: as every convolution, conv_norm_backward may also normalise its input x, and dx is then the
// gradient with respect to the normalised and activated input. With the attribute InputSums it then also gives dgamma, dbeta and
// coefficients of that normalisation: a kernel that adds while it stores dx spares norm_backward_sums a reading of it.

// Rows of the coefficients.
const (
	CoefficientScale = iota
	CoefficientShift
	CoefficientSlope
	CoefficientOffset
	CoefficientMean
	Coefficients // their number
)

// Roles of norm_backward_sums and conv_norm_backward that passes need to know.
const (
	NormSumsCoefficients = 2 // result of norm_backward_sums
	NormSumsResidual     = 3 // result of norm_backward_sums, where there is the operand z
)

// NormSums are the results of NormBackwardSums.
type NormSums struct {
	Gamma, Beta  *Value // their gradients
	Coefficients *Value // [5 C], f32
	Residual     *Value // nil if apply has no residual or no activation
}

// NormBackwardSums adds the sums of the gradient of apply, a norm_apply: what NormBackward computes but for the gradient of x.
func (b *Builder) NormBackwardSums(apply *Op, dy *Value) NormSums {
	in := apply.Operands
	var z *Value
	if in[5] != nil && apply.Attr.Activation != ActivationNone {
		z = apply.Results[0]
	}
	a := Attributes{Epsilon: apply.Attr.Epsilon, Activation: apply.Attr.Activation}
	r := b.add(KindNormBackwardSums, a, dy, in[0], in[1], in[2], in[3], in[4], z, nil)
	out := NormSums{Gamma: r[0], Beta: r[1], Coefficients: r[2]}
	if z != nil {
		out.Residual = r[3]
	}
	return out
}

// ConvNormBackward adds the gradients with respect to the input and the weight of conv, whose result the normalisation read. dy
// is the gradient with respect to the result of the activation, or NormSums.Residual with ActivationNone as the activation. It
// normalises the input as conv does.
func (b *Builder) ConvNormBackward(conv *Op, dy, coefficients *Value, activation Activation) (dx, dweight *Value) {
	a := conv.Attr
	a.Following, a.Momentum = activation, 0
	norm := make([]*Value, 4)
	if conv.NormalisesInput() {
		first, _ := conv.Kind.NormInput()
		copy(norm, conv.Operands[first:])
	}
	r := b.add(KindConvNormBackward, a, conv.Operands[0], conv.Operands[1], dy, conv.Results[0], coefficients,
		norm[0], norm[1], norm[2], norm[3])
	return r[0], r[1]
}

func normBackwardSumsShape(op *Op) ([]resultType, error) {
	types, err := normBackwardShape(op)
	if err != nil {
		return nil, err
	}
	return append(normSums(types[1].shape[0]), types[3:]...), nil
}

// normSums are the results dgamma, dbeta and coefficients of c channels.
func normSums(c int64) []resultType {
	return []resultType{{"dgamma", Shape{c}, TypeF32, CategoryGradient}, {"dbeta", Shape{c}, TypeF32, CategoryGradient},
		{"coefficients", Shape{Coefficients, c}, TypeF32, CategoryGradient}}
}

func convNormRule() rule {
	return rule{operands: []string{"x", "weight", "dy", "y", "coefficients", "mean?", "variance?", "gamma?", "beta?"},
		results: convNormBackwardShape,
		flops:   func(op *Op) int64 { return 2 * convFLOPs(op.Operands[2].Shape, op.Operands[1].Shape) }}
}

func convNormBackwardShape(op *Op) ([]resultType, error) {
	x, w, dy, y, coefficients := op.Operands[0], op.Operands[1], op.Operands[2], op.Operands[3], op.Operands[4]
	if err := wantRank(4, x, w, dy, y); err != nil {
		return nil, err
	}
	forward, err := forwardShape(op.Attr, x, w)
	if err != nil {
		return nil, err
	}
	if !op.Attr.Following.Fuses() {
		return nil, fmt.Errorf("activation %s after the convolution: must be none to %s", op.Attr.Following, ActivationHardswish)
	}
	out := []resultType{{"dx", x.Shape, x.Type, CategoryGradient}, {"dweight", w.Shape, x.Type, CategoryGradient}}
	if op.Attr.InputSums {
		if !op.NormalisesInput() {
			return nil, errors.New("sums of the input's normalisation: the input is not normalised")
		}
		out = append(out, normSums(x.Shape[3])...)
	}
	return out,
		cmp.Or(wantShape(forward[0].shape, dy, y), wantShape(Shape{Coefficients, y.Shape[3]}, coefficients), checkNormInput(op))
}

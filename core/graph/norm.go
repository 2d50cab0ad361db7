package graph

import (
	"cmp"
	"fmt"
)

// Batch normalisation over N, H and W, by channel. It is three ops, so that the
// normalised tensor can be recomputed in the backward pass without a second
// update of the running statistics, and so that inference uses the same kernel:
//
//	norm_stats     mean[c], variance[c] (biased) of x; updates the running statistics
//	norm_apply     y = gamma * (x - mean) / sqrt(variance + epsilon) + beta [+ residual], followed by an activation
//	norm_backward  dx, dgamma, dbeta [, dresidual] from dy [+ dy2]
//
// norm_backward_sums is norm_backward without dx, which a convolution computes while it reads (convnorm.go).
//
// x is [N H W C] or [N C]. residual, z and the gradients dx and dresidual have the shape and
// the element type of x; every other operand is [C] and f32. Where g, the gradient with respect
// to the input of the activation, is a result (dresidual), the other gradients are computed from
// its stored, rounded elements.

// NormStats adds the batch statistics of x and updates the running ones:
// running = (1-momentum)*running + momentum*batch, with the unbiased variance.
// Both running operands may be nil: then nothing is updated.
func (b *Builder) NormStats(x, runningMean, runningVariance *Value, momentum float64) (mean, variance *Value) {
	r := b.add(KindNormStats, Attributes{Momentum: momentum}, x, runningMean, runningVariance)
	return r[0], r[1]
}

// NormApply adds the normalisation of x with the given statistics.
func (b *Builder) NormApply(x, mean, variance, gamma, beta *Value, epsilon float64) *Value {
	return b.first(KindNormApply, Attributes{Epsilon: epsilon}, x, mean, variance, gamma, beta, nil)
}

// NormGradients are the results of NormBackward.
type NormGradients struct {
	X, Gamma, Beta *Value
	Residual       *Value // nil if apply has no residual or no activation: then it is the incoming gradient itself
}

// NormBackward adds the gradient of apply and of the batch statistics it used.
// The derivative of the activation is computed from x where there is no residual,
// and from the result, if the activation rectifies, where there is one: so a plain
// normalisation does not keep its result alive.
func (b *Builder) NormBackward(apply *Op, dy *Value) NormGradients {
	in := apply.Operands
	x, mean, variance, gamma, beta, residual := in[0], in[1], in[2], in[3], in[4], in[5]
	var z *Value
	if residual != nil && apply.Attr.Activation != ActivationNone {
		z = apply.Results[0]
	}
	a := Attributes{Epsilon: apply.Attr.Epsilon, Activation: apply.Attr.Activation}
	r := b.add(KindNormBackward, a, dy, x, mean, variance, gamma, beta, z, nil)
	out := NormGradients{X: r[0], Gamma: r[1], Beta: r[2]}
	if z != nil {
		out.Residual = r[3]
	}
	return out
}

// Roles of norm_backward that passes need to know.
const (
	NormBackwardGradient       = 0 // operand dy
	NormBackwardResult         = 6 // operand z
	NormBackwardSecondGradient = 7 // operand dy2, added to dy
)

func normRule(k Kind) rule {
	switch k {
	case KindNormStats:
		return rule{operands: []string{"x", "running_mean?", "running_variance?"},
			results: normStatsShape, mutates: []int{1, 2}}
	case KindNormApply:
		return rule{operands: []string{"x", "mean", "variance", "gamma", "beta", "residual?"},
			results: normApplyShape, inPlace: []Pair{{0, 0}, {0, 5}}}
	case KindNormBackwardSums:
		return rule{operands: []string{"dy", "x", "mean", "variance", "gamma", "beta", "z?", "dy2?"},
			results: normBackwardSumsShape, inPlace: []Pair{{3, 0}, {3, 7}}}
	default:
		// Both gradients may alias their operands: the second pass reads
		// element i of all operands before it writes element i of a result.
		return rule{operands: []string{"dy", "x", "mean", "variance", "gamma", "beta", "z?", "dy2?"},
			results: normBackwardShape, inPlace: []Pair{{3, 0}, {0, 1}, {3, 7}, {0, 0}, {0, 7}}}
	}
}

func channels(x *Value) (int64, error) {
	if len(x.Shape) != 4 && len(x.Shape) != 2 {
		return 0, fmt.Errorf("shape %s: must be [N H W C] or [N C]", x.Shape)
	}
	return x.Shape[len(x.Shape)-1], nil
}

func wantVectors(c int64, values ...*Value) error {
	for _, v := range values {
		if v != nil && !v.Shape.Equal(Shape{c}) {
			return fmt.Errorf("%s has shape %s: must have one element for each of %d channels", v.Name, v.Shape, c)
		}
	}
	return nil
}

func wantShape(s Shape, values ...*Value) error {
	for _, v := range values {
		if v != nil && !v.Shape.Equal(s) {
			return fmt.Errorf("%s has shape %s: must be %s", v.Name, v.Shape, s)
		}
	}
	return nil
}

// OneValueError says that batch statistics would be over a single value for each channel: the
// variance would be zero.
type OneValueError struct{ Input Shape }

func (e *OneValueError) Error() string {
	return fmt.Sprintf("input %s has 1 value for each channel: batch statistics need at least 2", e.Input)
}

// Hint says how to get more values.
func (e *OneValueError) Hint() string {
	return "use a --batch of 2 or more whose last batch has more than one sample"
}

func normStatsShape(op *Op) ([]resultType, error) {
	c, err := channels(op.Operands[0])
	if err != nil {
		return nil, err
	}
	if op.Operands[0].Shape.Elements() == c {
		return nil, &OneValueError{op.Operands[0].Shape}
	}
	if (op.Operands[1] == nil) != (op.Operands[2] == nil) {
		return nil, fmt.Errorf("one running statistic is missing: pass both or neither")
	}
	return []resultType{
		{"mean", Shape{c}, TypeF32, CategoryActivation},
		{"variance", Shape{c}, TypeF32, CategoryActivation},
	}, wantVectors(c, op.Operands[1:]...)
}

func normApplyShape(op *Op) ([]resultType, error) {
	x := op.Operands[0]
	c, err := channels(x)
	if err != nil {
		return nil, err
	}
	if err := wantVectors(c, op.Operands[1:5]...); err != nil {
		return nil, err
	}
	return []resultType{{"y", x.Shape, x.Type, CategoryActivation}},
		cmp.Or(wantShape(x.Shape, op.Operands[5]), op.wantActivation(op.Operands[5]))
}

// wantActivation checks the activation: after a residual its derivative must follow from the result.
func (op *Op) wantActivation(residual *Value) error {
	a := op.Attr.Activation
	if !a.Fuses() || residual != nil && a != ActivationNone && !a.Rectifies() {
		return fmt.Errorf("activation %s: must be none to %s, and after a residual none or one that rectifies", a, ActivationHardswish)
	}
	return nil
}

func normBackwardShape(op *Op) ([]resultType, error) {
	dy, x, z, dy2 := op.Operands[0], op.Operands[1], op.Operands[6], op.Operands[7]
	c, err := channels(x)
	if err != nil {
		return nil, err
	}
	if err := wantVectors(c, op.Operands[2:6]...); err != nil {
		return nil, err
	}
	if err := cmp.Or(wantShape(x.Shape, dy, z, dy2), op.wantActivation(z)); err != nil {
		return nil, err
	}
	out := []resultType{
		{"dx", x.Shape, x.Type, CategoryGradient},
		{"dgamma", Shape{c}, TypeF32, CategoryGradient},
		{"dbeta", Shape{c}, TypeF32, CategoryGradient},
	}
	if z != nil {
		out = append(out, resultType{"dresidual", x.Shape, x.Type, CategoryGradient})
	}
	return out, nil
}

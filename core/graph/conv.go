package graph

import (
	"fmt"
	"math"
)

// Convolution, two-dimensional, any kernel, stride, padding, dilation and number of
// groups:
//
//	y[n,p,q,o] = bias[o] + sum over r,s,i of x[n, p*stride-pad+r*dilation, q*stride-pad+s*dilation, i] * w[o,r,s,i]
//
// x is [N H W C], w is [O R S C/groups], y is [N P Q O].
//
// A convolution, and its backward op for weights, may normalise its input: with the operands mean, variance, gamma and beta
// [C] it computes the same of
//
//	activation(gamma * (x - mean) / sqrt(variance + epsilon) + beta)
//
// in place of x, rounded to the type of x as norm_apply stores it. The padding stays zero. passes.FuseNormInput writes such
// ops: the normalised tensor then need not exist.
//
// A convolution may also compute the statistics of its result as norm_stats does, of the elements that it stores: with the
// operands running_mean and running_variance [O], which it updates, it has the results mean and variance [O].
// passes.FuseNormStatistics writes such ops: a kernel that adds while it stores spares a read of y.

// ConvOptions are the constants of a convolution. The zero value is stride 1,
// no padding, one group.
type ConvOptions struct {
	Stride  int64 // both directions; 0 means 1
	Padding int64 // zeros on every side
	Groups  int64 // 0 means 1; C and O must be multiples
	// Dilation is the distance, in both directions, of the elements of x that neighbouring taps of the kernel read; 0 means 1.
	Dilation int64
}

// Conv adds a convolution of x [N H W C] with weight [O R S C/groups] and an
// optional bias [O] (nil for none). The result is [N P Q O].
func (b *Builder) Conv(x, weight, bias *Value, o ConvOptions) *Value {
	o.Stride, o.Groups = max(o.Stride, 1), max(o.Groups, 1)
	a := Attributes{
		Stride:  [2]int64{o.Stride, o.Stride},
		Padding: [2]int64{o.Padding, o.Padding},
		Groups:  o.Groups,
	}
	if o.Dilation != 0 && o.Dilation != 1 {
		a.Dilation = [2]int64{o.Dilation, o.Dilation}
	}
	return b.first(KindConv, a, x, weight, bias, nil, nil, nil, nil, nil, nil)
}

// NormInput returns the index of the first of the four operands (mean, variance, gamma, beta) with which a kind normalises
// its first operand; false if it can't.
func (k Kind) NormInput() (first int, ok bool) {
	switch k {
	case KindConv:
		return 3, true
	case KindConvBackwardWeights:
		return 2, true
	case KindConvNormBackward:
		return 5, true
	}
	return 0, false
}

// NormalisesInput reports whether the op is a convolution that normalises its input.
func (op *Op) NormalisesInput() bool {
	first, ok := op.Kind.NormInput()
	return ok && len(op.Operands) > first && op.Operands[first] != nil
}

// ConvRunning is the index of the first of the two operands of a convolution, the running statistics, with which it computes
// the statistics of its result.
const ConvRunning = 7

// ComputesStatistics reports whether the op is a convolution that computes the statistics of its result.
func (op *Op) ComputesStatistics() bool {
	return op.Kind == KindConv && len(op.Operands) > ConvRunning && op.Operands[ConvRunning] != nil
}

// Spacing returns the dilation of a convolution in a direction, at least 1.
func (a *Attributes) Spacing(direction int) int64 { return max(a.Dilation[direction], 1) }

// ConvBackwardData adds the gradient with respect to the input of conv, from
// dy [N P Q O]. The result has the shape of the input.
func (b *Builder) ConvBackwardData(conv *Op, dy *Value) *Value {
	a := conv.Attr
	a.Input = dims4(conv.Operands[0].Shape)
	a.Activation, a.Epsilon, a.Momentum = ActivationNone, 0, 0
	return b.first(KindConvBackwardData, a, dy, conv.Operands[1])
}

// ConvBackwardWeights adds the gradients with respect to the weight and, if
// conv has one, the bias (else nil), from dy [N P Q O]. It normalises the input as conv does.
func (b *Builder) ConvBackwardWeights(conv *Op, dy *Value) (weight, bias *Value) {
	a := conv.Attr
	w := conv.Operands[1].Shape
	a.Kernel, a.Bias, a.Momentum = [2]int64{w[1], w[2]}, conv.Operands[2] != nil, 0
	norm := make([]*Value, 4)
	if conv.NormalisesInput() {
		first, _ := conv.Kind.NormInput()
		copy(norm, conv.Operands[first:])
	}
	r := b.add(KindConvBackwardWeights, a, conv.Operands[0], dy, norm[0], norm[1], norm[2], norm[3])
	if a.Bias {
		return r[0], r[1]
	}
	return r[0], nil
}

func convRule(k Kind) rule {
	switch k {
	case KindConv:
		return rule{operands: []string{"x", "weight", "bias?", "mean?", "variance?", "gamma?", "beta?",
			"running_mean?", "running_variance?"}, results: convShape, mutates: []int{ConvRunning, ConvRunning + 1},
			flops: func(op *Op) int64 { return convFLOPs(op.Results[0].Shape, op.Operands[1].Shape) }}
	case KindConvBackwardData:
		return rule{operands: []string{"dy", "weight"}, results: convBackwardDataShape,
			flops: func(op *Op) int64 { return convFLOPs(op.Operands[0].Shape, op.Operands[1].Shape) }}
	default:
		return rule{operands: []string{"x", "dy", "mean?", "variance?", "gamma?", "beta?"}, results: convBackwardWeightsShape,
			flops: func(op *Op) int64 { return convFLOPs(op.Operands[1].Shape, op.Results[0].Shape) }}
	}
}

// convFLOPs counts two operations for each product of the convolution.
func convFLOPs(y, w Shape) int64 { return 2 * y.Elements() * w[1] * w[2] * w[3] }

// checkNormInput checks the operands with which a convolution normalises its input.
func checkNormInput(op *Op) error {
	first, _ := op.Kind.NormInput()
	vectors := op.Operands[first : first+4]
	missing := 0
	for _, v := range vectors {
		if v == nil {
			missing++
		}
	}
	switch a := op.Attr; {
	case missing == 4 && (a.Activation != ActivationNone || a.Epsilon != 0):
		return fmt.Errorf("activation %s, epsilon %g: must be none and 0 where the input is not normalised", a.Activation, a.Epsilon)
	case missing == 4:
		return nil
	case missing > 0:
		return fmt.Errorf("%d of mean, variance, gamma and beta are missing: pass all of them or none", missing)
	case !a.Activation.Fuses():
		return fmt.Errorf("activation %s: must be none to %s", a.Activation, ActivationHardswish)
	}
	return wantVectors(op.Operands[0].Shape[3], vectors...)
}

// forwardShape infers the results of the convolution whose backward op this is, which normalises nothing.
func forwardShape(a Attributes, x, w *Value) ([]resultType, error) {
	a.Activation, a.Epsilon = ActivationNone, 0
	return convShape(&Op{Kind: KindConv, Attr: a, Operands: []*Value{x, w, nil, nil, nil, nil, nil, nil, nil}})
}

func convShape(op *Op) ([]resultType, error) {
	x, w, bias := op.Operands[0], op.Operands[1], op.Operands[2]
	if err := wantRank(4, x, w); err != nil {
		return nil, err
	}
	g := op.Attr.Groups
	if g < 1 || x.Shape[3] != w.Shape[3]*g || w.Shape[0]%g != 0 {
		return nil, fmt.Errorf("input %s and weight %s do not fit with %d groups: must be [N H W C] and "+
			"[O R S C/groups] with O a multiple of the groups", x.Shape, w.Shape, g)
	}
	if bias != nil && !bias.Shape.Equal(Shape{w.Shape[0]}) {
		return nil, fmt.Errorf("bias %s: must have %d elements", bias.Shape, w.Shape[0])
	}
	y := Shape{x.Shape[0], 0, 0, w.Shape[0]}
	for i := range 2 {
		d := op.Attr.Dilation[i]
		if w.Shape[1+i] < 1 || d < 0 || d > math.MaxInt64/w.Shape[1+i] {
			return nil, fmt.Errorf("weight %s, dilation %d: must be at least 1x1 and 1, and a window's extent must fit 63 bits",
				w.Shape, d)
		}
		n, err := windows(x.Shape[1+i], (w.Shape[1+i]-1)*op.Attr.Spacing(i)+1, op.Attr.Stride[i], op.Attr.Padding[i])
		if err != nil {
			return nil, fmt.Errorf("input %s, weight %s: %w", x.Shape, w.Shape, err)
		}
		y[1+i] = n
	}
	out := []resultType{{"y", y, x.Type, CategoryActivation}}
	if err := checkNormInput(op); err != nil {
		return nil, err
	}
	return withStatistics(op, out)
}

// withStatistics adds the statistics of a convolution's result to its results, if it computes them.
func withStatistics(op *Op, out []resultType) ([]resultType, error) {
	running := op.Operands[ConvRunning:]
	if running[0] == nil && running[1] == nil {
		return out, nil
	}
	y := out[0].shape
	statistics, err := normStatsShape(&Op{Kind: KindNormStats, Operands: []*Value{{Shape: y}, running[0], running[1]}})
	return append(out, statistics...), err
}

func convBackwardDataShape(op *Op) ([]resultType, error) {
	dy, w := op.Operands[0], op.Operands[1]
	if err := wantRank(4, dy, w); err != nil {
		return nil, err
	}
	x := Shape(op.Attr.Input[:])
	forward, err := forwardShape(op.Attr, &Value{Shape: x}, w)
	if err != nil {
		return nil, err
	}
	if !forward[0].shape.Equal(dy.Shape) {
		return nil, fmt.Errorf("gradient %s: must be %s", dy.Shape, forward[0].shape)
	}
	return []resultType{{"dx", x, dy.Type, CategoryGradient}}, nil
}

func convBackwardWeightsShape(op *Op) ([]resultType, error) {
	x, dy := op.Operands[0], op.Operands[1]
	if err := wantRank(4, x, dy); err != nil {
		return nil, err
	}
	a := op.Attr
	w := Shape{dy.Shape[3], a.Kernel[0], a.Kernel[1], x.Shape[3] / max(a.Groups, 1)}
	forward, err := forwardShape(a, x, &Value{Shape: w})
	if err != nil {
		return nil, err
	}
	if !forward[0].shape.Equal(dy.Shape) {
		return nil, fmt.Errorf("gradient %s: must be %s", dy.Shape, forward[0].shape)
	}
	out := []resultType{{"dweight", w, x.Type, CategoryGradient}}
	if a.Bias {
		out = append(out, resultType{"dbias", Shape{w[0]}, TypeF32, CategoryGradient})
	}
	return out, checkNormInput(op)
}

// windows returns how many windows of the given kernel fit into size extents
// padded on both sides.
func windows(size, kernel, stride, padding int64) (int64, error) {
	if kernel < 1 || stride < 1 || padding < 0 {
		return 0, fmt.Errorf("kernel %d, stride %d, padding %d: must be at least 1, 1, 0", kernel, stride, padding)
	}
	if size+2*padding < kernel {
		return 0, fmt.Errorf("window of %d is larger than the padded input of %d", kernel, size+2*padding)
	}
	return (size+2*padding-kernel)/stride + 1, nil
}

func wantRank(rank int, values ...*Value) error {
	for _, v := range values {
		if len(v.Shape) != rank {
			return fmt.Errorf("shape %s has %d dimensions: must have %d", v.Shape, len(v.Shape), rank)
		}
	}
	return nil
}

func dims4(s Shape) (d [4]int64) {
	copy(d[:], s)
	return d
}

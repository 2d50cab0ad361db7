package graph

import "fmt"

// LinearRows adds a linear layer of every row of x [... in], its last dimension: y [... out] = x * weight^T + bias. It is the
// 1x1 convolution of an activation [N H W in], with the weight [out in] of a linear layer.
func (b *Builder) LinearRows(x, weight, bias *Value) *Value {
	return b.first(KindLinear, Attributes{Rows: true}, x, weight, bias)
}

// Linear adds y[n,o] = bias[o] + sum over i of x[n,i] * w[o,i]. x is [N ...] and
// is read as [N in], w is [out in], bias [out] or nil; the result is [N out].
func (b *Builder) Linear(x, weight, bias *Value) *Value {
	return b.first(KindLinear, Attributes{}, x, weight, bias)
}

// LinearBackwardData adds the gradient with respect to the input of linear.
func (b *Builder) LinearBackwardData(linear *Op, dy *Value) *Value {
	attr := Attributes{Input: dims4(linear.Operands[0].Shape), Rows: linear.Attr.Rows}
	return b.first(KindLinearBackwardData, attr, dy, linear.Operands[1])
}

// LinearBackwardWeights adds the gradients with respect to the weight and, if
// linear has one, the bias (else nil).
func (b *Builder) LinearBackwardWeights(linear *Op, dy *Value) (weight, bias *Value) {
	a := Attributes{Bias: linear.Operands[2] != nil, Rows: linear.Attr.Rows}
	r := b.add(KindLinearBackwardWeights, a, linear.Operands[0], dy)
	if a.Bias {
		return r[0], r[1]
	}
	return r[0], nil
}

func linearRule(k Kind) rule {
	switch k {
	case KindLinear:
		return rule{operands: []string{"x", "weight", "bias?"}, results: linearShape,
			flops: func(op *Op) int64 { return 2 * op.Results[0].Shape.Elements() * op.Operands[1].Shape[1] }}
	case KindLinearBackwardData:
		return rule{operands: []string{"dy", "weight"}, results: linearBackwardDataShape,
			flops: func(op *Op) int64 { return 2 * op.Operands[0].Shape.Elements() * op.Operands[1].Shape[1] }}
	default:
		return rule{operands: []string{"x", "dy"}, results: linearBackwardWeightsShape,
			flops: func(op *Op) int64 { return 2 * op.Operands[1].Shape.Elements() * op.Results[0].Shape[1] }}
	}
}

// linearResult returns the shape of the result of a linear layer with that many outputs, and how many features of x a row has.
func (op *Op) linearResult(x Shape, outputs int64) (y Shape, features int64, err error) {
	if len(x) < 2 {
		return nil, 0, fmt.Errorf("input %s: must have at least 2 dimensions", x)
	}
	if !op.Attr.Rows {
		return Shape{x[0], outputs}, x.Elements() / x[0], nil
	}
	return append(x[:len(x)-1:len(x)-1], outputs), x[len(x)-1], nil
}

func linearShape(op *Op) ([]resultType, error) {
	x, w, bias := op.Operands[0], op.Operands[1], op.Operands[2]
	if err := wantRank(2, w); err != nil {
		return nil, err
	}
	y, features, err := op.linearResult(x.Shape, w.Shape[0])
	if err != nil {
		return nil, err
	}
	if features != w.Shape[1] {
		return nil, fmt.Errorf("input %s and weight %s do not fit: must be [N in], or rows of in elements, and [out in]",
			x.Shape, w.Shape)
	}
	if bias != nil && !bias.Shape.Equal(Shape{w.Shape[0]}) {
		return nil, fmt.Errorf("bias %s: must have %d elements", bias.Shape, w.Shape[0])
	}
	return []resultType{{"y", y, x.Type, CategoryActivation}}, nil
}

func linearBackwardDataShape(op *Op) ([]resultType, error) {
	dy, w := op.Operands[0], op.Operands[1]
	if err := wantRank(2, w); err != nil {
		return nil, err
	}
	x := Shape(op.Attr.Input[:])
	for len(x) > 2 && x[len(x)-1] == 0 {
		x = x[:len(x)-1]
	}
	y, features, err := op.linearResult(x, w.Shape[0])
	if err != nil {
		return nil, err
	}
	if features != w.Shape[1] || !dy.Shape.Equal(y) {
		return nil, fmt.Errorf("gradient %s and weight %s do not give an input gradient %s", dy.Shape, w.Shape, x)
	}
	return []resultType{{"dx", x, dy.Type, CategoryGradient}}, nil
}

func linearBackwardWeightsShape(op *Op) ([]resultType, error) {
	x, dy := op.Operands[0], op.Operands[1]
	if len(dy.Shape) < 2 {
		return nil, fmt.Errorf("gradient %s: must have at least 2 dimensions", dy.Shape)
	}
	outputs := dy.Shape[len(dy.Shape)-1]
	y, features, err := op.linearResult(x.Shape, outputs)
	if err != nil {
		return nil, err
	}
	if !dy.Shape.Equal(y) {
		return nil, fmt.Errorf("input %s and gradient %s have different batch sizes", x.Shape, dy.Shape)
	}
	out := []resultType{{"dweight", Shape{outputs, features}, x.Type, CategoryGradient}}
	if op.Attr.Bias {
		out = append(out, resultType{"dbias", Shape{outputs}, TypeF32, CategoryGradient})
	}
	return out, nil
}

package graph

import "fmt"

// Linear adds y[n,o] = bias[o] + sum over i of x[n,i] * w[o,i]. x is [N ...] and
// is read as [N in], w is [out in], bias [out] or nil; the result is [N out].
func (b *Builder) Linear(x, weight, bias *Value) *Value {
	return b.first(KindLinear, Attributes{}, x, weight, bias)
}

// LinearBackwardData adds the gradient with respect to the input of linear.
func (b *Builder) LinearBackwardData(linear *Op, dy *Value) *Value {
	return b.first(KindLinearBackwardData, Attributes{Input: dims4(linear.Operands[0].Shape)}, dy, linear.Operands[1])
}

// LinearBackwardWeights adds the gradients with respect to the weight and, if
// linear has one, the bias (else nil).
func (b *Builder) LinearBackwardWeights(linear *Op, dy *Value) (weight, bias *Value) {
	a := Attributes{Bias: linear.Operands[2] != nil}
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
			flops: func(op *Op) int64 { return 2 * op.Results[0].Shape[0] * op.Operands[1].Shape.Elements() }}
	case KindLinearBackwardData:
		return rule{operands: []string{"dy", "weight"}, results: linearBackwardDataShape,
			flops: func(op *Op) int64 { return 2 * op.Operands[0].Shape[0] * op.Operands[1].Shape.Elements() }}
	default:
		return rule{operands: []string{"x", "dy"}, results: linearBackwardWeightsShape,
			flops: func(op *Op) int64 { return 2 * op.Operands[1].Shape[0] * op.Results[0].Shape.Elements() }}
	}
}

func linearShape(op *Op) ([]resultType, error) {
	x, w, bias := op.Operands[0], op.Operands[1], op.Operands[2]
	if err := wantRank(2, w); err != nil {
		return nil, err
	}
	if len(x.Shape) < 2 || x.Shape.Elements() != x.Shape[0]*w.Shape[1] {
		return nil, fmt.Errorf("input %s and weight %s do not fit: must be [N in] and [out in]", x.Shape, w.Shape)
	}
	if bias != nil && !bias.Shape.Equal(Shape{w.Shape[0]}) {
		return nil, fmt.Errorf("bias %s: must have %d elements", bias.Shape, w.Shape[0])
	}
	return []resultType{{"y", Shape{x.Shape[0], w.Shape[0]}, x.Type, CategoryActivation}}, nil
}

func linearBackwardDataShape(op *Op) ([]resultType, error) {
	dy, w := op.Operands[0], op.Operands[1]
	if err := wantRank(2, dy, w); err != nil {
		return nil, err
	}
	x := Shape(op.Attr.Input[:])
	for len(x) > 2 && x[len(x)-1] == 0 {
		x = x[:len(x)-1]
	}
	if dy.Shape[1] != w.Shape[0] || x.Elements() != dy.Shape[0]*w.Shape[1] {
		return nil, fmt.Errorf("gradient %s and weight %s do not give an input gradient %s", dy.Shape, w.Shape, x)
	}
	return []resultType{{"dx", x, dy.Type, CategoryGradient}}, nil
}

func linearBackwardWeightsShape(op *Op) ([]resultType, error) {
	x, dy := op.Operands[0], op.Operands[1]
	if err := wantRank(2, dy); err != nil {
		return nil, err
	}
	if len(x.Shape) < 2 || x.Shape[0] != dy.Shape[0] {
		return nil, fmt.Errorf("input %s and gradient %s have different batch sizes", x.Shape, dy.Shape)
	}
	out := []resultType{{"dweight", Shape{dy.Shape[1], x.Shape.Elements() / x.Shape[0]}, x.Type, CategoryGradient}}
	if op.Attr.Bias {
		out = append(out, resultType{"dbias", Shape{dy.Shape[1]}, TypeF32, CategoryGradient})
	}
	return out, nil
}

package graph

import "fmt"

// Upsample adds bilinear interpolation of x [N H W C] to height x width with
// aligned corners: result row i is at i*(H-1)/(height-1) of the input, or at 0
// where height is 1.
func (b *Builder) Upsample(x *Value, height, width int64) *Value {
	return b.first(KindUpsample, Attributes{Output: [2]int64{height, width}}, x)
}

// UpsampleBackward adds the gradient of the interpolation op upsample.
func (b *Builder) UpsampleBackward(upsample *Op, dy *Value) *Value {
	a := upsample.Attr
	a.Input = dims4(upsample.Operands[0].Shape)
	return b.first(KindUpsampleBackward, a, dy)
}

func upsampleRule(k Kind) rule {
	if k == KindUpsample {
		return rule{operands: []string{"x"}, results: upsampleShape}
	}
	return rule{operands: []string{"dy"}, results: upsampleBackwardShape}
}

func upsampleShape(op *Op) ([]resultType, error) {
	x := op.Operands[0]
	if err := wantRank(4, x); err != nil {
		return nil, err
	}
	if op.Attr.Output[0] < 1 || op.Attr.Output[1] < 1 {
		return nil, fmt.Errorf("output %dx%d: must be at least 1x1", op.Attr.Output[0], op.Attr.Output[1])
	}
	y := Shape{x.Shape[0], op.Attr.Output[0], op.Attr.Output[1], x.Shape[3]}
	return []resultType{{"y", y, x.Type, CategoryActivation}}, nil
}

func upsampleBackwardShape(op *Op) ([]resultType, error) {
	x := Shape(op.Attr.Input[:])
	dy := Shape{x[0], op.Attr.Output[0], op.Attr.Output[1], x[3]}
	return []resultType{{"dx", x, op.Operands[0].Type, CategoryGradient}}, wantShape(dy, op.Operands...)
}

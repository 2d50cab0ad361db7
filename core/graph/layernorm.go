package graph

import "fmt"

// Layer normalisation of every row, the elements of the last dimension:
//
//	layer_norm           y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, mean and biased variance of the row
//	layer_norm_backward  dx, dgamma, dbeta
//
// x, y and their gradients have one shape, of at least 2 dimensions; the last is C. For an activation [N H W C] it
// normalises over channels. gamma, beta and their gradients are [C] and f32. The statistics of a row are
// computed again in the backward pass, while the row is in the cache: they are neither saved nor values of the program.

// LayerNorm adds the layer normalisation of x.
func (b *Builder) LayerNorm(x, gamma, beta *Value, epsilon float64) *Value {
	return b.first(KindLayerNorm, Attributes{Epsilon: epsilon}, x, gamma, beta)
}

// LayerNormBackward adds the gradients of the op norm, a layer_norm.
func (b *Builder) LayerNormBackward(norm *Op, dy *Value) (x, gamma, beta *Value) {
	r := b.add(KindLayerNormBackward, Attributes{Epsilon: norm.Attr.Epsilon}, dy, norm.Operands[0], norm.Operands[1])
	return r[0], r[1], r[2]
}

func layerNormRule(k Kind) rule {
	check := func(op *Op, x *Value, vectors ...*Value) error {
		if e := op.Attr.Epsilon; !(e > 0) {
			return fmt.Errorf("epsilon %g: must be above 0", e)
		}
		return wantRows(x, vectors...)
	}
	if k == KindLayerNorm {
		// A row is read before it is written.
		return rule{operands: []string{"x", "gamma", "beta"}, inPlace: []Pair{{0, 0}}, results: func(op *Op) ([]resultType, error) {
			x := op.Operands[0]
			return []resultType{{"y", x.Shape, x.Type, CategoryActivation}}, check(op, x, op.Operands[1:]...)
		}}
	}
	return rule{operands: []string{"dy", "x", "gamma"}, inPlace: []Pair{{0, 0}, {0, 1}},
		results: func(op *Op) ([]resultType, error) {
			dy, x, gamma := op.Operands[0], op.Operands[1], op.Operands[2]
			if err := check(op, x, gamma); err != nil {
				return nil, err
			}
			return []resultType{
				{"dx", x.Shape, x.Type, CategoryGradient},
				{"dgamma", gamma.Shape, TypeF32, CategoryGradient},
				{"dbeta", gamma.Shape, TypeF32, CategoryGradient},
			}, wantShape(x.Shape, dy)
		}}
}

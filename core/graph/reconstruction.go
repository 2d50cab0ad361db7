package graph

import "fmt"

// BinaryCrossEntropy adds the reconstruction loss of InfoPro: the mean over all
// elements of the binary cross-entropy of sigmoid(logits) against images/255,
// f32 [1]. Logits are [N H W C], images u8 of the same shape.
func (b *Builder) BinaryCrossEntropy(logits, images *Value) *Value {
	return b.first(KindBinaryCrossEntropy, Attributes{}, logits, images)
}

// BinaryCrossEntropyBackward adds the gradient of scale * loss with respect to
// the logits: scale * (sigmoid(logits) - images/255) / elements.
func (b *Builder) BinaryCrossEntropyBackward(loss *Op, scale float64) *Value {
	return b.first(KindBinaryCrossEntropyBackward, Attributes{Scale: scale}, loss.Operands[0], loss.Operands[1])
}

func reconstructionRule(k Kind) rule {
	sameShape := func(op *Op) error {
		if x := op.Operands[0]; !x.Shape.Equal(op.Operands[1].Shape) {
			return fmt.Errorf("logits %s and images %s differ in shape", x.Shape, op.Operands[1].Shape)
		}
		return nil
	}
	if k == KindBinaryCrossEntropy {
		return rule{name: "binary_cross_entropy", operands: []string{"logits", "images"}, results: func(op *Op) ([]resultType, error) {
			return []resultType{{"loss", Shape{1}, TypeF32, CategoryActivation}}, sameShape(op)
		}}
	}
	return rule{name: "binary_cross_entropy_backward", operands: []string{"logits", "images"}, inPlace: []Pair{{0, 0}},
		results: func(op *Op) ([]resultType, error) {
			return []resultType{{"dlogits", op.Operands[0].Shape, op.Attr.Element, CategoryGradient}}, sameShape(op)
		}}
}

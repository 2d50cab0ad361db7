package graph

import "fmt"

// CrossEntropy adds the softmax cross-entropy of logits [N K] against labels
// [N] (s32, in 0..K-1): the mean loss over the batch [1], the number of samples
// whose largest logit is the label's (the first of equals counts) [1], and the
// probabilities [N K], which the backward op reads.
func (b *Builder) CrossEntropy(logits, labels *Value) (loss, correct, probabilities *Value) {
	r := b.add(KindCrossEntropy, Attributes{}, logits, labels)
	return r[0], r[1], r[2]
}

// CrossEntropyBackward adds the gradient of scale * loss with respect to the
// logits: scale * (p - onehot(label)) / N.
func (b *Builder) CrossEntropyBackward(loss *Op, scale float64) *Value {
	return b.first(KindCrossEntropyBackward, Attributes{Scale: scale}, loss.Results[2], loss.Operands[1])
}

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

func lossRule(k Kind) rule {
	switch k {
	case KindCrossEntropy:
		return rule{operands: []string{"logits", "labels"}, results: crossEntropyShape, inPlace: []Pair{{2, 0}}}
	case KindCrossEntropyBackward:
		return rule{operands: []string{"probabilities", "labels"}, results: crossEntropyBackwardShape, inPlace: []Pair{{0, 0}}}
	case KindBinaryCrossEntropy:
		return rule{operands: []string{"logits", "images"}, results: binaryCrossEntropyShape}
	default:
		return rule{operands: []string{"logits", "images"}, results: binaryCrossEntropyBackwardShape, inPlace: []Pair{{0, 0}}}
	}
}

func checkLabels(scores, labels *Value) error {
	if err := wantRank(2, scores); err != nil {
		return err
	}
	if labels.Type != TypeS32 || !labels.Shape.Equal(Shape{scores.Shape[0]}) {
		return fmt.Errorf("labels %s: must be s32[%d]", labels, scores.Shape[0])
	}
	return nil
}

func crossEntropyShape(op *Op) ([]resultType, error) {
	logits := op.Operands[0]
	return []resultType{
		{"loss", Shape{1}, TypeF32, CategoryActivation},
		{"correct", Shape{1}, TypeF32, CategoryActivation},
		{"probabilities", logits.Shape, TypeF32, CategoryActivation},
	}, checkLabels(logits, op.Operands[1])
}

func crossEntropyBackwardShape(op *Op) ([]resultType, error) {
	p := op.Operands[0]
	return []resultType{{"dlogits", p.Shape, op.Attr.Element, CategoryGradient}}, checkLabels(p, op.Operands[1])
}

func checkImages(logits, images *Value) error {
	if !logits.Shape.Equal(images.Shape) {
		return fmt.Errorf("logits %s and images %s differ in shape", logits.Shape, images.Shape)
	}
	return nil
}

func binaryCrossEntropyShape(op *Op) ([]resultType, error) {
	return []resultType{{"loss", Shape{1}, TypeF32, CategoryActivation}}, checkImages(op.Operands[0], op.Operands[1])
}

func binaryCrossEntropyBackwardShape(op *Op) ([]resultType, error) {
	logits := op.Operands[0]
	return []resultType{{"dlogits", logits.Shape, op.Attr.Element, CategoryGradient}}, checkImages(logits, op.Operands[1])
}

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

func lossRule(k Kind) rule {
	if k == KindCrossEntropy {
		return rule{name: "cross_entropy", operands: []string{"logits", "labels"}, results: crossEntropyShape, inPlace: []Pair{{2, 0}}}
	}
	return rule{name: "cross_entropy_backward", operands: []string{"probabilities", "labels"}, results: crossEntropyBackwardShape, inPlace: []Pair{{0, 0}}}
}

func checkLabels(scores, labels *Value) error {
	if err := wantRank(2, scores); err != nil {
		return err
	}
	if labels.Type != TypeS32 || !labels.Shape.Equal(Shape{scores.Shape[0]}) {
		return fmt.Errorf("labels %s, want s32[%d]", labels, scores.Shape[0])
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

package graph

import "fmt"

// The losses that compare the samples of a batch with one another. Matrices
// over pairs of samples are never stored: each backward op recomputes them, row
// by row, so these losses keep [N C] values only.

// Deviation adds the standard deviation over positions, unbiased, of each
// channel of each sample: x [N H W C] gives [N C], f32.
func (b *Builder) Deviation(x *Value) *Value { return b.first(KindDeviation, Attributes{}, x) }

// DeviationBackward adds the gradient of deviation: dy * (x - mean) / ((HW-1) * y),
// zero where y is zero.
func (b *Builder) DeviationBackward(deviation *Op, dy *Value) *Value {
	return b.first(KindDeviationBackward, Attributes{}, dy, deviation.Operands[0], deviation.Results[0])
}

// SimilarityEpsilon is added to the norm of a row before it divides.
const SimilarityEpsilon = 1e-8

// Similarity adds the similarity-matching loss (Noekland and Eidnes, 2019) of
// features [N C] against labels [N], f32 [1]: the mean over all pairs of
// (S - T)^2. S holds the products of the centred rows, each divided by its norm,
// clamped to [-1, 1]; T is the same of the one-hot labels.
func (b *Builder) Similarity(features, labels *Value, classes int64) *Value {
	return b.first(KindSimilarity, Attributes{Classes: classes}, features, labels)
}

// SimilarityBackward adds the gradient of scale * loss with respect to the
// features.
func (b *Builder) SimilarityBackward(loss *Op, scale float64) *Value {
	a := Attributes{Classes: loss.Attr.Classes, Scale: scale}
	return b.first(KindSimilarityBackward, a, loss.Operands[0], loss.Operands[1])
}

// Contrast adds the supervised contrastive loss (Khosla et al., 2020) of
// features [N C], whose rows it normalises, against labels [N], f32 [1]: the mean
// over samples of the mean over the other samples j of its class of
// -log(exp(s_ij) / sum over k != i of exp(s_ik)), s = product / temperature. A
// sample alone in its class adds zero. The second result, [N], is the logarithm
// of that sum (0 for a batch of one), for the backward op.
func (b *Builder) Contrast(features, labels *Value, temperature float64) (loss, logSum *Value) {
	r := b.add(KindContrast, Attributes{Temperature: temperature}, features, labels)
	return r[0], r[1]
}

// ContrastBackward adds the gradient of scale * loss with respect to the
// features.
func (b *Builder) ContrastBackward(loss *Op, scale float64) *Value {
	a := Attributes{Temperature: loss.Attr.Temperature, Scale: scale}
	return b.first(KindContrastBackward, a, loss.Operands[0], loss.Operands[1], loss.Results[1])
}

func similarityRule(k Kind) rule {
	switch k {
	case KindDeviation:
		return rule{operands: []string{"x"}, results: deviationShape}
	case KindDeviationBackward:
		return rule{operands: []string{"ddeviation", "x", "deviation"}, results: deviationBackwardShape, inPlace: []Pair{{0, 1}}}
	case KindSimilarity:
		return rule{operands: []string{"features", "labels"}, results: similarityShape}
	case KindSimilarityBackward:
		return rule{operands: []string{"features", "labels"}, results: similarityShape}
	case KindContrast:
		return rule{operands: []string{"features", "labels"}, results: contrastShape}
	default:
		return rule{operands: []string{"features", "labels", "log_sum"}, results: contrastShape}
	}
}

func deviationShape(op *Op) ([]resultType, error) {
	x := op.Operands[0]
	if err := wantRank(4, x); err != nil {
		return nil, err
	}
	if x.Shape[1]*x.Shape[2] < 2 {
		return nil, fmt.Errorf("input %s has one position: a deviation needs at least 2", x.Shape)
	}
	return []resultType{{"y", Shape{x.Shape[0], x.Shape[3]}, TypeF32, CategoryActivation}}, nil
}

func deviationBackwardShape(op *Op) ([]resultType, error) {
	forward, err := deviationShape(&Op{Operands: op.Operands[1:2]})
	if err != nil {
		return nil, err
	}
	x := op.Operands[1]
	return []resultType{{"dx", x.Shape, x.Type, CategoryGradient}}, wantShape(forward[0].shape, op.Operands[0], op.Operands[2])
}

func similarityShape(op *Op) ([]resultType, error) {
	if op.Attr.Classes < 2 {
		return nil, fmt.Errorf("%d classes: must be at least 2", op.Attr.Classes)
	}
	return lossOrGradient(op, op.Kind == KindSimilarity)
}

func contrastShape(op *Op) ([]resultType, error) {
	if !(op.Attr.Temperature > 0) {
		return nil, fmt.Errorf("temperature %g: must be more than 0", op.Attr.Temperature)
	}
	if op.Kind == KindContrastBackward {
		if err := wantShape(Shape{op.Operands[0].Shape[0]}, op.Operands[2]); err != nil {
			return nil, err
		}
	}
	types, err := lossOrGradient(op, op.Kind == KindContrast)
	if err == nil && op.Kind == KindContrast {
		types = append(types, resultType{"log_sum", Shape{op.Operands[0].Shape[0]}, TypeF32, CategoryActivation})
	}
	return types, err
}

// lossOrGradient is the result of a loss over features and labels, or of its
// backward op.
func lossOrGradient(op *Op, forward bool) ([]resultType, error) {
	features := op.Operands[0]
	if err := checkLabels(features, op.Operands[1]); err != nil {
		return nil, err
	}
	if forward {
		return []resultType{{"loss", Shape{1}, TypeF32, CategoryActivation}}, nil
	}
	return []resultType{{"dfeatures", features.Shape, TypeF32, CategoryGradient}}, nil
}

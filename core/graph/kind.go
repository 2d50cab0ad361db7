package graph

import "fmt"

// Kind names what an op computes. The numbers are part of the program format
// that backends read: append, never reorder.
type Kind uint16

// The kinds of ops, by family. The file of the same name as the family holds
// shapes, in-place rules and FLOPs.
const (
	KindNone Kind = iota
	KindConv
	KindConvBackwardData
	KindConvBackwardWeights
	KindNormStats
	KindNormApply
	KindNormBackward
	KindReLU
	KindReLUBackward
	KindAdd
	KindDetach
	KindMaxPool
	KindMaxPoolBackward
	KindAveragePool
	KindAveragePoolBackward
	KindAdaptiveAveragePool
	KindAdaptiveAveragePoolBackward
	KindLinear
	KindLinearBackwardData
	KindLinearBackwardWeights
	KindCrossEntropy
	KindCrossEntropyBackward
	KindNormalizeImage
	KindSGD
	KindUpsample
	KindUpsampleBackward
	KindBinaryCrossEntropy
	KindBinaryCrossEntropyBackward
	KindDeviation
	KindDeviationBackward
	KindSimilarity
	KindSimilarityBackward
	KindContrast
	KindContrastBackward
	KindAverage
	KindAugment
	KindCast
	KindSiLU
	KindSiLUBackward
	KindGate
	KindGateBackward
	KindDropout
	kindCount
)

// Kinds lists every kind.
func Kinds() []Kind {
	all := make([]Kind, 0, kindCount-1)
	for k := KindNone + 1; k < kindCount; k++ {
		all = append(all, k)
	}
	return all
}

// rule is all that the graph knows of a kind.
type rule struct {
	name     string
	operands []string // roles; a trailing '?' marks an optional one
	results  func(op *Op) ([]resultType, error)
	inPlace  []Pair          // which result may lie in which operand
	mutates  []int           // operands that the op overwrites
	flops    func(*Op) int64 // nil: not counted
}

// Pair is an in-place permission: result Result may take over the storage of
// operand Operand, if no later op reads that operand.
type Pair struct{ Result, Operand int }

// resultType is an inferred result: the role appended to the op's scope, and
// its shape, element type and category.
type resultType struct {
	role     string
	shape    Shape
	element  ElementType
	category Category
}

func (k Kind) rule() rule {
	switch k {
	case KindConv, KindConvBackwardData, KindConvBackwardWeights:
		return convRule(k)
	case KindNormStats, KindNormApply, KindNormBackward:
		return normRule(k)
	case KindReLU, KindReLUBackward, KindAdd, KindDetach, KindNormalizeImage, KindCast, KindSiLU, KindSiLUBackward:
		return elementwiseRule(k)
	case KindAugment:
		return rule{name: "augment", operands: []string{"images", "words"}, results: augmentShape}
	case KindMaxPool, KindMaxPoolBackward, KindAveragePool, KindAveragePoolBackward,
		KindAdaptiveAveragePool, KindAdaptiveAveragePoolBackward:
		return poolRule(k)
	case KindLinear, KindLinearBackwardData, KindLinearBackwardWeights:
		return linearRule(k)
	case KindCrossEntropy, KindCrossEntropyBackward:
		return lossRule(k)
	case KindSGD, KindAverage:
		return updateRule(k)
	case KindGate, KindGateBackward:
		return gateRule(k)
	case KindDropout:
		return dropoutRule()
	case KindUpsample, KindUpsampleBackward:
		return upsampleRule(k)
	case KindBinaryCrossEntropy, KindBinaryCrossEntropyBackward:
		return reconstructionRule(k)
	case KindDeviation, KindDeviationBackward, KindSimilarity, KindSimilarityBackward, KindContrast, KindContrastBackward:
		return similarityRule(k)
	}
	return rule{name: fmt.Sprintf("kind %d", k), results: func(*Op) ([]resultType, error) {
		return nil, fmt.Errorf("unknown kind %d, want 1..%d", k, kindCount-1)
	}}
}

// String returns the name that dumps and error texts use.
func (k Kind) String() string { return k.rule().name }

// Roles names the operands in order; a trailing '?' marks an optional one.
func (k Kind) Roles() []string { return k.rule().operands }

// InPlace lists the in-place permissions of the op's kind that apply to it: the
// sizes agree and the operand is there. A listed pair does not mean that the
// operand dies here: that is the pass's business.
func (op *Op) InPlace() []Pair {
	var pairs []Pair
	for _, p := range op.Kind.rule().inPlace {
		if p.Result >= len(op.Results) || p.Operand >= len(op.Operands) {
			continue
		}
		r, o := op.Results[p.Result], op.Operands[p.Operand]
		if r != nil && o != nil && r.Bytes() == o.Bytes() && r.Type == o.Type {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// Mutates lists the operands that the op overwrites.
func (op *Op) Mutates() []*Value {
	var out []*Value
	for _, i := range op.Kind.rule().mutates {
		if op.Operands[i] != nil {
			out = append(out, op.Operands[i])
		}
	}
	return out
}

// FLOPs counts the op's floating-point operations, a multiply-add as two; zero
// for kinds that are bound by memory.
func (op *Op) FLOPs() int64 {
	if f := op.Kind.rule().flops; f != nil {
		return f(op)
	}
	return 0
}

// Bytes counts the bytes of the op's operands and results: what it must move
// through memory at the least, if each is read or written once, and both where it is overwritten.
func (op *Op) Bytes() int64 {
	var sum int64
	for _, list := range [][]*Value{op.Operands, op.Results, op.Mutates()} {
		for _, v := range list {
			if v != nil {
				sum += v.Bytes()
			}
		}
	}
	return sum
}

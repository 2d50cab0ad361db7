package graph

import (
	"fmt"
	"sync"
)

// Kind names what an op computes. The numbers are part of the program format
// that backends read: append, never reorder.
//
// To add an op: append a constant and a row of kinds here, run `go test ./core/graph -run Header -update`,
// which writes core/engine/native/kinds.h, and write shapes, reference, test cases and kernels in the
// files of its family. Tests name every table and switch that does not agree with the row.
type Kind uint16

// The kinds of ops, in the order in which they were added.
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
	KindConcat
	KindSlice
	KindSliceBackward
	KindPermute
	KindReshape
	KindAdam
	KindRMSprop
	KindAdagrad
	KindActivate
	KindActivateBackward
	KindLayerNorm
	KindLayerNormBackward
	KindScale
	KindScaleBackward
	KindQuantize
	KindDequantize
	KindNormBackwardSums
	KindConvNormBackward
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

// kindRow is what all parts of the program know of a kind.
type kindRow struct {
	name     string // in dumps, error texts and as kind_<name> in C++
	family   Family
	operands string // element types, a letter for each operand: see formLetters
	results  string // likewise; optional results are last
	gradient bool   // autodiff has a rule for it
}

// formLetters are the letters of a row's operands and results: f f32, s s32, u u8, e f32 or bf16, t f32 or bf16 and the same
// type as every other t of the op. A capital letter marks an optional one; a last letter followed by + is that of one or more
// operands.
const formLetters = "fsuet"

// kinds is the table of ops.
var kinds = [kindCount]kindRow{
	KindConv:                        {"conv", FamilyConv, "ttFFFFFFF", "tFF", true},
	KindConvBackwardData:            {"conv_backward_data", FamilyConv, "tt", "t", false},
	KindConvBackwardWeights:         {"conv_backward_weights", FamilyConv, "ttFFFF", "tF", false},
	KindNormStats:                   {"norm_stats", FamilyNorm, "tFF", "ff", false},
	KindNormApply:                   {"norm_apply", FamilyNorm, "tffffT", "t", true},
	KindNormBackward:                {"norm_backward", FamilyNorm, "ttffffTT", "tffT", false},
	KindReLU:                        {"relu", FamilyElementwise, "t", "t", true},
	KindReLUBackward:                {"relu_backward", FamilyElementwise, "tt", "t", false},
	KindAdd:                         {"add", FamilyElementwise, "tt", "t", true},
	KindDetach:                      {"detach", FamilyElementwise, "t", "t", false},
	KindMaxPool:                     {"max_pool", FamilyPool, "t", "tu", true},
	KindMaxPoolBackward:             {"max_pool_backward", FamilyPool, "tu", "t", false},
	KindAveragePool:                 {"average_pool", FamilyPool, "t", "t", true},
	KindAveragePoolBackward:         {"average_pool_backward", FamilyPool, "t", "t", false},
	KindAdaptiveAveragePool:         {"adaptive_average_pool", FamilyPool, "t", "t", true},
	KindAdaptiveAveragePoolBackward: {"adaptive_average_pool_backward", FamilyPool, "t", "t", false},
	KindLinear:                      {"linear", FamilyLinear, "ttF", "t", true},
	KindLinearBackwardData:          {"linear_backward_data", FamilyLinear, "tt", "t", false},
	KindLinearBackwardWeights:       {"linear_backward_weights", FamilyLinear, "tt", "tF", false},
	KindCrossEntropy:                {"cross_entropy", FamilyLoss, "fs", "fff", true},
	KindCrossEntropyBackward:        {"cross_entropy_backward", FamilyLoss, "fs", "e", false},
	KindNormalizeImage:              {"normalize_image", FamilyElementwise, "u", "e", false},
	KindSGD:                         {"sgd", FamilyUpdate, "feFf", "", false},
	KindUpsample:                    {"upsample", FamilyUpsample, "t", "t", true},
	KindUpsampleBackward:            {"upsample_backward", FamilyUpsample, "t", "t", false},
	KindBinaryCrossEntropy:          {"binary_cross_entropy", FamilyLoss, "fu", "f", true},
	KindBinaryCrossEntropyBackward:  {"binary_cross_entropy_backward", FamilyLoss, "fu", "e", false},
	KindDeviation:                   {"deviation", FamilySimilarity, "t", "f", true},
	KindDeviationBackward:           {"deviation_backward", FamilySimilarity, "ftf", "t", false},
	KindSimilarity:                  {"similarity", FamilySimilarity, "fs", "f", true},
	KindSimilarityBackward:          {"similarity_backward", FamilySimilarity, "fs", "f", false},
	KindContrast:                    {"contrast", FamilySimilarity, "fs", "ff", true},
	KindContrastBackward:            {"contrast_backward", FamilySimilarity, "fsf", "f", false},
	KindAverage:                     {"average", FamilyUpdate, "ff", "", false},
	KindAugment:                     {"augment", FamilyElementwise, "us", "u", false},
	KindCast:                        {"cast", FamilyElementwise, "e", "e", false},
	KindSiLU:                        {"silu", FamilyElementwise, "t", "t", true},
	KindSiLUBackward:                {"silu_backward", FamilyElementwise, "tt", "t", false},
	KindGate:                        {"gate", FamilyGate, "tt", "t", true},
	KindGateBackward:                {"gate_backward", FamilyGate, "ttt", "tt", false},
	KindDropout:                     {"dropout", FamilyDropout, "ts", "t", true},
	KindConcat:                      {"concat", FamilyShape, "t+", "t", true},
	KindSlice:                       {"slice", FamilyShape, "tT", "t", true},
	KindSliceBackward:               {"slice_backward", FamilyShape, "tT", "t", false},
	KindPermute:                     {"permute", FamilyShape, "t", "t", true},
	KindReshape:                     {"reshape", FamilyShape, "t", "t", true},
	KindAdam:                        {"adam", FamilyUpdate, "fefffs", "", false},
	KindRMSprop:                     {"rmsprop", FamilyUpdate, "feffF", "", false},
	KindAdagrad:                     {"adagrad", FamilyUpdate, "feff", "", false},
	KindActivate:                    {"activate", FamilyElementwise, "t", "t", true},
	KindActivateBackward:            {"activate_backward", FamilyElementwise, "tt", "t", false},
	KindLayerNorm:                   {"layer_norm", FamilyLayerNorm, "tff", "t", true},
	KindLayerNormBackward:           {"layer_norm_backward", FamilyLayerNorm, "ttf", "tff", false},
	KindScale:                       {"scale", FamilyGate, "tf", "t", true},
	KindScaleBackward:               {"scale_backward", FamilyGate, "ttf", "tf", false},
	KindQuantize:                    {"quantize", FamilyQuantize, "eS", "uF", false},
	KindDequantize:                  {"dequantize", FamilyQuantize, "uF", "e", false},
	KindNormBackwardSums:            {"norm_backward_sums", FamilyNorm, "ttffffTT", "fffT", false},
	KindConvNormBackward:            {"conv_norm_backward", FamilyConvNorm, "ttttfFFFF", "ttFFF", false},
}

// Family groups kinds whose shapes, kernels and tests stand together: core/graph/<family>.go holds the
// shapes, and on every backend one function, make_<family>, chooses the kernels.
type Family uint8

// The families.
const (
	FamilyNone Family = iota
	FamilyConv
	FamilyNorm
	FamilyElementwise
	FamilyPool
	FamilyLinear
	FamilyLoss
	FamilyUpdate
	FamilyUpsample
	FamilySimilarity
	FamilyGate
	FamilyDropout
	FamilyShape
	FamilyLayerNorm
	FamilyQuantize
	FamilyConvNorm
	familyCount
)

// String returns the name of the family's files.
func (f Family) String() string {
	return [...]string{"none", "conv", "norm", "elementwise", "pool", "linear", "loss", "update", "upsample",
		"similarity", "gate", "dropout", "shape", "layernorm", "quantize", "convnorm"}[f]
}

// Family returns the family of a kind, FamilyNone for an unknown one.
func (k Kind) Family() Family { return k.row().family }

// Differentiable reports whether core/autodiff has a gradient rule for the kind.
func (k Kind) Differentiable() bool { return k.row().gradient }

func (k Kind) row() kindRow {
	if k >= kindCount {
		return kindRow{}
	}
	return kinds[k]
}

// rule is the part of a kind that its family's file defines.
type rule struct {
	operands []string // roles; a trailing '?' marks an optional one, '+' one that may repeat
	results  func(op *Op) ([]resultType, error)
	inPlace  []Pair          // which result may alias which operand
	mutates  []int           // operands that the op overwrites
	flops    func(*Op) int64 // nil: not counted
}

// Pair is an in-place permission: result Result may alias operand Operand, if no
// later op reads that operand.
type Pair struct{ Result, Operand int }

// resultType is an inferred result: the role appended to the op's scope, and
// its shape, element type and category.
type resultType struct {
	role     string
	shape    Shape
	element  ElementType
	category Category
}

// rules are the rules of all kinds. They are made once: searches over programs look them up for every op of each.
var rules = sync.OnceValue(func() []rule {
	all := make([]rule, kindCount)
	for k := range kindCount {
		all[k] = k.makeRule()
	}
	return all
})

// rule is what the op's family says of a kind.
func (k Kind) rule() *rule {
	if k >= kindCount {
		return new(k.makeRule())
	}
	return &rules()[k]
}

func (k Kind) makeRule() rule {
	switch k.Family() {
	case FamilyConv:
		return convRule(k)
	case FamilyNorm:
		return normRule(k)
	case FamilyElementwise:
		return elementwiseRule(k)
	case FamilyPool:
		return poolRule(k)
	case FamilyLinear:
		return linearRule(k)
	case FamilyLoss:
		return lossRule(k)
	case FamilyUpdate:
		return updateRule(k)
	case FamilyUpsample:
		return upsampleRule(k)
	case FamilySimilarity:
		return similarityRule(k)
	case FamilyGate:
		return gateRule(k)
	case FamilyDropout:
		return dropoutRule()
	case FamilyShape:
		return shapeRule(k)
	case FamilyLayerNorm:
		return layerNormRule(k)
	case FamilyQuantize:
		return quantizeRule(k)
	case FamilyConvNorm:
		return convNormRule()
	}
	return rule{results: func(*Op) ([]resultType, error) {
		return nil, fmt.Errorf("unknown kind %d: the kinds are 1 to %d", k, kindCount-1)
	}}
}

// String returns the name that dumps and error texts use.
func (k Kind) String() string {
	if name := k.row().name; name != "" {
		return name
	}
	return fmt.Sprintf("kind %d", k)
}

// Roles names the operands in order; a trailing '?' marks an optional one. The last one may end in '+': there may be more
// operands with its role.
func (k Kind) Roles() []string { return k.rule().operands }

// InPlace lists the in-place permissions of the op's kind that apply to it: the
// operand is present and of the same size and type. Whether the operand is read
// later is for the in-place pass to check.
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
		if i < len(op.Operands) && op.Operands[i] != nil {
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

// Bytes counts the bytes of the op's operands and results: the least memory traffic, with
// each read or written once, and both where it is overwritten. Of the operand of a slice only the slice is read.
func (op *Op) Bytes() int64 {
	var sum int64
	for _, list := range [][]*Value{op.Operands, op.Results, op.Mutates()} {
		for _, v := range list {
			if v != nil {
				sum += v.Bytes()
			}
		}
	}
	if op.Kind == KindSlice {
		sum += op.Results[0].Bytes() - op.Operands[0].Bytes()
	}
	return sum
}

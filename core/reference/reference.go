// Package reference runs a step program in float64 with plain loops: the results
// that tests compare every other backend with.
//
// A Machine takes a graph and the contents of its inputs and persistent values, and
// returns the content of any value. Opinions:
//   - Obviously correct beats fast. One function for each kind, in the file of its
//     family, written from the formula in core/graph; no fusion, no threads.
//   - Every value has its own storage, Value.Shares is ignored. So a backend that
//     overwrites an operand too early differs from the reference.
//   - Everything is float64, labels and bytes too. Nothing is rounded to
//     float32, so finite differences work on it. Values of type bf16 are rounded:
//     with 8 bits, rounding is part of the result.
package reference

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
)

// Machine holds the content of every value of one graph and runs its ops.
type Machine struct {
	graph  *graph.Graph
	values [][]float64 // by value id
	err    error       // the first wrong Set
}

// New returns a machine for g with all values zero. It takes 8 bytes an element
// of every value of g.
func New(g *graph.Graph) *Machine {
	m := &Machine{graph: g, values: make([][]float64, len(g.Values))}
	for i, v := range g.Values {
		m.values[i] = make([]float64, v.Shape.Elements())
	}
	return m
}

// Set copies content to v, in the program's order of elements. A content of the
// wrong length changes nothing and is the error of the next Run.
func (m *Machine) Set(v *graph.Value, content []float64) {
	dst := m.values[v.ID]
	if len(content) != len(dst) {
		if m.err == nil {
			m.err = fmt.Errorf("content of %s: %d elements, must be %d", v, len(content), len(dst))
		}
		return
	}
	copy(dst, content)
}

// Get returns the content of v. The slice is the machine's own: ops that run
// later change it.
func (m *Machine) Get(v *graph.Value) []float64 { return m.values[v.ID] }

// Run runs the ops first, ..., last-1.
func (m *Machine) Run(first, last int) error {
	if m.err != nil {
		return m.err
	}
	if first < 0 || last > len(m.graph.Ops) || first > last {
		return fmt.Errorf("ops %d to %d: must be a range within 0 to %d", first, last, len(m.graph.Ops))
	}
	for i, op := range m.graph.Ops[first:last] {
		run, ok := kernel(op.Kind)
		if !ok {
			return fmt.Errorf("op %d %s at %s: the reference backend has no kernel of this kind", first+i, op.Kind, op.Scope)
		}
		if err := run(m, op); err != nil {
			return fmt.Errorf("op %d %s at %s: %w", first+i, op.Kind, op.Scope, err)
		}
		for _, v := range op.Results {
			m.round(v)
		}
	}
	return nil
}

// round gives the content of a bf16 value the precision that it has there.
func (m *Machine) round(v *graph.Value) { roundTo(v.Type, m.values[v.ID]) }

// roundTo gives numbers the precision that they have in a type.
func roundTo(t graph.ElementType, content []float64) {
	if t != graph.TypeBF16 {
		return
	}
	for i, x := range content {
		content[i] = float64(graph.FromBF16(graph.BF16(float32(x))))
	}
}

// kernel returns the function of a kind.
func kernel(k graph.Kind) (func(*Machine, *graph.Op) error, bool) {
	switch k {
	case graph.KindConv:
		return conv, true
	case graph.KindConvBackwardData:
		return convBackwardData, true
	case graph.KindConvBackwardWeights:
		return convBackwardWeights, true
	case graph.KindNormStats:
		return normStats, true
	case graph.KindNormApply:
		return normApply, true
	case graph.KindNormBackward:
		return normBackward, true
	case graph.KindNormBackwardSums:
		return normBackwardSums, true
	case graph.KindConvNormBackward:
		return convNormBackward, true
	case graph.KindReLU, graph.KindActivate:
		return relu, true
	case graph.KindReLUBackward, graph.KindActivateBackward:
		return reluBackward, true
	case graph.KindLayerNorm:
		return layerNorm, true
	case graph.KindLayerNormBackward:
		return layerNormBackward, true
	case graph.KindScale:
		return scale, true
	case graph.KindScaleBackward:
		return scaleBackward, true
	case graph.KindSiLU:
		return silu, true
	case graph.KindSiLUBackward:
		return siluBackward, true
	case graph.KindGate:
		return gate, true
	case graph.KindGateBackward:
		return gateBackward, true
	case graph.KindDropout:
		return dropout, true
	case graph.KindConcat:
		return concat, true
	case graph.KindSlice:
		return slice, true
	case graph.KindSliceBackward:
		return sliceBackward, true
	case graph.KindPermute:
		return permute, true
	case graph.KindReshape:
		return same, true
	case graph.KindAdd:
		return add, true
	case graph.KindDetach, graph.KindCast:
		return same, true
	case graph.KindNormalizeImage:
		return normalizeImage, true
	case graph.KindAugment:
		return augment, true
	case graph.KindMaxPool:
		return maxPool, true
	case graph.KindMaxPoolBackward:
		return maxPoolBackward, true
	case graph.KindAveragePool, graph.KindAdaptiveAveragePool:
		return averagePool, true
	case graph.KindAveragePoolBackward, graph.KindAdaptiveAveragePoolBackward:
		return averagePoolBackward, true
	case graph.KindLinear:
		return linear, true
	case graph.KindLinearBackwardData:
		return linearBackwardData, true
	case graph.KindLinearBackwardWeights:
		return linearBackwardWeights, true
	case graph.KindCrossEntropy:
		return crossEntropy, true
	case graph.KindCrossEntropyBackward:
		return crossEntropyBackward, true
	case graph.KindSGD:
		return sgd, true
	case graph.KindAdam:
		return adam, true
	case graph.KindRMSprop:
		return rmsprop, true
	case graph.KindAdagrad:
		return adagrad, true
	case graph.KindUpsample:
		return upsample, true
	case graph.KindUpsampleBackward:
		return upsampleBackward, true
	case graph.KindBinaryCrossEntropy:
		return binaryCrossEntropy, true
	case graph.KindBinaryCrossEntropyBackward:
		return binaryCrossEntropyBackward, true
	case graph.KindDeviation:
		return deviation, true
	case graph.KindDeviationBackward:
		return deviationBackward, true
	case graph.KindSimilarity:
		return similarity, true
	case graph.KindSimilarityBackward:
		return similarityBackward, true
	case graph.KindContrast:
		return contrast, true
	case graph.KindContrastBackward:
		return contrastBackward, true
	case graph.KindAverage:
		return average, true
	case graph.KindQuantize:
		return quantize, true
	case graph.KindDequantize:
		return dequantize, true
	}
	return nil, false
}

// operand returns the content of operand i, nil if it is absent.
func (m *Machine) operand(op *graph.Op, i int) []float64 {
	if op.Operands[i] == nil {
		return nil
	}
	return m.values[op.Operands[i].ID]
}

// result returns the content of result i.
func (m *Machine) result(op *graph.Op, i int) []float64 { return m.values[op.Results[i].ID] }

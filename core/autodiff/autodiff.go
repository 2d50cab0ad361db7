// Package autodiff is reverse-mode differentiation from graph to graph: for a list of forward
// ops and a set of weighted losses it writes the backward ops after them.
//
// Conventions:
//   - Only values on a path from a parameter to a loss inside the given ops get a
//     gradient. A detached value, a value made before the ops and an input get
//     no gradient: that isolates a local module.
//   - A gradient has the shape of its value. Several contributions are summed by
//     add ops in the order in which the reverse walk meets them.
//   - A parameter's gradient is passed to onGradient as soon as it is complete:
//     no later op of the walk reads the parameter or adds to its gradient, so the parameter
//     can be updated at once, and the gradient's lifetime is short.
//   - The gradient of an op's weights is written before the gradient of its input,
//     so that the saved input dies first.
package autodiff

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
)

// Loss is a scalar to differentiate, as made by a loss op, and its weight in
// the sum.
type Loss struct {
	Value  *graph.Value
	Weight float64
}

// Backward writes the gradient of the weighted sum of losses through ops, which
// are ops of b in program order, and calls onGradient once for each parameter
// reached.
func Backward(b *graph.Builder, ops []*graph.Op, losses []Loss, onGradient func(parameter, gradient *graph.Value)) error {
	w := &walk{b: b, onGradient: onGradient, pending: map[*graph.Value]int{}, needs: map[*graph.Value]bool{},
		gradients: map[*graph.Value]*graph.Value{}, weights: map[*graph.Value]float64{}}
	for _, l := range losses {
		w.weights[l.Value] += l.Weight
	}
	w.markNeeds(ops)
	w.countUses(ops)
	for i := len(ops) - 1; i >= 0; i-- {
		if err := w.step(ops[i]); err != nil {
			return fmt.Errorf("autodiff: %s at %s: %w", ops[i].Kind, ops[i].Scope, err)
		}
	}
	return b.Err()
}

// walk is the state of one reverse walk.
type walk struct {
	b          *graph.Builder
	onGradient func(parameter, gradient *graph.Value)
	needs      map[*graph.Value]bool         // depends on a parameter inside the ops
	pending    map[*graph.Value]int          // ops that use a parameter and are not walked yet
	gradients  map[*graph.Value]*graph.Value // sum of the contributions so far
	weights    map[*graph.Value]float64      // of the losses
}

// trained reports whether v is a parameter of the network or of an auxiliary network.
func trained(v *graph.Value) bool {
	return v.Category == graph.CategoryParameter || v.Category == graph.CategoryAuxiliaryParameter
}

// markNeeds finds, walking forward, the values that need a gradient: those computed from a parameter.
func (w *walk) markNeeds(ops []*graph.Op) {
	for _, op := range ops {
		if op.Kind == graph.KindDetach {
			continue
		}
		for _, v := range op.Operands {
			if v != nil && (trained(v) || w.needs[v]) {
				for _, r := range op.Results {
					w.needs[r] = true
				}
				break
			}
		}
	}
}

// countUses counts, for each parameter, the ops on a path to a loss: they contribute to its
// gradient, or read it in the backward pass.
func (w *walk) countUses(ops []*graph.Op) {
	leads := map[*graph.Value]bool{}
	for i := len(ops) - 1; i >= 0; i-- {
		op := ops[i]
		reached := false
		for _, r := range op.Results {
			_, loss := w.weights[r]
			reached = reached || loss || leads[r]
		}
		if !reached || op.Kind == graph.KindDetach {
			continue
		}
		for _, v := range op.Operands {
			if v == nil {
				continue
			}
			leads[v] = true
			if trained(v) {
				w.pending[v]++
			}
		}
	}
}

// step writes the backward ops of one forward op and passes on the gradients
// of parameters that are complete after it.
func (w *walk) step(op *graph.Op) error {
	rule := gradientRule(op.Kind)
	if rule == nil {
		for _, r := range op.Results {
			if w.gradients[r] != nil {
				return fmt.Errorf("a gradient arrives at %q, and this kind has no gradient rule", r.Name)
			}
		}
		return nil
	}
	reached := false
	for _, r := range op.Results {
		_, loss := w.weights[r]
		reached = reached || loss || w.gradients[r] != nil
	}
	if !reached {
		return nil
	}
	w.b.At(op, graph.PhaseBackward, func() { rule(w, op) })
	for _, v := range op.Operands {
		if v == nil || !trained(v) {
			continue
		}
		if w.pending[v]--; w.pending[v] == 0 {
			if g := w.gradients[v]; g != nil {
				w.b.At(op, graph.PhaseUpdate, func() { w.onGradient(v, g) })
				delete(w.gradients, v)
			}
		}
	}
	for _, r := range op.Results {
		delete(w.gradients, r)
	}
	return nil
}

// wants reports whether v needs a gradient.
func (w *walk) wants(v *graph.Value) bool { return v != nil && (trained(v) || w.needs[v]) }

// give adds g to the gradient of v, if v needs one.
func (w *walk) give(v, g *graph.Value) {
	if g == nil || !w.wants(v) {
		return
	}
	if sum := w.gradients[v]; sum != nil {
		g = w.b.Add(sum, g)
	}
	w.gradients[v] = g
}

// gradientRule returns the rule of a kind: it reads the gradients of the
// op's results and gives gradients to its operands. It is nil for kinds without a gradient.
func gradientRule(k graph.Kind) func(*walk, *graph.Op) {
	switch k {
	case graph.KindConv:
		return conv
	case graph.KindNormApply:
		return normApply
	case graph.KindReLU:
		return unary((*graph.Builder).ReLUBackward)
	case graph.KindSiLU:
		return unary((*graph.Builder).SiLUBackward)
	case graph.KindAdd:
		return add
	case graph.KindMaxPool:
		return unary((*graph.Builder).MaxPoolBackward)
	case graph.KindAveragePool, graph.KindAdaptiveAveragePool:
		return unary((*graph.Builder).AveragePoolBackward)
	case graph.KindLinear:
		return linear
	case graph.KindGate:
		return pair((*graph.Builder).GateBackward)
	case graph.KindScale:
		return pair((*graph.Builder).ScaleBackward)
	case graph.KindLayerNorm:
		return layerNorm
	case graph.KindActivate:
		return unary((*graph.Builder).ActivateBackward)
	case graph.KindDropout:
		return unary((*graph.Builder).DropoutBackward)
	case graph.KindConcat:
		return concat
	case graph.KindSlice:
		return slice
	case graph.KindPermute:
		return unary((*graph.Builder).PermuteBackward)
	case graph.KindReshape:
		return unary((*graph.Builder).ReshapeBackward)
	case graph.KindUpsample:
		return unary((*graph.Builder).UpsampleBackward)
	case graph.KindDeviation:
		return unary((*graph.Builder).DeviationBackward)
	case graph.KindCrossEntropy:
		return loss((*graph.Builder).CrossEntropyBackward)
	case graph.KindBinaryCrossEntropy:
		return loss((*graph.Builder).BinaryCrossEntropyBackward)
	case graph.KindSimilarity:
		return loss((*graph.Builder).SimilarityBackward)
	case graph.KindContrast:
		return loss((*graph.Builder).ContrastBackward)
	}
	return nil
}

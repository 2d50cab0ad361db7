// Package autodiff is reverse mode from graph to graph: for a run of forward
// ops and a set of weighted losses it writes the backward ops behind them.
//
// Conventions:
//   - Only what leads from a parameter to a loss inside the given ops gets a
//     gradient. A detached value, a value made before the ops and an input get
//     none: that is what isolates a local module.
//   - A gradient has the shape of its value. Several contributions are summed by
//     add ops in the order in which the reverse walk meets them.
//   - A parameter's gradient is handed to OnGradient as soon as it is complete:
//     no later op of the walk reads the parameter or adds to its gradient, so it
//     can be updated there and then, and the gradient dies young.
//   - Where an op has both, the gradient of its weights is written before the
//     gradient of its input, so that the saved input dies first.
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
	w := &walk{b: b, onGradient: onGradient, pending: map[*graph.Value]int{}, needs: map[*graph.Value]bool{}, gradients: map[*graph.Value]*graph.Value{}, seeds: map[*graph.Value]float64{}}
	for _, l := range losses {
		w.seeds[l.Value] += l.Weight
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
	pending    map[*graph.Value]int          // differentiable uses of a parameter not yet walked
	gradients  map[*graph.Value]*graph.Value // sum of the contributions so far
	seeds      map[*graph.Value]float64      // weights of the losses
}

func trained(v *graph.Value) bool {
	return v.Category == graph.CategoryParameter || v.Category == graph.CategoryAuxiliaryParameter
}

// markNeeds finds, forwards, the values a gradient has to reach.
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

// countUses counts, for each parameter, the ops that contribute to its
// gradient or read it on the way back: those that lead to a loss.
func (w *walk) countUses(ops []*graph.Op) {
	leads := map[*graph.Value]bool{}
	for i := len(ops) - 1; i >= 0; i-- {
		op := ops[i]
		reached := false
		for _, r := range op.Results {
			_, seed := w.seeds[r]
			reached = reached || seed || leads[r]
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

// step writes the backward ops of one forward op and hands out the gradients
// that are complete after it.
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
		_, seed := w.seeds[r]
		reached = reached || seed || w.gradients[r] != nil
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

// wants reports whether v has to get a gradient.
func (w *walk) wants(v *graph.Value) bool { return v != nil && (trained(v) || w.needs[v]) }

// give adds g to the gradient of v, if v is to get one.
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
// op's results and gives gradients to its operands. Nil where none can flow.
func gradientRule(k graph.Kind) func(*walk, *graph.Op) {
	switch k {
	case graph.KindConv:
		return conv
	case graph.KindNormApply:
		return normApply
	case graph.KindReLU:
		return relu
	case graph.KindSiLU:
		return silu
	case graph.KindAdd:
		return add
	case graph.KindMaxPool:
		return maxPool
	case graph.KindAveragePool, graph.KindAdaptiveAveragePool:
		return averagePool
	case graph.KindLinear:
		return linear
	case graph.KindGate:
		return gate
	case graph.KindDropout:
		return dropout
	case graph.KindUpsample:
		return upsample
	case graph.KindDeviation:
		return deviation
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

// Package passes rewrites step programs into cheaper ones that compute the same: fewer reads and writes of memory, fewer
// bytes alive. A pass is a function from a graph, or from a list of ops, to another; it knows no method and no device, and
// leaves a program that graph.Verify accepts. In the order in which core runs them:
//
//  1. FuseNorm, before reverse mode: normalisation, residual sum and activation become one op (operator fusion), so the
//     backward pass saves one tensor of three.
//  2. DropDead, in an evaluation: dead code elimination.
//  3. DropDetach: stop-gradient ops have done their work once the backward pass is written.
//  4. FuseGradientSum: the sum of a residual block's two gradients is fused into the norm_backward that reads it.
//  5. FuseNormInput, if asked for: convolutions normalise their input while they read it (prologue fusion), and the normalised
//     tensor does not exist.
//  6. Recompute: rematerialization. The backward pass recomputes activations (Chen et al., "Training Deep Nets with Sublinear
//     Memory Cost", 2016). RecomputeSegments is the same for whole segments, as eager frameworks checkpoint.
//  7. MarkSaved: activations that the backward pass reads get the category of saved activations.
//  8. DropUnused: values that no op uses any more are removed, and ids are renumbered.
//  9. Mixed: bf16 activations and gradients, f32 master weights (Micikevicius et al., "Mixed Precision Training", 2018).
//  10. Store: saved activations are compressed between forward and backward pass (Chen et al., "ActNN: Reducing Training Memory
//     Footprint via 2-Bit Activation Compressed Training", 2021).
//  11. FuseNormStatistics, if asked for: convolutions compute the statistics of their results (epilogue fusion).
//  12. FuseNormGradient, if asked for: the backward pass of a convolution computes the gradient of its result while it reads what
//     the normalisation's backward pass would compute it from, and that gradient does not exist.
//  13. InPlace: a result aliases an operand that is not read any more.
//  14. Overlap: list scheduling of the local modules on several streams (Belilovsky et al., "Decoupled Greedy Learning of
//     CNNs", 2020); last, because it depends on the order of the ops.
package passes

import (
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// Pass is a named rewriting of a whole program. It leaves a program that graph.Verify accepts, or fails.
type Pass struct {
	Name string // as `benchctl plan --dump` takes it: "mark-saved"
	Run  func(*graph.Graph) error
}

// Apply runs the passes in order. After is called with the program after each pass; its error, like that of a pass,
// ends Apply and is reported with the name of the pass.
func Apply(g *graph.Graph, list []Pass, after func(p Pass, g *graph.Graph) error) error {
	for _, p := range list {
		if err := p.Run(g); err != nil {
			return fmt.Errorf("pass %s: %w", p.Name, err)
		}
		if err := after(p, g); err != nil {
			return fmt.Errorf("after pass %s: %w", p.Name, err)
		}
	}
	return nil
}

// Always makes a pass of a rewriting that can't fail.
func Always(name string, rewrite func(*graph.Graph)) Pass {
	return Pass{name, func(g *graph.Graph) error {
		rewrite(g)
		return nil
	}}
}

// DropDetach removes the detach ops once gradients exist: ops that read the
// detached value read the value itself.
func DropDetach(g *graph.Graph) {
	source := map[*graph.Value]*graph.Value{}
	g.Ops = slices.DeleteFunc(g.Ops, func(op *graph.Op) bool {
		for i, v := range op.Operands {
			if s := source[v]; s != nil {
				op.Operands[i] = s
			}
		}
		if op.Kind == graph.KindDetach {
			source[op.Results[0]] = op.Operands[0]
			return true
		}
		return false
	})
}

// DropDead removes ops that lead to none of the outputs and update nothing.
func DropDead(ops []*graph.Op, outputs []*graph.Value) []*graph.Op {
	needed := map[*graph.Value]bool{}
	for _, v := range outputs {
		needed[v] = true
	}
	var alive []*graph.Op
	for _, op := range slices.Backward(ops) {
		if len(op.Mutates()) == 0 && !slices.ContainsFunc(op.Results, func(v *graph.Value) bool { return needed[v] }) {
			continue
		}
		for _, v := range op.Operands {
			needed[v] = true
		}
		alive = append(alive, op)
	}
	slices.Reverse(alive)
	return alive
}

// DropUnused removes values that no op makes or reads any more and renumbers the
// others. Outputs and inputs stay.
func DropUnused(g *graph.Graph) {
	used := map[*graph.Value]bool{}
	for _, op := range g.Ops {
		for _, v := range op.Operands {
			used[v] = true
		}
		for _, v := range op.Results {
			used[v] = true
		}
	}
	for _, v := range g.Outputs {
		used[v] = true
	}
	for _, v := range g.Inputs {
		used[v] = true
	}
	g.Values = slices.DeleteFunc(g.Values, func(v *graph.Value) bool { return !used[v] })
	for i, v := range g.Values {
		v.ID = i
	}
}

// MarkSaved gives activations that a backward op reads the category
// CategorySaved: they are kept from the forward to the backward pass.
func MarkSaved(g *graph.Graph) {
	for _, op := range g.Ops {
		if op.Phase != graph.PhaseBackward {
			continue
		}
		for _, v := range op.Operands {
			if v != nil && v.Category == graph.CategoryActivation {
				v.Category = graph.CategorySaved
			}
		}
	}
}

// InPlace makes results alias operands that no later op reads,
// where the kind of op allows it. The first permitted pair of the kind wins.
func InPlace(g *graph.Graph) {
	last := g.LastUse()
	for i, op := range g.Ops {
		taken := map[*graph.Value]bool{}
		for _, p := range op.InPlace() {
			r, o := op.Results[p.Result], op.Operands[p.Operand]
			if r.Shares != nil || taken[o] || last[o.ID] != i || o.Category.Persistent() || o.Category == graph.CategoryInput {
				continue
			}
			r.Shares, taken[o] = o, true
		}
	}
}

// Package passes rewrites step programs into cheaper ones that compute the same:
// fewer passes over memory, fewer bytes alive. Each pass is one function over a
// list of ops or a graph, knows no method and no device, and leaves a program
// that graph.Verify accepts.
package passes

import (
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// FuseNorm rewrites, in a run of forward ops, normalisation + add + ReLU and
// normalisation + activation into the normalisation itself: one pass over memory
// instead of three, and one tensor instead of three. It runs before reverse
// mode, so what it removes is never saved.
func FuseNorm(ops []*graph.Op) []*graph.Op {
	users := countUsers(ops)
	maker := map[*graph.Value]*graph.Op{}
	dead := map[*graph.Op]bool{}
	for _, op := range ops {
		switch op.Kind {
		case graph.KindAdd:
			// The later of two normalisations takes the other side as residual:
			// only then is that side made before it.
			norm, residual := fusableSum(op, maker, users)
			if norm == nil {
				break
			}
			norm.Operands[normResidual] = residual
			norm.Results = op.Results
			dead[op] = true
			op = norm
		case graph.KindReLU, graph.KindSiLU:
			norm, activation := maker[op.Operands[0]], op.Attr.Activation
			if op.Kind == graph.KindSiLU {
				activation = graph.ActivationSiLU
			}
			if norm == nil || norm.Kind != graph.KindNormApply || norm.Attr.Activation != graph.ActivationNone || users[op.Operands[0]] != 1 ||
				norm.Operands[normResidual] != nil && !activation.Rectifies() {
				break
			}
			norm.Attr.Activation = activation
			norm.Results = op.Results
			dead[op] = true
			op = norm
		}
		for _, r := range op.Results {
			maker[r] = op
		}
	}
	return moveFusedDown(slices.DeleteFunc(slices.Clone(ops), func(op *graph.Op) bool { return dead[op] }))
}

// normResidual is the operand of norm_apply that is added.
const normResidual = 5

// fusableSum returns the normalisation that can do the addition, and what it
// has to add.
func fusableSum(sum *graph.Op, maker map[*graph.Value]*graph.Op, users map[*graph.Value]int) (*graph.Op, *graph.Value) {
	for side := range 2 {
		v := sum.Operands[side]
		norm := maker[v]
		if norm != nil && norm.Kind == graph.KindNormApply && norm.Attr.Activation == graph.ActivationNone && norm.Operands[normResidual] == nil && users[v] == 1 {
			return norm, sum.Operands[1-side]
		}
	}
	return nil, nil
}

// moveFusedDown restores program order: a normalisation that got a residual
// made after it moves to just behind the maker of that residual.
func moveFusedDown(ops []*graph.Op) []*graph.Op {
	made := map[*graph.Value]bool{}
	for _, op := range ops {
		for _, r := range op.Results {
			made[r] = false
		}
	}
	out := make([]*graph.Op, 0, len(ops))
	waiting := map[*graph.Value][]*graph.Op{}
	var emit func(op *graph.Op)
	emit = func(op *graph.Op) {
		for _, v := range op.Operands {
			if done, inside := made[v]; inside && !done {
				waiting[v] = append(waiting[v], op)
				return
			}
		}
		out = append(out, op)
		for _, r := range op.Results {
			made[r] = true
			for _, w := range waiting[r] {
				emit(w)
			}
		}
	}
	for _, op := range ops {
		emit(op)
	}
	return out
}

// DropDetach removes the detach ops once gradients exist: what read the
// detached value reads the value itself.
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

// FuseGradientSum rewrites add + norm_backward into a norm_backward that reads
// both gradients: at a residual block's border the sum of the two branches is
// formed while it is read, which saves a write and two reads of it.
func FuseGradientSum(g *graph.Graph) {
	users := countUsers(g.Ops)
	sums := map[*graph.Value]*graph.Op{}
	dead := map[*graph.Op]bool{}
	for _, op := range g.Ops {
		if op.Kind == graph.KindAdd && op.Phase == graph.PhaseBackward && users[op.Results[0]] == 1 {
			sums[op.Results[0]] = op
		}
		if op.Kind != graph.KindNormBackward {
			continue
		}
		if sum := sums[op.Operands[graph.NormBackwardGradient]]; sum != nil {
			op.Operands[graph.NormBackwardGradient] = sum.Operands[0]
			op.Operands[graph.NormBackwardSecondGradient] = sum.Operands[1]
			dead[sum] = true
		}
	}
	g.Ops = slices.DeleteFunc(g.Ops, func(op *graph.Op) bool { return dead[op] })
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

// DropUnused removes values that no op makes or reads any more and numbers the
// rest afresh. Outputs and inputs stay.
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
// CategorySaved: what the forward pass leaves behind for the backward pass.
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

// InPlace lets results take over the storage of operands that die at their op,
// wherever the kind of op allows it. The first permitted pair of the kind wins.
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

func countUsers(ops []*graph.Op) map[*graph.Value]int {
	users := map[*graph.Value]int{}
	for _, op := range ops {
		for _, v := range op.Operands {
			users[v]++
		}
	}
	return users
}

// Recompute makes the backward pass compute again what it would have read: every
// activation that drop names is, from its first use in the backward pass on, a
// second one, made by copies of the ops that made the first. The copies stand just
// before that use, in the order of the first ones, and read what was not dropped. So
// the first ones die in the forward pass, and nothing else changes: the copies are
// the same kernels on the same operands.
//
// Ops that update running statistics must not be copied: drop must not name
// their results.
func Recompute(g *graph.Graph, drop func(*graph.Value) bool) {
	maker := map[*graph.Value]*graph.Op{}
	again := map[*graph.Value]*graph.Value{}
	var out []*graph.Op
	var remake func(v *graph.Value, at *graph.Op) *graph.Value
	remake = func(v *graph.Value, at *graph.Op) *graph.Value {
		first := maker[v]
		if v == nil || first == nil || !drop(v) {
			return v
		}
		if again[v] != nil {
			return again[v]
		}
		op := *first
		op.Phase, op.Scope = at.Phase, first.Scope
		op.Operands, op.Results = slices.Clone(first.Operands), nil
		for i, x := range op.Operands {
			op.Operands[i] = remake(x, at)
		}
		for _, r := range first.Results {
			second := *r
			second.Name, second.ID = r.Name+" again", len(g.Values)
			g.Values = append(g.Values, &second)
			op.Results = append(op.Results, &second)
			again[r] = &second
		}
		out = append(out, &op)
		return again[v]
	}
	for _, op := range g.Ops {
		if op.Phase == graph.PhaseBackward {
			for i, v := range op.Operands {
				op.Operands[i] = remake(v, op)
			}
		} else if op.Phase != graph.PhaseUpdate {
			for _, r := range op.Results {
				maker[r] = op
			}
		}
		out = append(out, op)
	}
	g.Ops = out
}

// RecomputeSegments makes the backward pass compute again whole segments of the forward pass, as checkpointing in
// eager frameworks does: just before the first op of the backward pass of a segment stand copies of all its ops. The
// backward pass of the segment reads the copies' results; its operands from outside stay. Copies do not update running
// statistics. A segment is a list of ops of the forward pass; an op is in at most one.
func RecomputeSegments(g *graph.Graph, segments [][]*graph.Op) {
	segmentOf := map[*graph.Op]int{} // counted from 1
	for i, ops := range segments {
		for _, op := range ops {
			segmentOf[op] = i + 1
		}
	}
	copies := make([]map[*graph.Value]*graph.Value, len(segments)+1) // by segment; nil before it is recomputed
	copied := map[*graph.Op]*graph.Op{}
	var out []*graph.Op
	replace := func(s int, operands []*graph.Value) {
		for i, v := range operands {
			if second := copies[s][v]; second != nil {
				operands[i] = second
			}
		}
	}
	for _, op := range g.Ops {
		if s := segmentOf[op.Forward]; s > 0 {
			if copies[s] == nil {
				copies[s] = map[*graph.Value]*graph.Value{}
				for _, first := range segments[s-1] {
					second := *first
					second.Phase, second.Operands, second.Results = op.Phase, slices.Clone(first.Operands), nil
					replace(s, second.Operands)
					if second.Kind == graph.KindNormStats {
						second.Operands[1], second.Operands[2] = nil, nil
					}
					for _, r := range first.Results {
						v := *r
						v.Name, v.ID = r.Name+" again", len(g.Values)
						g.Values = append(g.Values, &v)
						second.Results = append(second.Results, &v)
						copies[s][r] = &v
					}
					copied[first] = &second
					out = append(out, &second)
				}
			}
			replace(s, op.Operands)
			op.Forward = copied[op.Forward]
		}
		out = append(out, op)
	}
	g.Ops = out
}

// NormResults lists the results of normalisations that Recompute may drop: all
// but every chain-th along a line of residual blocks, each of which is made from
// the one before. So no more than that many are made again for the sake of one. What
// another local module reads is kept: to make it again, its own module would have
// to stay alive. What keep names is kept, too.
func NormResults(g *graph.Graph, chain int, keep map[*graph.Value]bool) []*graph.Value {
	var drop []*graph.Value
	border := map[*graph.Value]bool{}
	for _, op := range g.Ops {
		for _, v := range op.Operands {
			if v != nil && v.Module != op.Module {
				border[v] = true
			}
		}
	}
	depth := map[*graph.Value]int{} // of a result that is dropped: what has to be made again for it, itself included
	for _, op := range g.Ops {
		if op.Kind != graph.KindNormApply || op.Phase == graph.PhaseBackward {
			continue
		}
		v, n := op.Results[0], 1
		if residual := op.Operands[normResidual]; residual != nil {
			n += depth[residual]
		}
		if n < chain && !border[v] && !keep[v] {
			depth[v] = n
			drop = append(drop, v)
		}
	}
	return drop
}

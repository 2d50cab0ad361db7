package passes

import (
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// Recompute makes the backward pass recompute activations instead of reading saved ones: every activation for which drop is
// true is, from its first use in the backward pass on, replaced by a second one, which copies of the ops that made the first
// one write. The copies are inserted just before that use, in the order of the originals, and read what was not dropped. So
// the first activations die in the forward pass, and nothing else changes: the copies are the same kernels on the same
// operands, with the same results to the bit.
//
// Ops that update running statistics must not be copied: drop must be false for their results.
func Recompute(g *graph.Graph, drop func(*graph.Value) bool) {
	r := recomputer{graph: g, drop: drop, maker: map[*graph.Value]*graph.Op{}, copies: map[*graph.Value]*graph.Value{}}
	for _, op := range g.Ops {
		if op.Phase == graph.PhaseBackward {
			for i, v := range op.Operands {
				op.Operands[i] = r.value(v, op)
			}
		} else if op.Phase != graph.PhaseUpdate {
			for _, v := range op.Results {
				r.maker[v] = op
			}
		}
		r.ops = append(r.ops, op)
	}
	g.Ops = r.ops
}

// recomputer is the state of Recompute.
type recomputer struct {
	graph  *graph.Graph
	drop   func(*graph.Value) bool
	ops    []*graph.Op                   // the new program so far
	maker  map[*graph.Value]*graph.Op    // of values of the forward pass
	copies map[*graph.Value]*graph.Value // recomputed values, by the original
}

// value returns what op of the backward pass reads instead of v: v itself, if it is not dropped, or the recomputed value,
// whose ops it adds to the program if they are not there yet.
func (r *recomputer) value(v *graph.Value, op *graph.Op) *graph.Value {
	maker := r.maker[v]
	if v == nil || maker == nil || !r.drop(v) {
		return v
	}
	if r.copies[v] == nil {
		operands := slices.Clone(maker.Operands)
		for i, x := range operands {
			operands[i] = r.value(x, op)
		}
		r.ops = append(r.ops, copyOf(r.graph, maker, op.Phase, operands, r.copies))
	}
	return r.copies[v]
}

// copyOf returns a copy of a forward op in another phase, with these operands and new results, which it adds to copies.
func copyOf(g *graph.Graph, op *graph.Op, phase graph.Phase, operands []*graph.Value,
	copies map[*graph.Value]*graph.Value) *graph.Op {
	second := *op
	second.Phase, second.Operands, second.Results = phase, operands, nil
	for _, v := range op.Results {
		c := *v
		c.Name, c.ID, c.Recomputes = v.Name+recomputedSuffix, len(g.Values), v
		g.Values = append(g.Values, &c)
		second.Results = append(second.Results, &c)
		copies[v] = &c
	}
	return &second
}

// recomputedSuffix makes the name of a recomputed value. Names are in records and baselines, so it stays as it is; code reads
// graph.Value.Recomputes.
const recomputedSuffix = " again"

// RecomputeSegments makes the backward pass recompute whole segments of the forward pass, as checkpointing in
// eager frameworks does: copies of all ops of a segment are inserted just before the first op of its backward pass. The
// backward pass of the segment reads the copies' results; operands from outside of the segment stay. Copies do not update
// running statistics. A segment is a list of ops of the forward pass; an op is in at most one.
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
	for _, op := range g.Ops {
		if s := segmentOf[op.Forward]; s > 0 {
			if copies[s] == nil {
				copies[s] = map[*graph.Value]*graph.Value{}
				for _, first := range segments[s-1] {
					operands := replaced(first.Operands, copies[s])
					if first.Kind == graph.KindNormStats {
						operands[1], operands[2] = nil, nil // the running statistics
					}
					copied[first] = copyOf(g, first, op.Phase, operands, copies[s])
					out = append(out, copied[first])
				}
			}
			op.Operands = replaced(op.Operands, copies[s])
			op.Forward = copied[op.Forward]
		}
		out = append(out, op)
	}
	g.Ops = out
}

// replaced returns operands with those that have copies replaced.
func replaced(operands []*graph.Value, copies map[*graph.Value]*graph.Value) []*graph.Value {
	out := slices.Clone(operands)
	for i, v := range operands {
		if c := copies[v]; c != nil {
			out[i] = c
		}
	}
	return out
}

// NormResults lists the results of normalisations that Recompute may drop: all except every chain-th along a line of
// residual blocks, each of which is computed from the one before. So recomputing one recomputes at most chain - 1. A result
// that another local module reads is saved: to recompute it, its own module would have to stay alive. So is any in keep.
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
	depth := map[*graph.Value]int{} // of a dropped result: how many are recomputed for it, including itself
	for _, op := range g.Ops {
		if op.Kind != graph.KindNormApply && op.Kind != graph.KindLayerNorm || op.Phase == graph.PhaseBackward {
			continue
		}
		v, n := op.Results[0], 1
		if op.Kind == graph.KindNormApply && op.Operands[normResidual] != nil {
			n += depth[op.Operands[normResidual]]
		}
		if n < chain && !border[v] && !keep[v] {
			depth[v] = n
			drop = append(drop, v)
		}
	}
	return drop
}

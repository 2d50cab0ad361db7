package plan

import (
	"math"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// heaviestAntichain returns a maximum-weight antichain of the lifetimes, and its weight: lifetimes that overlap pairwise in
// some order in which the streams may run, so that each needs bytes of its own. The order is partial: a lifetime precedes
// another if it is sure to end before the other begins.
//
// By Dilworth's theorem, with weights, its weight is the least total weight of chains that cover every lifetime with its
// weight; a chain is a sequence of lifetimes of which each precedes the next. That is the sum of all weights, less the
// maximum flow from lifetimes to lifetimes that they precede: weight that flows is covered by a chain that exists already.
//
// A lifetime precedes those that begin at its reuseFrom of any stream, or later in that stream. So the network needs no edge
// for each pair: lifetimes have edges to the ops of their reuseFrom, each op has one to the next of its stream, and one to
// the sink with the weight of the lifetimes that it begins.
func heaviestAntichain(g *graph.Graph, lifetimes []lifetime, weights []int64) (antichain []int, weight int64) {
	ops := len(g.Ops)
	source, sink := ops, ops+1
	node := func(lifetime int) int { return ops + 2 + lifetime }
	f := newFlowNetwork(ops+2+len(lifetimes), 2*ops+len(lifetimes)*(1+g.Streams()))
	begins := make([]int64, ops) // by op: weight of the lifetimes that begin at it
	for i, a := range lifetimes {
		weight += weights[i]
		f.addEdge(source, node(i), weights[i])
		for _, op := range a.reuseFrom {
			if op != noReuse {
				f.addEdge(node(i), op, unlimited)
			}
		}
		if a.begin >= 0 {
			begins[a.begin] += weights[i]
		}
	}
	next := slices.Repeat([]int{-1}, g.Streams())
	for op, o := range slices.Backward(g.Ops) {
		f.addEdge(op, sink, begins[op])
		if next[o.Stream] >= 0 {
			f.addEdge(op, next[o.Stream], unlimited)
		}
		next[o.Stream] = op
	}
	weight -= f.maxFlow(source, sink)
	// The minimum cut: lifetimes on the side of the source whose first op is on the side of the sink.
	for i, a := range lifetimes {
		if f.reached(node(i)) && (a.begin < 0 || !f.reached(a.begin)) {
			antichain = append(antichain, i)
		}
	}
	return antichain, weight
}

// unlimited is the capacity of edges that no cut goes through.
const unlimited = math.MaxInt64

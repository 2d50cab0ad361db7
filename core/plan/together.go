package plan

import (
	"math"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// together returns the heaviest set of lifetimes of which none ends before another
// begins, and its weight: bytes that need a place of their own each, whatever the order in
// which lanes run.
//
// By Dilworth's theorem its weight is the least with which chains cover all weights, a
// chain being lifetimes of which each ends before the next begins. Chains are flow: as
// much of a lifetime's weight as can be handed on to later ones needs no chain of its own.
// A lifetime may hand on to those that begin at or behind its first op over of each lane, so
// the network is the lanes, with an edge from each op to the next of its lane.
func together(g *graph.Graph, lives []life, weights []int64) (set []int, weight int64) {
	ops := len(g.Ops)
	source, sink := ops, ops+1
	f := newFlow(ops+2+len(lives), 2*ops+len(lives)*(1+g.Streams()))
	wanted := make([]int64, ops) // weight that begins, by op
	for i, a := range lives {
		weight += weights[i]
		f.edge(source, ops+2+i, weights[i])
		for _, op := range a.over {
			if op != noReuse {
				f.edge(ops+2+i, op, math.MaxInt64)
			}
		}
		if a.begin >= 0 {
			wanted[a.begin] += weights[i]
		}
	}
	next := slices.Repeat([]int{-1}, g.Streams())
	for op, o := range slices.Backward(g.Ops) {
		f.edge(op, sink, wanted[op])
		if next[o.Stream] >= 0 {
			f.edge(op, next[o.Stream], math.MaxInt64)
		}
		next[o.Stream] = op
	}
	weight -= f.maximum(source, sink)
	// The cut: what could hand on more, and begins where no more is wanted by such.
	for i, a := range lives {
		if f.level[ops+2+i] >= 0 && (a.begin < 0 || f.level[a.begin] < 0) {
			set = append(set, i)
		}
	}
	return set, weight
}

// flow is a network for Dinic's algorithm.
type flow struct {
	to, next []int   // by edge; edge e^1 is its reverse
	left     []int64 // capacity left
	first    []int   // by node: its first edge; -1: none
	level    []int   // by node: edges from the source, -1 if there is no way
	at       []int   // by node: the edge to try next
}

func newFlow(nodes, edges int) *flow {
	f := &flow{first: slices.Repeat([]int{-1}, nodes), level: make([]int, nodes), at: make([]int, nodes)}
	f.to, f.next, f.left = make([]int, 0, 2*edges), make([]int, 0, 2*edges), make([]int64, 0, 2*edges)
	return f
}

func (f *flow) edge(from, to int, capacity int64) {
	for _, e := range [2]struct {
		from, to int
		capacity int64
	}{{from, to, capacity}, {to, from, 0}} {
		f.to, f.left, f.next = append(f.to, e.to), append(f.left, e.capacity), append(f.next, f.first[e.from])
		f.first[e.from] = len(f.to) - 1
	}
}

// maximum sends as much as there is room for. Then level is -1 on the far side of the
// smallest cut.
func (f *flow) maximum(source, sink int) (sum int64) {
	for f.levels(source); f.level[sink] >= 0; f.levels(source) {
		copy(f.at, f.first)
		for sent := f.send(source, sink, math.MaxInt64); sent > 0; sent = f.send(source, sink, math.MaxInt64) {
			sum += sent
		}
	}
	return sum
}

func (f *flow) levels(source int) {
	for i := range f.level {
		f.level[i] = -1
	}
	f.level[source] = 0
	for queue := []int{source}; len(queue) > 0; queue = queue[1:] {
		for e := f.first[queue[0]]; e >= 0; e = f.next[e] {
			if f.left[e] > 0 && f.level[f.to[e]] < 0 {
				f.level[f.to[e]] = f.level[queue[0]] + 1
				queue = append(queue, f.to[e])
			}
		}
	}
}

// send pushes at most so much from node to the sink, along one way.
func (f *flow) send(node, sink int, most int64) int64 {
	if node == sink {
		return most
	}
	for ; f.at[node] >= 0; f.at[node] = f.next[f.at[node]] {
		e := f.at[node]
		if f.left[e] == 0 || f.level[f.to[e]] != f.level[node]+1 {
			continue
		}
		if sent := f.send(f.to[e], sink, min(most, f.left[e])); sent > 0 {
			for _, change := range [2]struct {
				edge int
				by   int64
			}{{e, -sent}, {e ^ 1, sent}} {
				if f.left[change.edge] != math.MaxInt64 { // else it has no limit
					f.left[change.edge] += change.by
				}
			}
			return sent
		}
	}
	return 0
}

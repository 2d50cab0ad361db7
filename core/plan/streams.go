package plan

import (
	"math"
	"slices"
	"sort"

	"github.com/localbench/localbench/core/graph"
)

// Programs of several streams. Which ops run at the same time is known only when they run, so a lifetime is not an interval
// of positions. What is known is the partial order of the ops: two storages may share bytes if every op that touches one is
// sure to have ended when the op that writes the other begins. Everything else is as with one stream, with "ends before the
// other begins" in that sense: what can be alive at the same time is an antichain of that order, the heaviest one is the
// peak, and lifetimes that may overlap are neighbours in the interference graph. With one stream the antichains are the
// sets that are alive at one op.

// lifetime is the lifetime of a storage in the partial order of the ops.
type lifetime struct {
	begin     int   // the op that writes it first; -1: written before the first op
	reuseFrom []int // by stream: the first op that may reuse the bytes; noReuse if no op may
}

// noReuse is a sentinel: no later op may reuse the bytes.
const noReuse = math.MaxInt

// endsBefore reports whether the bytes are free when the op begins.
func (a lifetime) endsBefore(op int, ops []*graph.Op) bool {
	return op >= 0 && op >= a.reuseFrom[ops[op].Stream]
}

// lifetimesOf returns the lifetimes of the storages of the occupancies.
func lifetimesOf(g *graph.Graph, occupied []occupancy) []lifetime {
	order, byStream := g.Order(), make([][]int, g.Streams())
	for i, op := range g.Ops {
		byStream[op.Stream] = append(byStream[op.Stream], i)
	}
	last := lastTouch(g, occupied)
	all := make([]lifetime, len(last))
	for _, o := range slices.Backward(occupied) { // so that the first occupancy of a storage sets its begin
		all[o.storage] = lifetime{o.op, firstReuse(order, byStream, last[o.storage])}
	}
	return all
}

// firstReuse returns, by stream, the first op that is sure to begin after the last touches of all streams have ended.
func firstReuse(order *graph.Order, byStream [][]int, last []int) []int {
	first := make([]int, len(byStream))
	for s, ops := range byStream {
		at := sort.Search(len(ops), func(k int) bool {
			for other, op := range last {
				if op > order.Ended(ops[k], other) {
					return false
				}
			}
			return true
		})
		if first[s] = noReuse; at < len(ops) {
			first[s] = ops[at]
		}
	}
	return first
}

// lastTouch returns, by storage and stream, the last op that writes or reads the storage; -1 if none does, and noReuse for
// what is read after the last op.
func lastTouch(g *graph.Graph, occupied []occupancy) [][]int {
	var last [][]int
	storageOf := slices.Repeat([]int{-1}, len(g.Values))
	touch := func(storage, op int) {
		stream := g.Ops[op].Stream
		last[storage][stream] = max(last[storage][stream], op)
	}
	for _, o := range occupied {
		if o.storage == len(last) {
			last = append(last, slices.Repeat([]int{-1}, g.Streams()))
		}
		if len(g.Ops) > 0 { // an input that no op reads is alive at the first op, as with one stream
			touch(o.storage, max(o.op, 0))
		}
		if o.value != nil {
			storageOf[o.value.ID] = o.storage
		}
	}
	for at, op := range g.Ops {
		for _, v := range op.Operands {
			if v != nil && storageOf[v.ID] >= 0 {
				touch(storageOf[v.ID], at)
			}
		}
	}
	for _, v := range g.Outputs {
		if storageOf[v.ID] >= 0 {
			last[storageOf[v.ID]][0] = noReuse
		}
	}
	return last
}

// packStreams is pack for several streams. Bound is the weight of the heaviest antichain, which the search tries to reach.
func packStreams(g *graph.Graph, storages []storage, lifetimes []lifetime, bound, enough int64) (offsets []int64, top int64) {
	// The orders of the search compare positions: a storage ends at the last op that may overlap it.
	stretched := slices.Clone(storages)
	for i := range stretched {
		end := slices.Max(lifetimes[i].reuseFrom)
		stretched[i].end = max(stretched[i].start, min(end, len(g.Ops))-1)
	}
	return search(stretched, loadByOp(opCount(g), stretched), bound, enough, newInterferenceGraph(g, stretched, lifetimes))
}

// interferenceGraph is a free-space index of storages whose lifetimes are not intervals: two are neighbours if they may be
// alive at the same time, as variables are in a register allocator (Chaitin et al., 1981).
type interferenceGraph struct {
	neighbours [][]int32 // by storage
	placed     []span    // by storage; high 0: not placed
	taken      []span    // reused by fit
	work       int       // neighbours looked at so far
}

func newInterferenceGraph(g *graph.Graph, storages []storage, lifetimes []lifetime) *interferenceGraph {
	x := &interferenceGraph{neighbours: make([][]int32, len(storages)), placed: make([]span, len(storages))}
	for i, a := range lifetimes { // they begin in program order
		for j := i + 1; j < len(lifetimes) && lifetimes[j].begin <= storages[i].end; j++ {
			if !a.endsBefore(lifetimes[j].begin, g.Ops) {
				x.neighbours[i], x.neighbours[j] = append(x.neighbours[i], int32(j)), append(x.neighbours[j], int32(i))
			}
		}
	}
	return x
}

func (x *interferenceGraph) clear() { clear(x.placed) }

// spent counts a neighbour as a tenth of a span: a query looks at every neighbour, where the segment tree joins spans that
// touch, so a search for several streams may take ten times as long as one for a single stream.
func (x *interferenceGraph) spent() int { return x.work / 10 }

func (x *interferenceGraph) take(i int, s storage, offset int64) {
	x.placed[i] = span{offset, offset + s.bytes}
}

func (x *interferenceGraph) fit(i int, s storage, limit int64) int64 {
	x.taken = x.taken[:0]
	for _, j := range x.neighbours[i] {
		if x.placed[j].high > 0 {
			x.taken = append(x.taken, x.placed[j])
		}
	}
	x.work += 8 + len(x.neighbours[i])
	return smallestGap(x.taken, s.bytes, limit)
}

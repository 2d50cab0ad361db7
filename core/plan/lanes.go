package plan

import (
	"slices"
	"sort"

	"github.com/localbench/localbench/core/graph"
)

// Programs of several lanes. Which ops run at the same time is known only when they
// run, so a lifetime is no interval of positions. What is known is the partial order of
// the ops: two storages may have the same bytes if all that touches the one is sure to
// have ended when the op that makes the other begins. From there on everything is as
// in one lane, with "ends before the other begins" in that sense: what lies at the same
// time in the arena is a set of which none ends before another begins, and the
// largest sum of such a set is the peak. With one lane such a set is what is alive at
// one op.

// life is the lifetime of bytes in the partial order.
type life struct {
	begin int   // the op that makes them; -1: there before the first
	over  []int // by lane: the first op that may have the same bytes; the number of ops: none
}

// endsBefore reports whether the bytes are free when the op begins.
func (a life) endsBefore(op int, ops []*graph.Op) bool {
	return op >= 0 && op >= a.over[ops[op].Stream]
}

// lives returns the lifetimes of the storages of the occupancies.
func lives(g *graph.Graph, occupied []occupancy) []life {
	order, ops := g.Order(), make([][]int, g.Streams())
	for i, op := range g.Ops {
		ops[op.Stream] = append(ops[op.Stream], i)
	}
	last := lastTouch(g, occupied)
	all := make([]life, len(last))
	for _, o := range slices.Backward(occupied) { // so that the first of a storage stays
		all[o.storage] = life{o.op, over(order, ops, last[o.storage])}
	}
	return all
}

// over returns, by lane, the first op that is sure to begin after the touches have ended.
func over(order *graph.Order, ops [][]int, last []int) []int {
	first := make([]int, len(ops))
	for l, in := range ops {
		at := sort.Search(len(in), func(k int) bool {
			for other, op := range last {
				if op > order.Ended(in[k], other) {
					return false
				}
			}
			return true
		})
		if first[l] = noReuse; at < len(in) {
			first[l] = in[at]
		}
	}
	return first
}

// noReuse is the position of an op that there is not.
const noReuse = int(^uint(0) >> 1)

// lastTouch returns, by storage and lane, the last op that makes or reads what lies in
// it, -1 if none does, or noReuse for what is read after the last op.
func lastTouch(g *graph.Graph, occupied []occupancy) [][]int {
	var last [][]int
	of := slices.Repeat([]int{-1}, len(g.Values)) // storage, by value
	touch := func(storage, op int) {
		lane := g.Ops[op].Stream
		last[storage][lane] = max(last[storage][lane], op)
	}
	for _, o := range occupied {
		if o.storage == len(last) {
			last = append(last, slices.Repeat([]int{-1}, g.Streams()))
		}
		if len(g.Ops) > 0 { // an input that nobody reads is there for the first op, as in one lane
			touch(o.storage, max(o.op, 0))
		}
		if o.value != nil {
			of[o.value.ID] = o.storage
		}
	}
	for at, op := range g.Ops {
		for _, v := range op.Operands {
			if v != nil && of[v.ID] >= 0 {
				touch(of[v.ID], at)
			}
		}
	}
	for _, v := range g.Outputs {
		if of[v.ID] >= 0 {
			last[of[v.ID]][0] = noReuse
		}
	}
	return last
}

// packLanes is pack for several lanes, with the bound that it is to reach.
func packLanes(g *graph.Graph, storages []storage, lives []life, bound, enough int64) (offsets []int64, top int64) {
	// The orders of the search go by positions: a storage ends at the last op that it may
	// meet.
	stretched := slices.Clone(storages)
	for i := range stretched {
		end := slices.Max(lives[i].over)
		stretched[i].end = max(stretched[i].start, min(end, len(g.Ops))-1)
	}
	return search(stretched, loadByOp(opCount(g), stretched), bound, enough, newMeetings(g, stretched, lives))
}

// meetings is the room of storages of which each meets some others: those that may be
// alive at the same time.
type meetings struct {
	of      [][]int32 // by storage
	placed  []span    // by storage; high 0: not placed
	taken   []span    // scratch memory of fit
	work    int
	storage []storage
}

func newMeetings(g *graph.Graph, storages []storage, lives []life) *meetings {
	m := &meetings{of: make([][]int32, len(storages)), placed: make([]span, len(storages)), storage: storages}
	for i, a := range lives { // they begin in the order of the program
		for j := i + 1; j < len(lives) && lives[j].begin <= storages[i].end; j++ {
			if !a.endsBefore(lives[j].begin, g.Ops) {
				m.of[i], m.of[j] = append(m.of[i], int32(j)), append(m.of[j], int32(i))
			}
		}
	}
	return m
}

func (m *meetings) clear() { clear(m.placed) }

func (m *meetings) spent() int { return m.work / laneWork }

// laneWork is how much longer than one of one lane a search for several lanes may take:
// here a query looks at every storage, where space joins those that touch.
const laneWork = 10

func (m *meetings) take(i int, s storage, offset int64) { m.placed[i] = span{offset, offset + s.bytes} }

func (m *meetings) fit(i int, s storage, limit int64) int64 {
	m.taken = m.taken[:0]
	for _, j := range m.of[i] {
		if m.placed[j].high > 0 {
			m.taken = append(m.taken, m.placed[j])
		}
	}
	m.work += 8 + len(m.of[i])
	return smallestGap(m.taken, s.bytes, limit)
}

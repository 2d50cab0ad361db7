package plan

import (
	"cmp"
	"math/bits"
	"slices"
)

// The search. Storages are placed one after the other: each into the smallest
// gap that is free for its whole lifetime, gaps below the lower bound first.
// What differs is the order. No order is best for all programs, so several are
// tried; the search ends when one meets the bound, and gives up an order as
// soon as it is no better than the best so far. What is left above the bound is
// attacked by repair: the storages that stick out are placed earlier.

// pack returns an offset for each storage and the size of the arena they need.
// Loads are the bytes alive by op. The search ends at an arena of at most enough bytes.
func pack(storages []storage, loads []int64, enough int64) (offsets []int64, top int64) {
	return search(storages, loads, slices.Max(loads), enough, newSpace(len(loads)))
}

// room knows which bytes are taken, and by which storages, of a layout on its way.
// Storages are named by position and by content.
type room interface {
	clear()
	take(i int, s storage, offset int64)
	// fit returns the start of the smallest gap that storage i can lie in. The space below
	// limit and above all that is taken counts as a gap; where no gap fits, the result is
	// what lies above all that is taken.
	fit(i int, s storage, limit int64) int64
	spent() int // spans looked at so far
}

// search is pack with the room and the bound that it is to reach.
func search(storages []storage, loads []int64, bound, enough int64, free room) (offsets []int64, top int64) {
	p := &packer{storages: storages, bound: bound, enough: max(bound, enough), free: free, offsets: make([]int64, len(storages))}
	for _, compare := range orders(storages, loads) {
		order := make([]int, len(storages))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, compare)
		if p.place(order); p.finished() {
			return p.best, p.top
		}
	}
	p.repair()
	return p.best, p.top
}

// packer is the state of a search.
type packer struct {
	storages []storage
	bound    int64
	enough   int64 // an arena of at most this size ends the search
	free     room
	offsets  []int64 // of the order that was placed last

	best  []int64 // offsets of the best order so far; nil: none yet
	top   int64   // its arena
	order []int   // the order itself
}

// searchWork ends the search: the number of spans looked at, about 0.1 s.
const searchWork = 2_000_000

// finished reports whether the arena is small enough or the work is used up. Counting
// work, not time, keeps the plan a function of the program.
func (p *packer) finished() bool { return p.top <= p.enough || p.free.spent() > searchWork }

// place gives each storage its offset in the given order, and remembers the
// result if it is the best so far. It stops at the first storage that makes it
// no better, and returns how many have their place.
func (p *packer) place(order []int) int {
	p.free.clear()
	var top int64
	for n, i := range order {
		s := p.storages[i]
		p.offsets[i] = p.free.fit(i, s, p.bound)
		if top = max(top, p.offsets[i]+s.bytes); p.best != nil && top >= p.top {
			return n + 1
		}
		p.free.take(i, s, p.offsets[i])
	}
	p.best, p.top, p.order = slices.Clone(p.offsets), top, order
	return len(order)
}

// repairRounds ends the repair of small programs.
const repairRounds = 200

// repair is squeaky-wheel search (Joslin and Clements, 1999): what sticks out
// above the bound moves towards the front of the order, and all is placed again.
// Halfway keeps most of what was good; every third time all the way to the
// front ends the cycles in which small programs would be caught.
func (p *packer) repair() {
	order, placed := p.order, len(p.order)
	copy(p.offsets, p.best)
	rank := make([]int, len(order))
	for round := range repairRounds {
		for n, i := range order {
			rank[i] = 2 * n
			if n < placed && p.offsets[i]+p.storages[i].bytes > p.bound {
				if rank[i] = n - 1; round%3 == 2 {
					rank[i] = -1
				}
			}
		}
		order = slices.Clone(order)
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(rank[i], rank[j]) })
		if placed = p.place(order); p.finished() {
			return
		}
	}
}

// orders returns the orders to try, the most promising first, as comparisons of
// two storages. Equals stay in program order.
func orders(storages []storage, loads []int64) []func(i, j int) int {
	maximum := newRangeMaximum(loads)
	fullest := make([]int, len(storages)) // the fullest op of each lifetime
	for i, s := range storages {
		fullest[i] = maximum.at(s.start, s.end)
	}
	byLoad := func(i, j int) int {
		return cmp.Or(cmp.Compare(loads[fullest[j]], loads[fullest[i]]), cmp.Compare(fullest[i], fullest[j]))
	}
	ops := func(i int) int64 { return int64(storages[i].end - storages[i].start + 1) }
	byLength := func(i, j int) int { return cmp.Compare(ops(j), ops(i)) }
	bySize := func(i, j int) int { return cmp.Compare(storages[j].bytes, storages[i].bytes) }
	byArea := func(i, j int) int {
		return cmp.Compare(float64(storages[j].bytes)*float64(ops(j)), float64(storages[i].bytes)*float64(ops(i)))
	}
	byStart := func(i, j int) int { return cmp.Compare(storages[i].start, storages[j].start) }
	return []func(i, j int) int{
		inTurn(byLoad, byLength, bySize), // what is alive at the peak is packed without a gap
		inTurn(byLength, bySize),         // what lives long lies at the bottom: back-propagation
		inTurn(bySize, byLength),
		inTurn(byArea),
		inTurn(byLoad, bySize, byLength),
		inTurn(byStart, byLength), // as an allocator at run time would
	}
}

// inTurn compares by the first of the comparisons that sees a difference.
func inTurn(compare ...func(i, j int) int) func(i, j int) int {
	return func(i, j int) int {
		for _, c := range compare {
			if order := c(i, j); order != 0 {
				return order
			}
		}
		return 0
	}
}

// rangeMaximum answers where the maximum of a range lies, the first of equals.
type rangeMaximum struct {
	values []int64
	levels [][]int // levels[k][i]: position of the maximum of [i, i+2^k)
}

func newRangeMaximum(values []int64) *rangeMaximum {
	r := &rangeMaximum{values: values}
	level := make([]int, len(values))
	for i := range level {
		level[i] = i
	}
	r.levels = append(r.levels, level)
	for width := 1; 2*width <= len(values); width *= 2 {
		next := make([]int, len(values)-2*width+1)
		for i := range next {
			next[i] = r.better(level[i], level[i+width])
		}
		r.levels = append(r.levels, next)
		level = next
	}
	return r
}

// at returns the position of the maximum of values[from..to].
func (r *rangeMaximum) at(from, to int) int {
	k := bits.Len(uint(to-from+1)) - 1
	return r.better(r.levels[k][from], r.levels[k][to+1-1<<k])
}

func (r *rangeMaximum) better(i, j int) int {
	if r.values[j] > r.values[i] {
		return j
	}
	return i
}

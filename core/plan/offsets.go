package plan

import (
	"cmp"
	"math/bits"
	"slices"
)

// The search for offsets: steps 5 to 8 of the algorithm in plan.go.

// pack returns an offset for each storage and the size of the arena they need.
// Loads are the bytes alive at each op. The search ends at an arena of at most enough bytes.
func pack(storages []storage, loads []int64, enough int64) (offsets []int64, top int64) {
	return search(storages, loads, slices.Max(loads), enough, newSegmentTree(len(loads)))
}

// freeSpace is an index of the bytes that are free in a layout to which storages are added one by one. A storage is passed
// with its position in the list of storages.
type freeSpace interface {
	clear()
	take(i int, s storage, offset int64)
	// fit returns the start of the smallest gap that is free during the whole lifetime of storage i and holds it. The space
	// between the highest byte taken in that lifetime and limit counts as a gap; where no gap is large enough, the result is
	// the end of the highest byte taken.
	fit(i int, s storage, limit int64) int64
	spent() int // work so far, in spans looked at
}

// search is pack with a free-space index, and the lower bound that ends the search.
func search(storages []storage, loads []int64, bound, enough int64, free freeSpace) (offsets []int64, top int64) {
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
	free     freeSpace
	offsets  []int64 // of the storages in the order that was placed last

	best  []int64 // offsets of the best order so far; nil: none yet
	top   int64   // its arena size
	order []int   // the order that gave it
}

// searchWork bounds the search: the number of spans looked at, about 0.1 s.
const searchWork = 2_000_000

// finished reports whether the arena is small enough or the work is used up. Counting
// work, not time, keeps the plan a function of the program.
func (p *packer) finished() bool { return p.top <= p.enough || p.free.spent() > searchWork }

// place gives each storage its offset in the given order, and remembers the
// result if it is the best so far. It stops at the first storage with which the arena
// is not smaller than the best, and returns the number of storages that have an offset.
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

// repairRounds bounds the repair of small programs.
const repairRounds = 200

// repair is squeaky wheel optimization (Joslin and Clements, 1999): storages that reach above the lower bound move towards
// the front of the order, and all are placed again. Moving them halfway keeps most of the order; every third round
// they move to the very front, which ends the cycles that small programs get into.
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
// two storages. Storages that compare equal stay in program order.
func orders(storages []storage, loads []int64) []func(i, j int) int {
	maximum := newRangeMaximum(loads)
	fullest := make([]int, len(storages)) // by storage: the op of its lifetime with the highest load
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
		inTurn(byLoad, byLength, bySize), // packs what is alive at the peak without gaps
		inTurn(byLength, bySize),         // puts long lifetimes at low offsets: suits back-propagation
		inTurn(bySize, byLength),
		inTurn(byArea),
		inTurn(byLoad, bySize, byLength),
		inTurn(byStart, byLength), // as an allocator at run time does
	}
}

// inTurn compares by the first comparison that is not equal.
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

// rangeMaximum finds the position of the maximum of a range, the first of equal ones: a sparse table.
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

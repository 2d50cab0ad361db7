package plan

import (
	"cmp"
	"slices"
)

// span is bytes [low, high) of the arena.
type span struct{ low, high int64 }

// space knows which bytes are taken at which op. It is a segment tree over the
// ops: a storage is entered at the few nodes whose ranges make up its lifetime,
// and a node keeps the union of spans, not the storages. So a thousand saved
// activations that lie one behind the other cost a query what one costs.
type space struct {
	leaves int     // ops, rounded up to a power of two
	whole  []spans // by node: taken during all of the node's range, entered here
	part   []spans // by node: taken during some of it, entered here or below
	taken  []span  // scratch memory of fit
	work   int     // spans looked at so far
}

// spans are disjoint, in order, and do not touch each other.
type spans []span

func newSpace(ops int) *space {
	leaves := 1
	for leaves < ops {
		leaves *= 2
	}
	return &space{leaves: leaves, whole: make([]spans, 2*leaves), part: make([]spans, 2*leaves)}
}

func (f *space) spent() int { return f.work }

func (f *space) clear() {
	for i := range f.whole {
		f.whole[i], f.part[i] = f.whole[i][:0], f.part[i][:0]
	}
}

// take enters a storage at its offset.
func (f *space) take(_ int, s storage, offset int64) {
	f.enter(1, 0, f.leaves-1, s, span{offset, offset + s.bytes})
}

func (f *space) enter(node, first, last int, s storage, taken span) {
	if s.end < first || last < s.start {
		return
	}
	f.part[node].add(taken)
	if s.start <= first && last <= s.end {
		f.whole[node].add(taken)
		return
	}
	middle := (first + last) / 2
	f.enter(2*node, first, middle, s, taken)
	f.enter(2*node+1, middle+1, last, s, taken)
}

// fit returns the start of the smallest gap that is free during the lifetime of
// s and large enough. The space below limit and above all that is taken counts
// as a gap; where no gap fits, the result is what lies above all that is taken.
func (f *space) fit(_ int, s storage, limit int64) int64 {
	f.taken = f.taken[:0]
	f.collect(1, 0, f.leaves-1, s)
	f.work += 8 + len(f.taken) // a query costs about eight spans by itself
	return smallestGap(f.taken, s.bytes, limit)
}

// smallestGap is the start of the smallest gap between spans, which it sorts, that has
// room for so many bytes; see fit.
func smallestGap(taken []span, bytes, limit int64) int64 {
	slices.SortFunc(taken, func(a, b span) int { return cmp.Compare(a.low, b.low) })
	var top int64
	best, smallest := int64(-1), int64(0)
	gap := func(low, high int64) {
		if size := high - low; size >= bytes && (best < 0 || size < smallest) {
			best, smallest = low, size
		}
	}
	for _, t := range taken {
		gap(top, t.low)
		top = max(top, t.high)
	}
	gap(top, limit)
	if best < 0 {
		return top
	}
	return best
}

// collect gathers what is taken at any op of the lifetime of s.
func (f *space) collect(node, first, last int, s storage) {
	if s.end < first || last < s.start {
		return
	}
	if s.start <= first && last <= s.end {
		f.taken = append(f.taken, f.part[node]...)
		return
	}
	f.taken = append(f.taken, f.whole[node]...)
	middle := (first + last) / 2
	f.collect(2*node, first, middle, s)
	f.collect(2*node+1, middle+1, last, s)
}

// add joins t with the spans it overlaps or touches.
func (l *spans) add(t span) {
	first, _ := slices.BinarySearchFunc(*l, t.low, func(s span, low int64) int { return cmp.Compare(s.high, low) })
	after := first
	for after < len(*l) && (*l)[after].low <= t.high {
		t.low, t.high = min(t.low, (*l)[after].low), max(t.high, (*l)[after].high)
		after++
	}
	if after == first+1 {
		(*l)[first] = t
		return
	}
	*l = slices.Replace(*l, first, after, t)
}

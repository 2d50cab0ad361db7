package plan

import (
	"cmp"
	"slices"
)

// span is bytes [low, high) of the arena.
type span struct{ low, high int64 }

// segmentTree is a free-space index for lifetimes that are intervals of ops. It is a segment tree over the
// ops (de Berg et al., Computational Geometry, 10.3): a storage is entered at the few nodes whose ranges make up its lifetime,
// and a node keeps the union of spans, not the storages. So a thousand saved
// activations at adjacent offsets cost a query as much as one.
type segmentTree struct {
	leaves int     // ops, rounded up to a power of two
	whole  []spans // by node: taken during the node's whole range, entered here
	part   []spans // by node: taken during a part of the range, entered here or below
	taken  []span  // reused by fit
	work   int     // spans looked at so far
}

// spans are disjoint, in order, and do not touch each other.
type spans []span

func newSegmentTree(ops int) *segmentTree {
	leaves := 1
	for leaves < ops {
		leaves *= 2
	}
	return &segmentTree{leaves: leaves, whole: make([]spans, 2*leaves), part: make([]spans, 2*leaves)}
}

func (t *segmentTree) spent() int { return t.work }

func (t *segmentTree) clear() {
	for i := range t.whole {
		t.whole[i], t.part[i] = t.whole[i][:0], t.part[i][:0]
	}
}

// take enters a storage at its offset.
func (t *segmentTree) take(_ int, s storage, offset int64) {
	t.enter(1, 0, t.leaves-1, s, span{offset, offset + s.bytes})
}

func (t *segmentTree) enter(node, first, last int, s storage, taken span) {
	if s.end < first || last < s.start {
		return
	}
	t.part[node].add(taken)
	if s.start <= first && last <= s.end {
		t.whole[node].add(taken)
		return
	}
	middle := (first + last) / 2
	t.enter(2*node, first, middle, s, taken)
	t.enter(2*node+1, middle+1, last, s, taken)
}

// fit returns the start of the smallest gap that is free during the lifetime of
// s and large enough; see freeSpace.
func (t *segmentTree) fit(_ int, s storage, limit int64) int64 {
	t.taken = t.taken[:0]
	t.collect(1, 0, t.leaves-1, s)
	t.work += 8 + len(t.taken) // a query takes about as long as looking at eight spans
	return smallestGap(t.taken, s.bytes, limit)
}

// smallestGap returns the start of the smallest gap between spans, which it sorts, of at least that many bytes; see
// freeSpace.
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

// collect gathers the spans that are taken at any op of the lifetime of s.
func (t *segmentTree) collect(node, first, last int, s storage) {
	if s.end < first || last < s.start {
		return
	}
	if s.start <= first && last <= s.end {
		t.taken = append(t.taken, t.part[node]...)
		return
	}
	t.taken = append(t.taken, t.whole[node]...)
	middle := (first + last) / 2
	t.collect(2*node, first, middle, s)
	t.collect(2*node+1, middle+1, last, s)
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

package eager

import "slices"

// Constants of the caching allocator of the common framework, as of mid-2025.
const (
	roundTo         = 512      // sizes are multiples of this
	smallLimit      = 1 << 20  // rounded sizes up to this come from the small pool
	smallSegment    = 2 << 20  // what the small pool asks for
	largeSegment    = 20 << 20 // what the large pool asks for, for sizes below mediumLimit
	mediumLimit     = 10 << 20 // from here on a segment is the size, rounded up
	segmentRounding = 2 << 20
	largeRest       = 1 << 20 // a large block is split if more than this is left
)

// block is a piece of a segment.
type block struct {
	address    int64
	bytes      int64
	small      bool
	free       bool
	prev, next *block // neighbours in the segment
}

// allocator is one stream's caching allocator: blocks are split and merged. Segments are given back only where the next one would
// not fit into the limit.
type allocator struct {
	allocated, reserved int64
	most                int64             // reserved at any time
	limit               int64             // of reserved, in bytes; 0: none
	full                bool              // an allocation did not fit
	segments            []*block          // the first block of each
	unused              map[bool][]*block // by pool (small?), ordered by size and address
	top                 int64             // address of the next segment
}

func newAllocator(limit int64) *allocator {
	return &allocator{unused: map[bool][]*block{}, limit: limit}
}

func less(a, b *block) int {
	if a.bytes != b.bytes {
		return int(min(max(a.bytes-b.bytes, -1), 1))
	}
	return int(min(max(a.address-b.address, -1), 1))
}

// allocate hands out the smallest free block that fits, or one of a new segment.
func (a *allocator) allocate(bytes int64) *block {
	bytes = max((bytes+roundTo-1)/roundTo*roundTo, roundTo)
	small := bytes <= smallLimit
	pool := a.unused[small]
	i, _ := slices.BinarySearchFunc(pool, bytes, func(b *block, n int64) int { return int(min(max(b.bytes-n, -1), 1)) })
	for i > 0 && pool[i-1].bytes == bytes {
		i--
	}
	var b *block
	if i < len(pool) {
		b = pool[i]
		a.unused[small] = slices.Delete(pool, i, i+1)
	} else {
		b = a.segment(bytes, small)
	}
	b.free = false
	if rest := b.bytes - bytes; small && rest >= roundTo || !small && rest > largeRest {
		tail := &block{address: b.address + bytes, bytes: rest, small: small, free: true, prev: b, next: b.next}
		if b.next != nil {
			b.next.prev = tail
		}
		b.next, b.bytes = tail, bytes
		a.insert(tail)
	}
	a.allocated += b.bytes
	return b
}

// segment asks the device for memory.
func (a *allocator) segment(bytes int64, small bool) *block {
	size := int64(smallSegment)
	if !small {
		size = largeSegment
		if bytes >= mediumLimit {
			size = (bytes + segmentRounding - 1) / segmentRounding * segmentRounding
		}
	}
	if a.limit > 0 && a.reserved+size > a.limit {
		a.release()
		a.full = a.full || a.reserved+size > a.limit
	}
	b := &block{address: a.top, bytes: size, small: small}
	a.top += size
	a.reserved += size
	a.most = max(a.most, a.reserved)
	a.segments = append(a.segments, b)
	return b
}

// release gives the segments back that have no block in use, as PyTorch does before it runs out of memory.
func (a *allocator) release() {
	a.segments = slices.DeleteFunc(a.segments, func(b *block) bool {
		unused := b.free && b.prev == nil && b.next == nil
		if unused {
			a.remove(b)
			a.reserved -= b.bytes
		}
		return unused
	})
}

// free gives a block back to its pool, merged with free neighbours.
func (a *allocator) free(b *block) {
	a.allocated -= b.bytes
	b.free = true
	if p := b.prev; p != nil && p.free {
		a.remove(p)
		p.bytes += b.bytes
		p.next = b.next
		if b.next != nil {
			b.next.prev = p
		}
		b = p
	}
	if n := b.next; n != nil && n.free {
		a.remove(n)
		b.bytes += n.bytes
		b.next = n.next
		if n.next != nil {
			n.next.prev = b
		}
	}
	a.insert(b)
}

func (a *allocator) insert(b *block) {
	pool := a.unused[b.small]
	i, _ := slices.BinarySearchFunc(pool, b, less)
	a.unused[b.small] = slices.Insert(pool, i, b)
}

func (a *allocator) remove(b *block) {
	pool := a.unused[b.small]
	i, _ := slices.BinarySearchFunc(pool, b, less)
	a.unused[b.small] = slices.Delete(pool, i, i+1)
}

package eager

// Play allocates sizes and frees, for a negative number, the allocation of that
// number; it returns what is allocated and reserved at the end.
func Play(sequence []int64) (allocated, reserved int64) {
	a := newAllocator(0)
	var blocks []*block
	for _, n := range sequence {
		if n > 0 {
			blocks = append(blocks, a.allocate(n))
		} else {
			a.free(blocks[-n-1])
		}
	}
	return a.allocated, a.reserved
}

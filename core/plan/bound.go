package plan

// loadByOp returns, by op, the bytes of the storages alive at it. Its maximum is
// the lower bound of the transient arena: they all need a place at once.
func loadByOp(ops int, storages []storage) []int64 {
	loads := make([]int64, ops+1)
	for _, s := range storages {
		loads[s.start] += s.bytes
		loads[s.end+1] -= s.bytes
	}
	return accumulate(loads[:ops])
}

// largestSum returns the largest exact number of bytes occupied at any op.
func largestSum(ops int, occupied []occupancy) (peak int64) {
	sums := make([]int64, ops+1)
	for _, o := range occupied {
		sums[o.from] += o.bytes
		sums[o.to+1] -= o.bytes
	}
	for _, bytes := range accumulate(sums[:ops]) {
		peak = max(peak, bytes)
	}
	return peak
}

// accumulate turns changes into sums, in place.
func accumulate(changes []int64) []int64 {
	for i := 1; i < len(changes); i++ {
		changes[i] += changes[i-1]
	}
	return changes
}

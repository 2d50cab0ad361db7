package plan

import "github.com/localbench/localbench/core/graph"

// loadByOp returns, by op, the bytes of the storages alive at it. Its maximum is
// the lower bound of the transient region: all of them need bytes at the same time.
func loadByOp(ops int, storages []storage) []int64 {
	loads := make([]int64, ops+1)
	for _, s := range storages {
		loads[s.start] += s.bytes
		loads[s.end+1] -= s.bytes
	}
	return accumulate(loads[:ops])
}

// exactSums returns, by op, the exact number of bytes occupied.
func exactSums(ops int, occupied []occupancy) []int64 {
	sums := make([]int64, ops+1)
	for _, o := range occupied {
		sums[o.from] += o.bytes
		sums[o.to+1] -= o.bytes
	}
	return accumulate(sums[:ops])
}

// Load returns the bytes alive at each op of a program of one stream, persistent values and workspaces included: the totals
// of Profile.Timeline, without a layout.
func Load(g *graph.Graph, workspaces []int64) []int64 {
	sums := exactSums(opCount(g), occupancies(g, workspaces))
	var persistent int64
	for _, v := range persistentValues(g) {
		persistent += v.Bytes()
	}
	for i := range sums {
		sums[i] += persistent
	}
	return sums
}

// accumulate turns changes into sums, in place.
func accumulate(changes []int64) []int64 {
	for i := 1; i < len(changes); i++ {
		changes[i] += changes[i-1]
	}
	return changes
}

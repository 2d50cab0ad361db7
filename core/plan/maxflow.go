package plan

import "slices"

// flowNetwork computes a maximum flow by Dinic's algorithm (1970): while the sink can be reached, number the nodes by their
// distance from the source in the residual network, then augment along shortest paths until none is left. A node's dead
// edges are skipped for the rest of a phase. At most nodes^2 * edges steps; in practice a few phases.
type flowNetwork struct {
	to, next []int   // by edge; edge e^1 is the reverse of edge e
	residual []int64 // by edge: capacity left; unlimited stays
	first    []int   // by node: its first edge; -1: none
	level    []int   // by node: distance from the source; -1: not reached
	current  []int   // by node: the edge to try next in this phase
}

// newFlowNetwork returns a network of that many nodes, with space for that many edges.
func newFlowNetwork(nodes, edges int) *flowNetwork {
	return &flowNetwork{first: slices.Repeat([]int{-1}, nodes), level: make([]int, nodes), current: make([]int, nodes),
		to: make([]int, 0, 2*edges), next: make([]int, 0, 2*edges), residual: make([]int64, 0, 2*edges)}
}

// addEdge adds an edge and its reverse, which has no capacity.
func (f *flowNetwork) addEdge(from, to int, capacity int64) {
	f.addHalf(from, to, capacity)
	f.addHalf(to, from, 0)
}

func (f *flowNetwork) addHalf(from, to int, capacity int64) {
	f.to, f.residual, f.next = append(f.to, to), append(f.residual, capacity), append(f.next, f.first[from])
	f.first[from] = len(f.to) - 1
}

// maxFlow returns the value of a maximum flow. Then reached tells the side of a minimum cut.
func (f *flowNetwork) maxFlow(source, sink int) (value int64) {
	for f.findLevels(source); f.reached(sink); f.findLevels(source) {
		copy(f.current, f.first)
		for {
			flow := f.augment(source, sink, unlimited)
			if flow == 0 {
				break
			}
			value += flow
		}
	}
	return value
}

// reached reports whether the residual network has a path from the source to the node: after maxFlow, whether the node is on
// the source's side of the minimum cut that is nearest to the source.
func (f *flowNetwork) reached(node int) bool { return f.level[node] >= 0 }

// findLevels numbers the nodes by breadth-first search.
func (f *flowNetwork) findLevels(source int) {
	for i := range f.level {
		f.level[i] = -1
	}
	f.level[source] = 0
	for queue := []int{source}; len(queue) > 0; queue = queue[1:] {
		for e := f.first[queue[0]]; e >= 0; e = f.next[e] {
			if to := f.to[e]; f.residual[e] > 0 && !f.reached(to) {
				f.level[to] = f.level[queue[0]] + 1
				queue = append(queue, to)
			}
		}
	}
}

// augment sends at most limit from node to the sink, along one shortest path, and returns how much.
func (f *flowNetwork) augment(node, sink int, limit int64) int64 {
	if node == sink {
		return limit
	}
	for ; f.current[node] >= 0; f.current[node] = f.next[f.current[node]] {
		e := f.current[node]
		if f.residual[e] == 0 || f.level[f.to[e]] != f.level[node]+1 {
			continue
		}
		if flow := f.augment(f.to[e], sink, min(limit, f.residual[e])); flow > 0 {
			f.change(e, -flow)
			f.change(e^1, flow)
			return flow
		}
	}
	return 0
}

func (f *flowNetwork) change(edge int, by int64) {
	if f.residual[edge] != unlimited {
		f.residual[edge] += by
	}
}

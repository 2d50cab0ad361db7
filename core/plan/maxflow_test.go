package plan

import (
	"math/rand/v2"
	"testing"
)

// edge is an edge of a test's network.
type edge struct {
	from, to int
	capacity int64
}

func networkOf(nodes int, edges []edge) *flowNetwork {
	f := newFlowNetwork(nodes, len(edges))
	for _, e := range edges {
		f.addEdge(e.from, e.to, e.capacity)
	}
	return f
}

// minimumCut is the least capacity of the edges from a set with the source, node 0, to its complement with the sink, node 1,
// over all such sets: the value of a maximum flow, by the theorem of Ford and Fulkerson.
func minimumCut(nodes int, edges []edge) int64 {
	least := int64(-1)
	for set := 0; set < 1<<nodes; set++ {
		if set&1 == 0 || set&2 != 0 {
			continue
		}
		if cut := cutOf(func(node int) bool { return set>>node&1 == 1 }, edges); least < 0 || cut < least {
			least = cut
		}
	}
	return least
}

// cutOf is the capacity of the edges that leave a set.
func cutOf(in func(node int) bool, edges []edge) (sum int64) {
	for _, e := range edges {
		if in(e.from) && !in(e.to) {
			sum += e.capacity
		}
	}
	return sum
}

// TestMaxFlowByHand: networks whose maximum flow can be seen. In the third the shortest path, 0 2 3 1, must be taken back in
// part, over the reverse edge from 3 to 2, to send 20.
func TestMaxFlowByHand(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes int
		edges []edge
		want  int64
	}{
		{"no path", 3, []edge{{0, 2, 5}}, 0},
		{"a narrow path", 4, []edge{{0, 2, 5}, {2, 3, 3}, {3, 1, 7}}, 3},
		{"a path is taken back", 6, []edge{{0, 2, 10}, {0, 4, 10}, {2, 3, 10}, {4, 3, 10}, {2, 5, 10}, {3, 1, 10}, {5, 1, 10}}, 20},
		{"parallel edges", 2, []edge{{0, 1, 5}, {0, 1, 6}}, 11},
		{"an unlimited edge", 4, []edge{{0, 2, 1 << 40}, {2, 3, unlimited}, {3, 1, 1 << 41}}, 1 << 40},
	} {
		if got := networkOf(c.nodes, c.edges).maxFlow(0, 1); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestMaxFlowIsMinimumCut compares random networks with the least of all cuts; the reached nodes are such a cut.
func TestMaxFlowIsMinimumCut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	flows := 0
	for range 2000 {
		nodes := 2 + r.IntN(7)
		var edges []edge
		for range r.IntN(20) {
			edges = append(edges, edge{r.IntN(nodes), r.IntN(nodes), r.Int64N(12)})
		}
		f := networkOf(nodes, edges)
		got, want := f.maxFlow(0, 1), minimumCut(nodes, edges)
		if got != want {
			t.Fatalf("%v: a flow of %d, and a cut of %d", edges, got, want)
		}
		if cut := cutOf(f.reached, edges); cut != want || !f.reached(0) || f.reached(1) {
			t.Fatalf("%v: the reached nodes are a cut of %d, want %d", edges, cut, want)
		}
		if want > 0 {
			flows++
		}
	}
	if flows < 500 {
		t.Errorf("only %d networks have a flow", flows)
	}
}

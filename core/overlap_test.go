package core_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
)

func overlappedStep(t *testing.T, method string, inFlight int) *graph.Graph {
	t.Helper()
	s, err := core.TrainingStep(tiny(t, method), core.StepOptions{Batch: 3, Image: graph.Shape{8, 8, 3},
		Deviation: [4]float64{60, 60, 60}, Optimizer: graph.SGDOptions{Momentum: 0.9}, Overlap: inFlight})
	if err != nil {
		t.Fatal(err)
	}
	return s.Graph
}

// reach returns, by op, the ops from which a path of streams and waits leads to it.
func reach(g *graph.Graph) []map[int]bool {
	all := make([]map[int]bool, len(g.Ops))
	for i, op := range g.Ops {
		all[i] = map[int]bool{}
		direct := slices.Clone(op.Waits)
		for j := range i {
			if g.Ops[j].Stream == op.Stream {
				direct = append(direct, j)
			}
		}
		for _, d := range direct {
			all[i][d] = true
			for e := range all[d] {
				all[i][e] = true
			}
		}
	}
	return all
}

// conflict says whether op b must wait for op a, an earlier op: one writes
// what the other reads or writes. Values that alias count as one.
func conflict(a, b *graph.Op) bool {
	touches := func(op *graph.Op) (read, written []*graph.Value) {
		for _, v := range op.Operands {
			if v != nil {
				read = append(read, v.Storage())
			}
		}
		for _, v := range slices.Concat(op.Results, op.Mutates()) {
			written = append(written, v.Storage())
		}
		return read, written
	}
	in := func(x, y []*graph.Value) bool {
		return slices.ContainsFunc(x, func(v *graph.Value) bool { return slices.Contains(y, v) })
	}
	ra, wa := touches(a)
	rb, wb := touches(b)
	return in(wa, rb) || in(ra, wb) || in(wa, wb)
}

// TestOverlap compares every pair of ops: who must wait does, no wait follows from
// others, and no more modules are in flight than were asked for.
func TestOverlap(t *testing.T) {
	for _, m := range methods.List() {
		if !m.Local() {
			continue
		}
		for _, inFlight := range []int{2, 3, 4} {
			g := overlappedStep(t, m.Name, inFlight)
			if got := g.Streams(); got < 2 || got > inFlight {
				t.Errorf("%s, %d in flight: %d streams", m.Name, inFlight, got)
			}
			before, beside := reach(g), 0
			for b, op := range g.Ops {
				if (op.Stream == 0) != (op.Phase == graph.PhaseForward) {
					t.Errorf("%s: op %d of the %s phase in stream %d", m.Name, b, op.Phase, op.Stream)
				}
				for a, earlier := range g.Ops[:b] {
					window := op.Stream == 0 && earlier.Module+inFlight <= op.Module
					if (window || conflict(earlier, op)) && !before[b][a] {
						t.Errorf("%s, %d in flight: op %d %s at %s does not wait for op %d %s at %s", m.Name, inFlight, b, op.Kind, op.Scope,
							a, earlier.Kind, earlier.Scope)
					}
					if !before[b][a] && op.Stream == 0 && earlier.Module == op.Module-1 {
						beside++
					}
				}
				for k, w := range op.Waits {
					whole := op.Waits
					op.Waits = slices.Delete(slices.Clone(whole), k, k+1)
					if reach(g)[b][w] {
						t.Errorf("%s, %d in flight: op %d waits for op %d, and would have to without that", m.Name, inFlight, b, w)
					}
					op.Waits = whole
				}
			}
			if beside == 0 {
				t.Errorf("%s, %d in flight: no forward op runs beside the module before", m.Name, inFlight)
			}
		}
	}
}

// TestOverlapOfOne is the program without streams.
func TestOverlapOfOne(t *testing.T) {
	for _, inFlight := range []int{0, 1} {
		for i, op := range overlappedStep(t, "auglocal", inFlight).Ops {
			if op.Stream != 0 || op.Waits != nil {
				t.Fatalf("%d in flight: op %d in stream %d waits for %v", inFlight, i, op.Stream, op.Waits)
			}
		}
	}
}

// TestVerifyStreams plants faults in streams that are right.
func TestVerifyStreams(t *testing.T) {
	waiting := func(g *graph.Graph) *graph.Op {
		return g.Ops[slices.IndexFunc(g.Ops, func(op *graph.Op) bool { return len(op.Waits) > 0 })]
	}
	for _, c := range []struct {
		name  string
		fault func(g *graph.Graph)
		want  string
	}{
		{"a reader that does not wait", func(g *graph.Graph) { waiting(g).Waits = nil }, "does not wait for op"},
		{"a wait for itself", func(g *graph.Graph) { g.Ops[7].Waits = []int{7} }, "op 7 .*"},
		{"a wait for what is to come", func(g *graph.Graph) { g.Ops[7].Waits = []int{9} },
			"waits for op 9: must be an earlier op of another stream"},
		{"a wait for the own stream", func(g *graph.Graph) { g.Ops[1].Waits = []int{0} },
			"waits for op 0: must be an earlier op of another stream"},
		{"a stream too many", func(g *graph.Graph) { g.Ops[0].Stream = graph.MaxStreams }, "stream 64: must be 0 to 63"},
		{"an update beside a reader", func(g *graph.Graph) {
			b := graph.NewBuilder(true)
			w, s := b.Parameter("w", graph.Shape{4}, graph.Weight{}), b.Parameter("s", graph.Shape{4}, graph.Weight{})
			b.Output(b.ReLU(w))
			b.Average(w, s, 0.5)
			h, err := b.Graph()
			if err != nil {
				t.Fatal(err)
			}
			h.Ops[1].Stream = 1
			*g = *h
		}, `op 1 average at .*: overwrites "w" and does not wait for op 0`},
	} {
		g := overlappedStep(t, "auglocal", 2)
		if err := g.Verify(); err != nil {
			t.Fatal(err)
		}
		c.fault(g)
		parts := strings.Split(c.want, ".*")
		err := g.Verify()
		for _, part := range parts {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got %v, want %q", c.name, err, part)
			}
		}
	}
}

// TestOverlapWantsEarlyUpdates: with deferred ones no module would ever be done.
func TestOverlapWantsEarlyUpdates(t *testing.T) {
	_, err := core.TrainingStep(tiny(t, "auglocal"), core.StepOptions{Batch: 3, Image: graph.Shape{8, 8, 3},
		Deviation: [4]float64{1, 1, 1}, Overlap: 2, DeferUpdates: true})
	if err == nil || !strings.Contains(err.Error(), "can't be combined with deferred updates") {
		t.Errorf("got %v", err)
	}
}

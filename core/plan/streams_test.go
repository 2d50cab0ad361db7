package plan

import (
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/passes"
)

// streams puts op i into stream[i] and lets it wait for the ops of waits[i].
func (p *program) streams(stream []int, waits map[int][]int) {
	for i, op := range p.Ops {
		op.Stream, op.Waits = stream[i], waits[i]
	}
}

// TestStreamsByHand compares peak, bound and arena of several streams with sums made by hand.
// All sizes are multiples of the alignment.
func TestStreamsByHand(t *testing.T) {
	// Op 0 makes a, op 1 b from a, op 2 c from b, op 3 d from a, op 4 e from d.
	fork := func(p *program) {
		a := p.activation("a", 64)
		b := p.activation("b", 640, a)
		p.activation("c", 128, b)
		d := p.activation("d", 320, a)
		p.activation("e", 192, d)
	}
	for _, c := range []struct {
		name   string
		write  func(p *program)
		stream []int
		waits  map[int][]int
		bytes  int64
	}{
		// a and b, then b and c: a is alive until op 3 has read it, so a, b and c.
		{"one stream", fork, []int{0, 0, 0, 0, 0}, nil, 64 + 640 + 128},
		// c may be made while op 3 reads a, and e while op 1 does: all have bytes of their own.
		{"two streams at the same time", fork, []int{0, 1, 1, 0, 0}, map[int][]int{1: {0}}, 64 + 640 + 128 + 320 + 192},
		// d is made when b is read out: c, d, e at the end, a, b, c before.
		{"a stream that waits for the reader", fork, []int{0, 1, 1, 0, 0}, map[int][]int{1: {0}, 3: {2}}, 64 + 640 + 128},
		// e is made when c is, and needs no more than a or b, which are free by then.
		{"a stream that waits halfway", fork, []int{0, 1, 1, 0, 0}, map[int][]int{1: {0}, 4: {2}}, 640 + 128 + 64 + 320},
		// A workspace is alive during its op, and so may be whatever the other stream has.
		{"workspace beside another stream", func(p *program) {
			a := p.value("a", 64, graph.CategoryActivation)
			p.op(1024, []*graph.Value{a})
			b := p.value("b", 128, graph.CategoryActivation)
			p.op(512, []*graph.Value{b})
		}, []int{0, 1}, nil, 64 + 1024 + 128 + 512},
		// What is in place of another is there as long as both: a's bytes until op 3.
		{"a value in place of another beside another stream", func(p *program) {
			a := p.activation("a", 64)
			b := p.inPlace("b", graph.CategoryGradient, a)
			p.activation("c", 128)
			p.activation("d", 128, b)
		}, []int{0, 0, 1, 0}, nil, 64 + 128 + 128},
		// An input is there before both, an output after both.
		{"inputs and outputs", func(p *program) {
			x := p.value("x", 64, graph.CategoryInput)
			a := p.activation("a", 128, x)
			p.activation("b", 256)
			p.activation("c", 512, a)
			p.Outputs = append(p.Outputs, a)
		}, []int{0, 1, 0}, nil, 128 + 256 + 512},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &program{}
			c.write(p)
			p.streams(c.stream, c.waits)
			l := plan(t, p, Options{})
			if l.PeakBytes != c.bytes || l.LowerBoundBytes != c.bytes || l.ArenaBytes() != c.bytes {
				t.Errorf("peak %d, bound %d, arena %d, want all %d", l.PeakBytes, l.LowerBoundBytes, l.ArenaBytes(), c.bytes)
			}
			got := Measure(&p.Graph, p.workspaces, l)
			if sum := got.ByCategory.Total(); got.PlannedPeakBytes != c.bytes || sum != c.bytes {
				t.Errorf("profile: peak %d, by category %d, want both %d", got.PlannedPeakBytes, sum, c.bytes)
			}
		})
	}
}

// overlapped makes any bytes a program of several streams: of the ops of a module the
// first is the forward pass.
func overlapped(data []byte, inFlight int) *program {
	p := decode(data)
	for i, op := range p.Ops {
		if i%3 > 0 {
			op.Phase = graph.PhaseBackward
		}
	}
	passes.Overlap(&p.Graph, inFlight)
	return p
}

// TestRandomStreams plans random programs of several streams. Check looks at each layout;
// and each sum must be at least what is alive in the order of the program.
func TestRandomStreams(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	waits, above := 0, 0
	for n := range 200 {
		data := randomBytes(r, 10+r.IntN(1500))
		one, many := decode(data), overlapped(data, 2+n%4)
		for _, op := range many.Ops {
			waits += len(op.Waits)
		}
		serial, l := plan(t, one, Options{}), plan(t, many, Options{})
		if l.ArenaBytes() < l.LowerBoundBytes || l.LowerBoundBytes < l.PeakBytes || l.PeakBytes < serial.PeakBytes {
			t.Fatalf("arena %d, bound %d, peak %d, peak of one stream %d: want each at least the next", l.ArenaBytes(),
				l.LowerBoundBytes, l.PeakBytes, serial.PeakBytes)
		}
		if l.PeakBytes > serial.PeakBytes {
			above++
		}
		if l.ArenaBytes()*10 > l.LowerBoundBytes*12 {
			t.Errorf("arena %d is more than a fifth above the bound %d", l.ArenaBytes(), l.LowerBoundBytes)
		}
		got := Measure(&many.Graph, many.workspaces, l)
		if got.PlannedPeakBytes != l.PeakBytes || got.ByCategory.Total() != l.PeakBytes {
			t.Fatalf("profile: peak %d, by category %d, want both %d", got.PlannedPeakBytes, got.ByCategory.Total(), l.PeakBytes)
		}
	}
	if waits < 1000 || above < 50 {
		t.Errorf("%d waits, %d of 200 programs need more memory: the programs test too little", waits, above)
	}
}

// TestHeaviestAntichain compares with all subsets.
func TestHeaviestAntichain(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	tried := 0
	for n := range 2000 {
		p := overlapped(randomBytes(r, 10+r.IntN(90)), 2+n%3)
		occupied := occupancies(&p.Graph, p.workspaces)
		if p.Streams() == 1 {
			continue
		}
		all, sizes := lifetimesOf(&p.Graph, occupied), exactBytes(occupied)
		if len(all) > 14 {
			continue
		}
		tried++
		set, got := heaviestAntichain(&p.Graph, all, sizes)
		var sum, best int64
		for i, s := range set {
			sum += sizes[s]
			for _, other := range set[:i] {
				if all[other].endsBefore(all[s].begin, p.Ops) || all[s].endsBefore(all[other].begin, p.Ops) {
					t.Fatalf("%d and %d of the set are never alive at the same time", other, s)
				}
			}
		}
		for subset := range uint(1) << len(all) {
			best = max(best, weightOf(subset, all, sizes, p.Ops))
		}
		if got != best || sum != best {
			t.Fatalf("weight %d of the set %v of %d bytes, want %d", got, set, sum, best)
		}
	}
	if tried < 200 {
		t.Errorf("%d sets tried, want at least 200", tried)
	}
}

// weightOf is the sum of a subset, 0 if one of it ends before another begins.
func weightOf(subset uint, all []lifetime, sizes []int64, ops []*graph.Op) (sum int64) {
	for s := subset; s != 0; s &= s - 1 {
		i := bits.TrailingZeros(s)
		for other := range all {
			if other != i && subset>>other&1 == 1 && all[i].endsBefore(all[other].begin, ops) {
				return 0
			}
		}
		sum += sizes[i]
	}
	return sum
}

// TestCheckSeesStreams takes layouts of one stream for programs of several, and drops waits
// from programs that are planned: where bytes are then used at the same time, the check
// must say so.
func TestCheckSeesStreams(t *testing.T) {
	p := &program{}
	a := p.activation("a", 64)
	p.activation("b", 64, a)
	p.activation("c", 64)
	l := plan(t, p, Options{})
	if l.Offset[2] != l.Offset[0] && l.Offset[2] != l.Offset[1] {
		t.Fatalf("offsets %v, want c where a or b was", l.Offset)
	}
	p.streams([]int{0, 0, 1}, map[int][]int{2: {1}})
	if err := l.Check(&p.Graph, p.workspaces); err != nil {
		t.Fatalf("c begins when b is made: %v", err)
	}
	p.streams([]int{0, 0, 1}, nil)
	if err := l.Check(&p.Graph, p.workspaces); err == nil || !strings.Contains(err.Error(),
		"plan: op 2 conv at module0/op2: c is in bytes of") {
		t.Errorf("got %v, want a sentence about c", err)
	}

	r := rand.New(rand.NewPCG(15, 16))
	tried := 0
	for range 20 {
		p := overlapped(randomBytes(r, 1000), 3)
		l := plan(t, p, Options{})
		for _, op := range p.Ops {
			for k := range op.Waits {
				whole := op.Waits
				op.Waits = append(append([]int(nil), whole[:k]...), whole[k+1:]...)
				if overlap(&p.Graph, p.workspaces, l) {
					tried++
					if l.Check(&p.Graph, p.workspaces) == nil {
						t.Fatal("a wait is missing, two values have the same bytes at the same time, and Check accepts it")
					}
				}
				op.Waits = whole
			}
		}
	}
	if tried < 100 {
		t.Errorf("%d faults tried, want at least 100", tried)
	}
}

// overlap looks at every pair of storages: whether two that may be alive at the same time
// have bytes in common.
func overlap(g *graph.Graph, workspaces []int64, l *Layout) bool {
	occupied := occupancies(g, workspaces)
	all, sizes := lifetimesOf(g, occupied), exactBytes(occupied)
	at := make([]int64, len(all))
	for _, o := range occupied {
		if at[o.storage] = l.WorkspaceOffset[max(o.op, 0)]; o.value != nil {
			at[o.storage] = l.Offset[o.value.ID]
		}
	}
	for i, a := range all {
		for j, b := range all[:i] {
			ordered := a.endsBefore(b.begin, g.Ops) || b.endsBefore(a.begin, g.Ops)
			if !ordered && at[i] < at[j]+sizes[j] && at[j] < at[i]+sizes[i] {
				return true
			}
		}
	}
	return false
}

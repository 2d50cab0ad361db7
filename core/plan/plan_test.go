package plan

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
)

func plan(t *testing.T, p *program, o Options) *Layout {
	t.Helper()
	l, err := New(&p.Graph, p.workspaces, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check(&p.Graph, p.workspaces); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLayoutByHand holds regions, bound and peak against sums made on paper.
func TestLayoutByHand(t *testing.T) {
	for _, c := range []struct {
		name                         string
		write                        func(p *program)
		persistent, transient, bound int64
		peak                         int64
	}{
		{"nothing needs nothing", func(p *program) {}, 0, 0, 0, 0},
		{"inputs without an op have their place", func(p *program) {
			p.value("x", 100, graph.CategoryInput)
			p.value("y", 10, graph.CategoryInput)
		}, 0, 192, 192, 110},
		{"a chain needs two neighbours at a time", func(p *program) {
			x := p.value("x", 100, graph.CategoryInput)    // 128 rounded, op 0
			a := p.activation("a", 200, x)                 // 256, ops 0 to 1
			b := p.activation("b", 300, a)                 // 320, ops 1 to 2
			c := p.activation("c", 100, b)                 // 128, ops 2 to 3
			p.activation("d", 10, c)                       // 64, op 3
			p.value("w", 10, graph.CategoryParameter)      // 64
			p.value("v", 65, graph.CategoryOptimizer)      // 128
			p.value("unused", 70, graph.CategoryParameter) // 128: persistent all the same
		}, 320, 576, 896, 10 + 65 + 70 + 500},
		{"an input is alive until its last reader", func(p *program) {
			x := p.value("x", 64, graph.CategoryInput)
			a := p.activation("a", 64, x)
			b := p.activation("b", 64, a)
			p.activation("c", 64, b, x)
		}, 0, 192, 192, 192},
		{"an output is alive to the end", func(p *program) {
			x := p.value("x", 64, graph.CategoryInput)
			a := p.activation("a", 640, x)
			b := p.activation("b", 64, x)
			p.activation("c", 1280, b)
			p.Outputs = append(p.Outputs, a)
		}, 0, 1984, 1984, 1984},
		{"a result that is not read is alive during its op", func(p *program) {
			x := p.value("x", 64, graph.CategoryInput)
			p.activation("a", 640, x)
			p.activation("b", 640, x)
		}, 0, 704, 704, 704},
		{"a value in place of another needs nothing", func(p *program) {
			x := p.value("x", 64, graph.CategoryInput)
			a := p.activation("a", 640, x)
			b := p.inPlace("b", graph.CategoryGradient, a)
			p.activation("c", 64, b)
		}, 0, 704, 704, 704},
		{"workspace is there for its op", func(p *program) {
			x := p.value("x", 64, graph.CategoryInput)
			a := p.value("a", 64, graph.CategoryActivation)
			b := p.value("b", 64, graph.CategoryActivation)
			p.op(1000, []*graph.Value{a}, x)
			p.op(900, []*graph.Value{b}, a)
		}, 0, 128 + 1024, 128 + 1024, 1128},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &program{}
			c.write(p)
			l := plan(t, p, Options{})
			if l.PersistentBytes != c.persistent || l.TransientBytes != c.transient || l.LowerBoundBytes != c.bound ||
				l.PeakBytes != c.peak {
				t.Errorf("persistent %d, transient %d, bound %d, peak %d, want %d, %d, %d, %d",
					l.PersistentBytes, l.TransientBytes, l.LowerBoundBytes, l.PeakBytes, c.persistent, c.transient, c.bound, c.peak)
			}
			if got, want := l.FragmentationBytes(), c.persistent+c.transient-c.peak; got != want {
				t.Errorf("fragmentation %d, want %d", got, want)
			}
		})
	}
}

// TestPersistentOrder: parameters, then buffers, then optimizer state, each in
// program order, so that one kernel can walk over a run of them.
func TestPersistentOrder(t *testing.T) {
	p := &program{}
	m := p.value("w1.momentum", 64, graph.CategoryOptimizer)
	w1 := p.value("w1", 64, graph.CategoryParameter)
	r := p.value("running", 64, graph.CategoryBuffer)
	w2 := p.value("w2", 65, graph.CategoryParameter)
	l := plan(t, p, Options{Alignment: 32})
	for v, want := range map[*graph.Value]int64{w1: 0, w2: 64, r: 160, m: 224} {
		if l.Offset[v.ID] != want {
			t.Errorf("%s is at %d, want %d", v.Name, l.Offset[v.ID], want)
		}
	}
}

// TestSharedWeights plans an evaluation beside a training step: the weights stay,
// and nothing transient reaches into the optimizer state, which only training
// knows.
func TestSharedWeights(t *testing.T) {
	training, evaluation := &program{}, &program{}
	x := training.value("x", 64, graph.CategoryInput)
	m := training.value("w.momentum", 1000, graph.CategoryOptimizer)
	w := training.value("w", 1000, graph.CategoryParameter)
	training.activation("y", 64, x, w, m)
	base := plan(t, training, Options{})

	x = evaluation.value("x", 64, graph.CategoryInput)
	u := evaluation.value("w", 1000, graph.CategoryParameter)
	evaluation.activation("y", 6400, x, u)
	l := plan(t, evaluation, Options{Persistent: base.Persistent()})
	if l.Offset[u.ID] != base.Offset[w.ID] || l.PersistentBytes != base.PersistentBytes {
		t.Errorf("w at %d in a region of %d bytes, want %d and %d", l.Offset[u.ID], l.PersistentBytes, base.Offset[w.ID],
			base.PersistentBytes)
	}
	if l.PeakBytes != 1000+64+6400 || l.ReservedBytes != 1000 || l.LowerBoundBytes != 2048+64+6400 {
		t.Errorf("peak %d, reserved %d, bound %d, want 7464, 1000, 8512", l.PeakBytes, l.ReservedBytes, l.LowerBoundBytes)
	}
	if !reflect.DeepEqual(l.Persistent(), base.Persistent()) {
		t.Errorf("persistent layout %v, want the base's %v", l.Persistent(), base.Persistent())
	}
}

// TestErrors holds the texts of what New refuses.
func TestErrors(t *testing.T) {
	small := func(p *program) { p.value("w", 100, graph.CategoryParameter) }
	for _, c := range []struct {
		name       string
		write      func(p *program)
		workspaces []int64
		o          Options
		want       string
	}{
		{"alignment", small, nil, Options{Alignment: 48}, "alignment 48 is not a power of two"},
		{"negative alignment", small, nil, Options{Alignment: -64}, "alignment -64 is not a power of two"},
		{"missing weight", small, nil, Options{Persistent: map[string]Placement{}},
			"w: the given persistent layout has no offset for this parameters value"},
		{"larger weight", small, nil, Options{Persistent: map[string]Placement{"w": {0, 99}}},
			"w: 99 bytes at offset 0 of the persistent layout: must be at least 100 bytes at a multiple of 64"},
		{"weight off the alignment", small, nil, Options{Persistent: map[string]Placement{"w": {32, 100}}},
			"w: 100 bytes at offset 32 of the persistent layout: must be at least 100 bytes at a multiple of 64"},
		{"workspaces of another program", small, []int64{1}, Options{}, "workspace sizes of 1 ops for a program of 0"},
		{"negative workspaces", func(p *program) { p.activation("a", 1) }, []int64{-1}, Options{},
			"op 0 conv at module0/op0: workspace of -1 bytes"},
		{"more than 2^63 bytes", func(p *program) {
			for i := range 3 {
				p.activation(fmt.Sprint("a", i), 1<<62)
			}
		}, nil, Options{}, "the values sum to more than 2^63 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &program{}
			c.write(p)
			if _, err := New(&p.Graph, c.workspaces, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// randomBytes makes a program of about n/12 ops for decode.
func randomBytes(r *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

// TestRandomPrograms plans programs that no method would write.
func TestRandomPrograms(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	shared := 0
	for range 200 {
		p := decode(randomBytes(r, 10+r.IntN(1500)))
		for _, v := range p.Values {
			if v.Shares != nil {
				shared++
			}
		}
		holdPlan(t, p)
	}
	if shared < 1000 {
		t.Errorf("%d values share storage: the programs test too little", shared)
	}
}

// FuzzPlan is TestRandomPrograms with the fuzzer's programs.
func FuzzPlan(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		f.Add(randomBytes(r, 300))
	}
	f.Fuzz(func(t *testing.T, data []byte) { holdPlan(t, decode(data)) })
}

// holdPlan checks what must hold of every plan.
func holdPlan(t *testing.T, p *program) {
	t.Helper()
	l := plan(t, p, Options{})
	if l.ArenaBytes() < l.LowerBoundBytes || l.LowerBoundBytes < l.PeakBytes {
		t.Fatalf("arena %d, bound %d, peak %d: want each at least the next", l.ArenaBytes(), l.LowerBoundBytes, l.PeakBytes)
	}
	if again := plan(t, p, Options{}); !reflect.DeepEqual(l, again) {
		t.Fatal("the second plan of a program differs from the first")
	}
	holdProfile(t, p, Measure(&p.Graph, p.workspaces, l))
}

package plan

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
)

// TestCheckFindsFaults plants a fault in a layout that is right.
func TestCheckFindsFaults(t *testing.T) {
	const x, w, u, d, a, b, c, e = 0, 1, 2, 3, 4, 5, 6, 7 // value ids
	for _, test := range []struct {
		name  string
		fault func(p *program, l *Layout)
		want  string
	}{
		{"a result over an operand", func(p *program, l *Layout) { l.Offset[c] = l.Offset[b] },
			"c in bytes 256 to 512 overlaps b in bytes 256 to 384"},
		{"a result one unit too low", func(p *program, l *Layout) { l.Offset[c] -= 64 },
			"c in bytes 320 to 576 overlaps b in bytes 256 to 384"},
		{"a result one unit too high", func(p *program, l *Layout) { l.Offset[c] += 64 },
			"workspace in bytes 640 to 1152 overlaps c in bytes 448 to 704"},
		{"over an output that no op reads", func(p *program, l *Layout) { l.Offset[e] = l.Offset[d] },
			"e in bytes 192 to 256 overlaps d in bytes 192 to 256"},
		{"over an input that is read", func(p *program, l *Layout) { l.Offset[d] = l.Offset[x] },
			"d in bytes 128 to 192 overlaps x in bytes 128 to 192"},
		{"workspace over a result", func(p *program, l *Layout) { l.WorkspaceOffset[3] = 576 },
			"workspace in bytes 576 to 1088 overlaps c in bytes 384 to 640"},
		{"workspace beyond the arena", func(p *program, l *Layout) { l.TransientBytes -= 64 },
			"workspace: bytes 640 to 1152 are outside of the region 128 to 1088"},
		{"a transient value over weights", func(p *program, l *Layout) { l.Offset[c] = 0 },
			"c: bytes 0 to 256 are outside of the region 128 to 1152"},
		{"two weights in one place", func(p *program, l *Layout) { l.Offset[u] = l.Offset[w] },
			"u in bytes 0 to 64 overlaps w in bytes 0 to 64"},
		{"a weight among the transient values", func(p *program, l *Layout) { l.Offset[u] = 128 },
			"u: bytes 128 to 192 are outside of the region 0 to 128"},
		{"off the alignment", func(p *program, l *Layout) { l.Offset[e] += 4 }, "e: offset 132 is not a multiple of 64"},
		{"no place for a value that is made", func(p *program, l *Layout) { l.Offset[c] = noOffset }, "c: bytes -1 to 255 are outside"},
		{"a sharer elsewhere", func(p *program, l *Layout) { l.Offset[b] += 64 },
			"b at offset 320 aliases a at offset 256: must be the same offset"},
		{"a sharer of what is read later", func(p *program, l *Layout) {
			p.Ops[4].Operands = append(p.Ops[4].Operands,
				p.Values[a])
		}, "b aliases a, which is read later"},
		{"a sharer of what is dead", func(p *program, l *Layout) { p.Values[c].Shares, l.Offset[c] = p.Values[a], l.Offset[a] },
			"c aliases a, which is not in use"},
		{"a layout of another program", func(p *program, l *Layout) { l.Offset = l.Offset[1:] },
			"layout of 7 values and 5 ops for a program of 8 values and 5 ops"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, l := checked()
			if err := l.Check(&p.Graph, p.workspaces); err != nil {
				t.Fatalf("before the fault: %v", err)
			}
			test.fault(p, l)
			if err := l.Check(&p.Graph, p.workspaces); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// checked returns a program with a layout written by hand: x gives d, which is an
// output, and a; a becomes b in place; b gives c with workspace; c gives e,
// where x was.
func checked() (*program, *Layout) {
	p := &program{}
	x := p.value("x", 64, graph.CategoryInput)
	w := p.value("w", 64, graph.CategoryParameter)
	u := p.value("u", 64, graph.CategoryParameter)
	p.Outputs = append(p.Outputs, p.activation("d", 64, x))
	a := p.activation("a", 128, x, w)
	b := p.inPlace("b", graph.CategoryGradient, a)
	c := p.value("c", 256, graph.CategoryActivation)
	p.op(512, []*graph.Value{c}, b)
	p.activation("e", 64, c, u)
	return p, &Layout{
		Offset:          []int64{128, 0, 64, 192, 256, 256, 384, 128},
		WorkspaceOffset: []int64{0, 0, 0, 640, 0},
		Alignment:       64,
		PersistentBytes: 128,
		TransientBytes:  1024,
	}
}

// TestCheckSeesEveryByte moves every storage of a layout onto each other that is
// alive at the same op: each time the check must object.
func TestCheckSeesEveryByte(t *testing.T) {
	p := chain(12, 4)
	l := plan(t, p, Options{})
	occupied := occupancies(&p.Graph, p.workspaces)
	tried := 0
	for i, a := range occupied {
		for _, b := range occupied[:i] {
			if a.storage == b.storage || a.from > b.to || b.from > a.to || a.value == nil || b.value == nil {
				continue
			}
			tried++
			moved := *l
			moved.Offset = append([]int64(nil), l.Offset...)
			for _, o := range occupied {
				if o.storage == a.storage {
					moved.Offset[o.value.ID] = l.Offset[b.value.ID]
				}
			}
			if moved.Check(&p.Graph, p.workspaces) == nil {
				t.Fatalf("%s was moved onto %s, and Check accepts it", a.value.Name, b.value.Name)
			}
		}
	}
	if tried < 1000 {
		t.Errorf("%d moves tried, want at least 1000", tried)
	}
}

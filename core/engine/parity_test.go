package engine_test

import (
	"math"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
	"github.com/localbench/localbench/core/plan"
	"github.com/localbench/localbench/core/reference"
)

func openDevice(t testing.TB, name string, threads int) engine.Device {
	t.Helper()
	d, err := engine.Open(name, engine.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// bind plans g and binds it to an arena of its own.
func bind(t testing.TB, d engine.Device, g *graph.Graph) engine.Program {
	t.Helper()
	p, err := d.Prepare(g)
	if err != nil {
		t.Fatal(err)
	}
	layout, err := plan.New(g, p.Scratch(), plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	arena, err := d.NewArena(layout.ArenaBytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Bind(arena, layout.Offset, layout.ScratchOffset); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); arena.Close() })
	return p
}

// narrow tells whether a case is in a type that the cpu backend does not compute in.
func narrow(c optest.Case) bool { return c.Element == graph.TypeBF16 }

// write stores content in the element type of v.
func write(t testing.TB, p engine.Program, v *graph.Value, content []float64) {
	t.Helper()
	var err error
	switch v.Type {
	case graph.TypeF32:
		err = p.Write(v, convert[float32](content))
	case graph.TypeS32:
		err = p.Write(v, convert[int32](content))
	case graph.TypeBF16:
		bits := make([]uint16, len(content))
		for i, x := range content {
			bits[i] = graph.BF16(float32(x))
		}
		err = p.Write(v, bits)
	default:
		err = p.Write(v, convert[byte](content))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func convert[T float32 | int32 | byte](in []float64) []T {
	out := make([]T, len(in))
	for i, x := range in {
		out[i] = T(x)
	}
	return out
}

func read(t testing.TB, p engine.Program, v *graph.Value) []float32 {
	t.Helper()
	out := make([]float32, v.Shape.Elements())
	octets, bits := make([]byte, len(out)), make([]uint16, len(out))
	var err error
	switch v.Type {
	case graph.TypeU8:
		err = p.Read(v, octets)
	case graph.TypeBF16:
		err = p.Read(v, bits)
	default:
		err = p.Read(v, out)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range out {
		switch v.Type {
		case graph.TypeU8:
			out[i] = float32(octets[i])
		case graph.TypeBF16:
			out[i] = graph.FromBF16(bits[i])
		}
	}
	return out
}

// TestParity runs every case of the op table on the cpu backend, and on other threads, and
// on the CUDA backend's code on the host, and holds what each writes against the float64
// reference. The tolerance grows with the terms of a sum and covers float32 arithmetic and,
// in bf16, the rounding of results, nothing else. The cpu backend refuses bf16.
func TestParity(t *testing.T) {
	t.Run("cpu, 1 thread", func(t *testing.T) { testParity(t, openDevice(t, "cpu", 1)) })
	t.Run("cpu, 2 threads", func(t *testing.T) { testParity(t, openDevice(t, "cpu", 2)) })
	t.Run("emu", func(t *testing.T) { testParity(t, openEmulated(t, engine.Options{})) })
}

func testParity(t *testing.T, d engine.Device) {
	for _, c := range optest.Cases() {
		t.Run(c.String(), func(t *testing.T) {
			g, err := c.Graph()
			if err != nil {
				t.Fatal(err)
			}
			if d.Name() == "cpu" && narrow(c) {
				if _, err := d.Prepare(g); err == nil || !strings.Contains(err.Error(), "the cpu backend computes in f32 only") {
					t.Errorf("got %v, want bf16 to be refused", err)
				}
				return
			}
			values := c.Values(g, 1)
			p, m := bind(t, d, g), reference.New(g)
			for v, content := range values {
				m.Set(v, content)
				write(t, p, v, content)
			}
			if err := m.Run(0, len(g.Ops)); err != nil {
				t.Fatal(err)
			}
			if err := p.Run(0, len(g.Ops)); err != nil {
				t.Fatal(err)
			}
			op := c.Op(g)
			for _, v := range optest.Written(op) {
				if err := optest.Compare(read(t, p, v), m.Get(v), optest.Tolerance(op, v)); err != nil {
					t.Errorf("%s: %v", v.Name, err)
				}
			}
		})
	}
}

// TestSameBits runs each case twice from the same contents: no bit may differ.
func TestSameBits(t *testing.T) {
	d := openDevice(t, "cpu", 2)
	for _, c := range optest.Cases() {
		if narrow(c) {
			continue
		}
		g, err := c.Graph()
		if err != nil {
			t.Fatal(err)
		}
		p := bind(t, d, g)
		var first [][]float32
		for run := range 2 {
			for v, content := range c.Values(g, 1) {
				write(t, p, v, content)
			}
			if err := p.Run(0, len(g.Ops)); err != nil {
				t.Fatal(err)
			}
			for i, v := range optest.Written(c.Op(g)) {
				got := read(t, p, v)
				if run == 0 {
					first = append(first, got)
					continue
				}
				for j := range got {
					if math.Float32bits(got[j]) != math.Float32bits(first[i][j]) {
						t.Fatalf("%s: %s[%d] is %g, then %g", c, v.Name, j, first[i][j], got[j])
					}
				}
			}
		}
	}
}

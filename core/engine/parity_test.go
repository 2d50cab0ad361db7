package engine_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
	"github.com/localbench/localbench/core/plan"
	"github.com/localbench/localbench/core/reference"
)

// openDevice opens a device of a number of threads; one of the cpu not where a GPU is tested.
func openDevice(t testing.TB, name string, threads int) engine.Device {
	t.Helper()
	if name == "cpu" {
		enginetest.NeedsCPU(t)
	}
	return enginetest.Open(t, name, engine.Options{Threads: threads})
}

// bind plans g and binds it to an arena of its own.
func bind(t testing.TB, d engine.Device, g *graph.Graph) engine.Program {
	t.Helper()
	return bindTo(t, d, g, plan.Options{})
}

func bindTo(t testing.TB, d engine.Device, g *graph.Graph, o plan.Options) engine.Program {
	t.Helper()
	p, err := d.Prepare(g)
	if err != nil {
		t.Fatal(err)
	}
	layout, err := plan.New(g, p.Scratch(), o)
	if err != nil {
		t.Fatal(err)
	}
	arena, err := d.NewArena(layout.ArenaBytes())
	if err != nil {
		t.Fatal(err)
	}
	if d.Name() != "reference" && !o.Scatter { // which have no bytes to fill, or not one mapping
		if err := arena.Fill(0xff); err != nil { // not a number, so that reading what was not written is noticed
			t.Fatal(err)
		}
	}
	if err := p.Bind(arena, layout.Offset, layout.WorkspaceOffset); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); arena.Close() })
	return p
}

// narrow tells whether a case is in bf16.
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
// in bf16, the rounding of results, nothing else. Scattered,
// every value is an allocation of its own, and what reaches beyond one is seen by tools that
// watch allocations (scripts/gpu-check.sh).
func TestParity(t *testing.T) {
	for _, backend := range enginetest.Backends() {
		for _, threads := range []int{1, 2} {
			if backend != "cpu" && threads > 1 {
				continue
			}
			t.Run(fmt.Sprintf("%s, %d threads", backend, threads), func(t *testing.T) {
				testParity(t, enginetest.Open(t, backend, engine.Options{Threads: threads}), plan.Options{}, 0)
			})
		}
		if backend == "cpu" { // its arena is one mapping, and it has no tf32
			continue
		}
		t.Run(backend+", scattered", func(t *testing.T) {
			testParity(t, enginetest.Open(t, backend, engine.Options{Scatter: true}), plan.Options{Scatter: true}, 0)
		})
		t.Run(backend+", tf32", func(t *testing.T) {
			testParity(t, enginetest.Open(t, backend, engine.Options{TF32: true}), plan.Options{}, tf32Roundoff)
		})
		t.Run(backend+", own kernels, scattered", func(t *testing.T) {
			testParity(t, enginetest.Open(t, backend, engine.Options{TF32: true, Own: true, Scatter: true}), plan.Options{Scatter: true},
				tf32Roundoff)
		})
	}
}

// tf32Roundoff is half the distance of 1 to the next tf32.
const tf32Roundoff = 1.0 / (1 << 11)

// rowsRoundoff is what TestWinogradProductsInBF16 bounds: how much a result of F(4, 3) in bf16 errs, whose transformed operands
// are rounded.
const rowsRoundoff = 0.005

// testParity runs the table. Where operands of products are rounded, by at most so much of their
// size, a sum of products of random sign errs by about as much of its own, however many
// there are; the factor is for the largest of many elements, as in optest.Tolerance.
func testParity(t *testing.T, d engine.Device, o plan.Options, rounding float64) {
	testCases(t, d, o, rounding, optest.Cases())
}

// testCases runs some cases of the table.
func testCases(t *testing.T, d engine.Device, o plan.Options, rounding float64, cases []optest.Case) {
	for _, c := range cases {
		t.Run(c.String(), func(t *testing.T) {
			g, err := c.Graph()
			if err != nil {
				t.Fatal(err)
			}
			p, m := runBoth(t, d, g, o, c.Values(g, 1))
			op := c.Op(g)
			for _, v := range optest.Written(op) {
				tolerance := optest.Tolerance(op, v)
				if op.FLOPs() > 0 {
					tolerance = max(tolerance, 8*rounding)
				}
				if strings.Contains(p.Kernels()[0], rowsKernel) {
					tolerance = max(tolerance, 8*rowsRoundoff)
				}
				if err := optest.Compare(read(t, p, v), m.Get(v), tolerance); err != nil {
					t.Errorf("%s: %v", v.Name, err)
				}
			}
		})
	}
}

// runBoth runs a graph on a device and in float64, from the same contents.
func runBoth(t *testing.T, d engine.Device, g *graph.Graph, o plan.Options, values map[*graph.Value][]float64) (
	engine.Program, *reference.Machine) {
	t.Helper()
	p, m := bindTo(t, d, g, o), reference.New(g)
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
	return p, m
}

// TestSameBits runs each case twice from the same contents: no bit may differ.
func TestSameBits(t *testing.T) {
	for _, backend := range enginetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			testSameBits(t, enginetest.Open(t, backend, engine.Options{Threads: 2, Deterministic: backend == "cuda"}),
				func(c optest.Case) bool { return backend == "cpu" || !narrow(c) })
		})
		if backend == "cpu" {
			continue
		}
		t.Run(backend+", own kernels", func(t *testing.T) {
			testSameBits(t, enginetest.Open(t, backend, engine.Options{TF32: true, Own: true}),
				func(c optest.Case) bool { return fewChannels(t, c) })
		})
	}
}

func testSameBits(t *testing.T, d engine.Device, wanted func(optest.Case) bool) {
	for _, c := range optest.Cases() {
		if !wanted(c) {
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

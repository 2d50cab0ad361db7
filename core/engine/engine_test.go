package engine_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
)

// addition is a program of one op on n elements.
func addition(t testing.TB, n int64) (g *graph.Graph, x, y, sum *graph.Value) {
	t.Helper()
	b := graph.NewBuilder(true)
	x, y = b.Input("x", graph.Shape{n}, graph.TypeF32), b.Input("y", graph.Shape{n}, graph.TypeF32)
	sum = b.Add(x, y)
	b.Output(sum)
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g, x, y, sum
}

// place gives every value of an addition 64 bytes of its own.
var place = []int64{0, 64, 128}

func TestOpen(t *testing.T) {
	enginetest.NeedsCPU(t)
	for _, c := range []struct {
		name    string
		backend string
		options engine.Options
		want    string // part of the error; empty: it opens
	}{
		{"the default", "auto", engine.Options{}, ""},
		{"the reference", "reference", engine.Options{}, ""},
		{"the null backend", "null", engine.Options{}, ""},
		{"a second processor", "cpu", engine.Options{Device: 1}, "device 1: the only device is 0"},
		{"fewer threads than none", "cpu", engine.Options{Threads: -1}, "-1 threads"},
		{"more threads than a process can have", "cpu", engine.Options{Threads: 1 << 20}, "1048576 threads"},
		{"threads that wrap", "cpu", engine.Options{Threads: 1<<32 + 1}, "out of range"},
		{"an unknown backend", "tpu", engine.Options{}, `"tpu"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := engine.Open(c.backend, c.options)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
	_, err := engine.Open("cuda", engine.Options{})
	var missing *engine.Unavailable
	if !errors.As(err, &missing) || missing.Hint() == "" {
		t.Errorf("cuda: got %v, want *Unavailable with a hint", err)
	}
}

// TestNoCPU: each file of the cpu backend is left out by the tag nocpu. A constraint that is
// written with a space is none, and says nothing.
func TestNoCPU(t *testing.T) {
	enginetest.NeedsCPU(t)
	files, err := filepath.Glob("native/*.cc")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files, %v, want those of the cpu backend", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		const want = "//go:build !nocpu\n\n"
		if !strings.HasPrefix(string(text), want) {
			t.Errorf("%s: got %.30q, want it to begin with %q", file, text, want)
		}
	}
}

// TestMisuse calls what must not be called: each is an error that says why, and
// the device works afterwards.
func TestMisuse(t *testing.T) {
	d := openDevice(t, "cpu", 1)
	g, x, _, sum := addition(t, 4)
	p, err := d.Prepare(g)
	if err != nil {
		t.Fatal(err)
	}
	arena, err := d.NewArena(192)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(name, want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, want)
		}
	}
	four, none := []float32{1, 2, 3, 4}, []int64{0}
	refused("run before bind", "not bound", p.Run(0, 1))
	refused("write before bind", "not bound", p.Write(x, four))
	refused("read before bind", "not bound", p.Read(sum, four))
	refused("a place beyond the arena", "are outside of the arena", p.Bind(arena, []int64{0, 64, 192}, none))
	refused("a crooked place", "multiple of 64", p.Bind(arena, []int64{0, 64, 65}, none))
	refused("an operand without a place", "no offset", p.Bind(arena, []int64{0, 64, -1}, none))
	refused("a bind that failed", "not bound", p.Run(0, 1))
	refused("offsets of another program", "the program has 3 and 1", p.Bind(arena, []int64{0}, none))
	if err := p.Bind(arena, place, none); err != nil {
		t.Fatal(err)
	}
	refused("too few elements", "12 bytes of f32: must be 16", p.Write(x, four[:3]))
	refused("another type", "of s32", p.Write(x, []int32{1, 2, 3, 4}))
	refused("a type that no value has", "float64", p.Write(x, []float64{1, 2, 3, 4}))
	refused("ops beyond the end", "range", p.Run(0, 2))
	refused("ops backwards", "range", p.Run(1, 0))
	refused("negative ops", "range", p.Run(-1, 1))
	refused("bytes beyond the arena", "reach beyond", arena.ReadAt(make([]byte, 1), 192))
	if err := p.Run(0, 1); err != nil {
		t.Error(err)
	}
	arena.Close()
	refused("run in a freed arena", "freed", p.Run(0, 1))
	p.Close()
	p.Close()
	refused("run of a closed program", "null", p.Run(0, 1))
	d.Close()
	if _, err := d.Prepare(g); err == nil {
		t.Error("prepare on a closed device: no error")
	}
}

// TestOutOfMemory asks for an arena that no device has: the error says so, and the device still runs.
func TestOutOfMemory(t *testing.T) {
	for _, backend := range enginetest.Backends() {
		d := enginetest.Open(t, backend, engine.Options{})
		_, err := d.NewArena(1 << 46)
		var memory *engine.OutOfMemory
		if !errors.As(err, &memory) || memory.NeedBytes != 1<<46 || memory.HaveBytes <= 0 || memory.Hint() == "" {
			t.Errorf("%s: got %#v, want *OutOfMemory with need and supply", backend, err)
		}
		b := graph.NewBuilder(true)
		x := b.Input("x", graph.Shape{4}, graph.TypeF32)
		y := b.Add(x, x)
		b.Output(y)
		g, err := b.Graph()
		if err != nil {
			t.Fatal(err)
		}
		p, got := bind(t, d, g), make([]float32, 4)
		err = errors.Join(p.Write(x, []float32{1, 2, 3, 4}), p.Run(0, 1), p.Read(y, got))
		if want := []float32{2, 4, 6, 8}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: after that: got %v, %v, want %v", backend, got, err, want)
		}
	}
}

// TestWrongLabel names the op and the sample.
func TestWrongLabel(t *testing.T) {
	b := graph.NewBuilder(true)
	logits, labels := b.Input("logits", graph.Shape{2, 3}, graph.TypeF32), b.Input("labels", graph.Shape{2}, graph.TypeS32)
	loss, _, _ := b.CrossEntropy(logits, labels)
	b.Output(loss)
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	p := bind(t, openDevice(t, "cpu", 1), g)
	for _, label := range []int32{3, -1} {
		if err := p.Write(labels, []int32{0, label}); err != nil {
			t.Fatal(err)
		}
		err := p.Run(0, 1)
		if err == nil || !strings.Contains(err.Error(), "of sample 1: the classes are 0 to 2") ||
			!strings.Contains(err.Error(), "op 0 cross_entropy") {
			t.Errorf("label %d: got %v", label, err)
		}
	}
}

// TestSharedArena binds two programs to one arena: what one writes to a place
// the other finds there, on both backends that compute.
func TestSharedArena(t *testing.T) {
	for _, name := range []string{"cpu", "reference"} {
		d := openDevice(t, name, 1)
		arena, err := d.NewArena(192)
		if err != nil {
			t.Fatal(err)
		}
		var programs []engine.Program
		var weights []*graph.Value
		for range 2 {
			b := graph.NewBuilder(true)
			w := b.Parameter("w", graph.Shape{4}, graph.Weight{})
			b.Output(b.Add(w, b.Input("x", graph.Shape{4}, graph.TypeF32)))
			g, err := b.Graph()
			if err != nil {
				t.Fatal(err)
			}
			p, err := d.Prepare(g)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Bind(arena, place, []int64{0}); err != nil {
				t.Fatal(err)
			}
			programs, weights = append(programs, p), append(weights, w)
		}
		want := []float32{1, 2, 3, 4}
		if err := programs[0].Write(weights[0], want); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 4)
		if err := programs[1].Read(weights[1], got); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
		}
		for _, p := range programs {
			p.Close()
		}
		arena.Close()
	}
}

// TestInPlaceSameBits runs each case that lies in place once with storage of its
// own for every value: no bit may differ.
func TestInPlaceSameBits(t *testing.T) {
	d := openDevice(t, "cpu", 2)
	count := 0
	for _, c := range optest.Cases() {
		if len(c.Shares) == 0 {
			continue
		}
		count++
		var results [2][][]float32
		for i := range results {
			g, err := c.Graph()
			if err != nil {
				t.Fatal(err)
			}
			if i == 1 {
				for _, v := range g.Values {
					v.Shares = nil
				}
			}
			p := bind(t, d, g)
			for v, content := range c.Values(g, 1) {
				write(t, p, v, content)
			}
			if err := p.Run(0, len(g.Ops)); err != nil {
				t.Fatal(err)
			}
			for _, v := range c.Op(g).Results {
				results[i] = append(results[i], read(t, p, v))
			}
		}
		for r := range results[0] {
			for j, x := range results[0][r] {
				if math.Float32bits(x) != math.Float32bits(results[1][r][j]) {
					t.Fatalf("%s: result %d, element %d: %g in place, %g apart", c, r, j, x, results[1][r][j])
				}
			}
		}
	}
	if count == 0 {
		t.Error("no case lies in place: nothing was tested")
	}
}

// TestNotANumberSurvives: a rectifier must not hide that training has diverged.
func TestNotANumberSurvives(t *testing.T) {
	b := graph.NewBuilder(true)
	x := b.Input("x", graph.Shape{40}, graph.TypeF32)
	y := b.ReLU(x)
	b.Output(y)
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	p := bind(t, openDevice(t, "cpu", 1), g)
	content := make([]float32, 40)
	for i := range content {
		content[i] = float32(math.NaN())
	}
	if err := p.Write(x, content); err != nil {
		t.Fatal(err)
	}
	if err := p.Run(0, 1); err != nil {
		t.Fatal(err)
	}
	for i, v := range read(t, p, y) {
		if v == v {
			t.Fatalf("element %d is %g, want not a number", i, v)
		}
	}
}

// TestNotANumberIsNoPrediction: of logits that are no numbers none is the largest, so nothing counts as
// correct, class 0 neither.
func TestNotANumberIsNoPrediction(t *testing.T) {
	nan := float32(math.NaN())
	for _, backend := range append(enginetest.Backends(), "reference") {
		b := graph.NewBuilder(true)
		logits, labels := b.Input("logits", graph.Shape{4, 3}, graph.TypeF32), b.Input("labels", graph.Shape{4}, graph.TypeS32)
		_, correct, _ := b.CrossEntropy(logits, labels)
		b.Output(correct)
		g, err := b.Graph()
		if err != nil {
			t.Fatal(err)
		}
		p := bind(t, openDevice(t, backend, 1), g)
		if err := errors.Join(p.Write(logits, []float32{nan, nan, nan, 3, 1, 2, nan, 0, 0, 0, 5, nan}),
			p.Write(labels, []int32{0, 0, 0, 1}), p.Run(0, 1)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, p, correct)[0]; got != 1 {
			t.Errorf("%s: got %g correct, want 1, the second", backend, got)
		}
	}
}

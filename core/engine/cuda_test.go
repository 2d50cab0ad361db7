package engine_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
	"github.com/localbench/localbench/results/planbook"
)

// cudaLibrary names the folder of the CUDA backend's library, as `make cuda` leaves it.
func cudaLibrary(t *testing.T) string {
	t.Helper()
	dir := enginetest.Library()
	if _, err := os.Stat(filepath.Join(dir, "liblocalbench_cuda.so")); err != nil {
		t.Skip("the CUDA backend is not built (make cuda): nothing of the library was tested")
	}
	return dir
}

// TestCUDAWithoutDevice loads the library: where there is no GPU it says what is missing.
func TestCUDAWithoutDevice(t *testing.T) {
	library := cudaLibrary(t)
	d, err := engine.Open("cuda", engine.Options{LibraryDir: library})
	if err == nil {
		d.Close()
		t.Skip("there is a device: nothing is missing")
	}
	var e *engine.Unavailable
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an error that says what is missing", err)
	}
	for _, part := range []string{"driver", "device"} {
		if strings.Contains(e.Why, part) {
			return
		}
	}
	t.Errorf("got %q, want a sentence about the driver or the device", e.Why)
}

// TestCUDAPlansWithoutDevice prepares every case of the op table on a machine that need not have a
// GPU: each kind has a kernel, and the workspace of own kernels is that of the stand-in.
func TestCUDAPlansWithoutDevice(t *testing.T) {
	enginetest.NeedsCPU(t)
	library := cudaLibrary(t)
	d, err := engine.Open("cuda", engine.Options{LibraryDir: library, Device: engine.PlanOnly})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	emulated := enginetest.Open(t, "emu", engine.Options{})
	for _, c := range optest.Cases() {
		g, err := c.Graph()
		if err != nil {
			t.Fatal(err)
		}
		p, err := d.Prepare(g)
		if err != nil {
			t.Errorf("%s: %v", c, err)
			continue
		}
		q, err := emulated.Prepare(g)
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range p.Kernels() {
			if name == "plain" && p.Scratch()[i] != q.Scratch()[i] {
				t.Errorf("%s: %d bytes of workspace, want %d", c, p.Scratch()[i], q.Scratch()[i])
			}
		}
		if _, err := d.NewArena(64); err == nil {
			t.Fatal("a device that only plans gave memory")
		}
		p.Close()
		q.Close()
	}
}

// fewChannels tells whether a case is a convolution that the CUDA backend has a kernel of its own for: of
// 3x3, stride 1 and padding 1, between 16 or 32 channels; with the backward pass of a normalisation in bf16 only, and of a
// normalised input where its activation only clips, or is absent.
func fewChannels(t *testing.T, c optest.Case) bool {
	t.Helper()
	g, err := c.Graph()
	if err != nil {
		t.Fatal(err)
	}
	op := c.Op(g)
	if op.NormalisesInput() && op.Attr.Activation > graph.ActivationReLU6 || op.ComputesStatistics() && op.Operands[2] != nil {
		return false
	}
	var x, w, y *graph.Value
	switch op.Kind {
	case graph.KindConv:
		x, w, y = op.Operands[0], op.Operands[1], op.Results[0]
	case graph.KindConvBackwardData:
		y, w, x = op.Operands[0], op.Operands[1], op.Results[0]
	case graph.KindConvBackwardWeights:
		x, y, w = op.Operands[0], op.Operands[1], op.Results[0]
	case graph.KindConvNormBackward:
		if a := op.Attr.Following; !narrow(c) || a != graph.ActivationNone && !a.Rectifies() {
			return false
		}
		x, y, w = op.Operands[0], op.Operands[3], op.Operands[1]
	default:
		return false
	}
	few := func(v *graph.Value) bool { n := v.Shape[3]; return n == 16 || n == 32 }
	return few(x) && few(y) && w.Shape[1] == 3 && w.Shape[2] == 3 && op.Attr.Stride == [2]int64{1, 1} &&
		op.Attr.Padding == [2]int64{1, 1} && op.Attr.Groups == 1
}

// TestOwnConvolutions asks for the backend's own kernels: it takes them for the convolutions that they
// are for and for no other, in f32 only where operands may be rounded to tf32.
func TestOwnConvolutions(t *testing.T) {
	backends := enginetest.Backends()
	for _, o := range []engine.Options{{Own: true}, {Own: true, TF32: true}, {TF32: true}} {
		d := enginetest.Open(t, backends[len(backends)-1], o)
		taken := 0
		for _, c := range optest.Cases() {
			want := fewChannels(t, c) && o.Own && (o.TF32 || narrow(c))
			g, err := c.Graph()
			if err != nil {
				t.Fatal(err)
			}
			p, err := d.Prepare(g)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Kernels()[0] == ownConvolution; got != want {
				t.Errorf("%+v: %s: kernel %q, want our own: %t", o, c, p.Kernels()[0], want)
			}
			if want {
				taken++
			}
			p.Close()
		}
		if o.Own && taken == 0 {
			t.Errorf("%+v: no case is for our own kernels", o)
		}
	}
}

// knownGPUs are those that plans can be made for where they are not.
func knownGPUs(t *testing.T) []planbook.GPU {
	book, err := planbook.Open("")
	if err != nil {
		t.Fatal(err)
	}
	return book.Kinds
}

// convolutions are the op table's programs with convolutions, by the names of their cases.
func convolutions(t *testing.T) map[string]*graph.Graph {
	found := map[string]*graph.Graph{}
	for _, c := range optest.Cases() {
		g, err := c.Graph()
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(g.Ops, isConvolution) {
			found[c.String()] = g
		}
	}
	return found
}

func isConvolution(op *graph.Op) bool {
	return op.Kind == graph.KindConv || op.Kind == graph.KindConvBackwardData || op.Kind == graph.KindConvBackwardWeights
}

// TestCUDAPlansForAbsentGPUs has cuDNN choose an engine for every convolution of the op table, for every GPU
// that the tuning cache knows: there is one, none is estimated, and the choices as a tuning
// cache give the same plan. A limit on workspaces holds.
func TestCUDAPlansForAbsentGPUs(t *testing.T) {
	library := cudaLibrary(t)
	const limit = 64 << 10
	cases := convolutions(t)
	for i, gpu := range knownGPUs(t) {
		options := []engine.Options{{TF32: true, WorkspaceLimit: limit}, {}, {TF32: true}, {Deterministic: true}}
		if i > 0 {
			options = options[:1]
		}
		for _, o := range options {
			o.LibraryDir, o.Device, o.Properties = library, engine.PlanOnly, string(gpu.Properties)
			d, err := engine.Open("cuda", o)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if d.Facts()["library"] == "none" {
				t.Skip("the host's stand-in plays the GPU: it has no cuDNN")
			}
			programs := map[string]engine.Program{}
			var book strings.Builder
			for c, g := range cases {
				p, err := d.Prepare(g)
				if err != nil {
					t.Errorf("%s, %s: %v", gpu.Name, c, err)
					continue
				}
				defer p.Close()
				for i, op := range g.Ops {
					if !isConvolution(op) {
						continue
					}
					name, bytes := p.Kernels()[i], p.Scratch()[i]
					if strings.Contains(name, "normalised input in the workspace") { // the limit is that of the engine
						bytes -= (op.Operands[0].Bytes() + 63) / 64 * 64
					}
					if !strings.HasPrefix(name, "cuDNN engine ") || o.WorkspaceLimit > 0 && bytes > limit+256 { // to align
						t.Errorf("%s, %s: got %q with %d bytes of workspace", gpu.Name, c, name, bytes)
					}
				}
				lines, err := p.(engine.Chooser).Choices()
				if err != nil {
					t.Fatal(err)
				}
				book.WriteString(lines)
				programs[c] = p
			}
			o.PlanBook = book.String()
			listed, err := engine.Open("cuda", o)
			if err != nil {
				t.Fatal(err)
			}
			defer listed.Close()
			for c, g := range cases {
				q, err := listed.Prepare(g)
				if err != nil {
					t.Errorf("%s, %s, from the book: %v", gpu.Name, c, err)
					continue
				}
				if p := programs[c]; p != nil && (!slices.Equal(p.Kernels(), q.Kernels()) || !slices.Equal(p.Scratch(), q.Scratch())) {
					t.Errorf("%s, %s: chosen %q %d, from the book %q %d", gpu.Name, c, p.Kernels(), p.Scratch(), q.Kernels(), q.Scratch())
				}
				q.Close()
			}
		}
	}
}

// TestCUDAChoosesTheSameAway: on a GPU, what is chosen for it without it, from what it tells of
// itself, is what is chosen on it.
func TestCUDAChoosesTheSameAway(t *testing.T) {
	if !slices.Equal(enginetest.Backends(), []string{"cuda"}) {
		t.Skip("no GPU is tested (-cuda)")
	}
	cases := convolutions(t)
	for _, o := range []engine.Options{{}, {TF32: true}, {TF32: true, Deterministic: true}} {
		here := enginetest.Open(t, "cuda", o)
		o.Device, o.Properties = engine.PlanOnly, here.(engine.Described).Properties()
		if o.Properties == "" {
			t.Skip("the device tells no properties")
		}
		away := enginetest.Open(t, "cuda", o)
		for c, g := range cases {
			p, err := here.Prepare(g)
			if err != nil {
				t.Fatal(err)
			}
			q, err := away.Prepare(g)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(p.Kernels(), q.Kernels()) || !slices.Equal(p.Scratch(), q.Scratch()) {
				t.Errorf("%s: here %q %d, away %q %d", c, p.Kernels(), p.Scratch(), q.Kernels(), q.Scratch())
			}
			p.Close()
			q.Close()
		}
	}
}

// TestBadProperties: what is no description of a GPU is refused, and nothing is timed where no
// device is.
func TestBadProperties(t *testing.T) {
	library := cudaLibrary(t)
	for want, o := range map[string]engine.Options{
		"device properties {}: must be JSON as cuDNN writes it": {Properties: "{}"},
		"tuning needs a device: none was opened":                {Tune: true},
	} {
		o.LibraryDir, o.Device = library, engine.PlanOnly
		d, err := engine.Open("cuda", o)
		if err == nil && d.Facts()["library"] == "none" {
			t.Skip("the host's stand-in plays the GPU: it has no cuDNN")
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// oneConvolution is a forward convolution of 24 channels, which has no kernel of our own.
func oneConvolution(t *testing.T) *graph.Graph {
	t.Helper()
	b := graph.NewBuilder(false)
	b.Output(b.Conv(b.Input("x", graph.Shape{8, 16, 16, 24}, graph.TypeF32),
		b.Input("w", graph.Shape{24, 3, 3, 24}, graph.TypeF32), nil, graph.ConvOptions{Padding: 1}))
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestPlanBookMismatch plans with caches that are not of this cuDNN or GPU. An engine that is not there, or that needs another
// workspace than the cache says, is left out: the op gets the engine that it gets without the cache, and the device's
// facts say which and why. A line that cannot be read is an error.
func TestPlanBookMismatch(t *testing.T) {
	library := cudaLibrary(t)
	g := oneConvolution(t)
	open := func(book string) (engine.Device, error) {
		d, err := engine.Open("cuda", engine.Options{LibraryDir: library, Device: engine.PlanOnly, TF32: true, PlanBook: book,
			Properties: string(knownGPUs(t)[0].Properties)})
		if err == nil {
			t.Cleanup(func() { d.Close() })
		}
		return d, err
	}
	prepare := func(book string) (engine.Program, string) {
		d, err := open(book)
		if err != nil {
			t.Fatal(err)
		}
		if d.Facts()["library"] == "none" {
			t.Skip("the host's emulator plays the GPU: it has no cuDNN")
		}
		p, err := d.Prepare(g)
		if err != nil {
			t.Fatal(err)
		}
		return p, d.Facts()[engine.UnusedTuning]
	}
	p, note := prepare("")
	line, err := p.(engine.Chooser).Choices()
	if err != nil || note != "" {
		t.Fatalf("without a cache: %v, note %q", err, note)
	}
	if q, note := prepare(line); !slices.Equal(q.Scratch(), p.Scratch()) || note != "" {
		t.Fatalf("the right cache: workspaces %d and %d, note %q", q.Scratch(), p.Scratch(), note)
	}
	fields := strings.Split(line, "\t")
	for want, change := range map[string]func(f []string){
		"1 of the cache's engines, such as conv tf32 x8x16x16x24 w24x3x3x24 s1x1 p1x1: engine eng123456": func(f []string) {
			f[1] = "123456"
		},
		"bytes of workspace, the cache says 77": func(f []string) { f[3] = "77" },
	} {
		changed := slices.Clone(fields)
		change(changed)
		q, note := prepare(strings.Join(changed, "\t"))
		if !strings.Contains(note, want) || !slices.Equal(q.Scratch(), p.Scratch()) || !slices.Equal(q.Kernels(), p.Kernels()) {
			t.Errorf("got %q, %q with %d bytes; want %q, %q with %d bytes", note, q.Kernels(), q.Scratch(), want, p.Kernels(), p.Scratch())
		}
		if again, err := q.(engine.Chooser).Choices(); err != nil || again != line {
			t.Errorf("got choices %q (%v), want %q", again, err, line)
		}
	}
	fields[3] = "much"
	const want = "tuning cache: line conv tf32"
	if _, err := open(strings.Join(fields, "\t")); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestTuningOnTheEmulator tunes where our own kernels and the plain loop are the candidates: the choices as a cache give
// the same kernels. A cache that names an engine of cuDNN is left out, and the facts say so.
func TestTuningOnTheEmulator(t *testing.T) {
	enginetest.NeedsCPU(t)
	g := oneConvolution(t)
	prepare := func(o engine.Options) (kernels []string, choices, note string) {
		o.TF32 = true
		d := enginetest.Open(t, "emu", o)
		p, err := d.Prepare(g)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if choices, err = p.(engine.Chooser).Choices(); err != nil {
			t.Fatal(err)
		}
		return p.Kernels(), choices, d.Facts()[engine.UnusedTuning]
	}
	kernels, lines, _ := prepare(engine.Options{Tune: true})
	if !strings.HasPrefix(lines, "conv tf32 x8x16x16x24 w24x3x3x24 s1x1 p1x1\t0\t\t0\t") || strings.HasSuffix(lines, "\t0\n") {
		t.Errorf("got choices %q, want the plain loop (engine 0) with its time", lines)
	}
	if again, same, note := prepare(engine.Options{PlanBook: lines}); !slices.Equal(again, kernels) || same != lines || note != "" {
		t.Errorf("from the cache: got %q, %q, %q; want %q, %q", again, same, note, kernels, lines)
	}
	other := strings.Replace(lines, "\t0\t", "\t28\t", 1)
	const want = "1 of the cache's engines, such as conv tf32 x8x16x16x24 w24x3x3x24 s1x1 p1x1: engine 28 does not exist here"
	if again, _, note := prepare(engine.Options{PlanBook: other}); !slices.Equal(again, kernels) || note != want {
		t.Errorf("got %q, %q; want %q, %q", again, note, kernels, want)
	}
}

// TestTuning builds testdata/tuning.cc with the emulator: the choice among candidates, and what happens to one that fails.
func TestTuning(t *testing.T) {
	enginetest.NeedsCPU(t)
	if _, err := enginetest.BuildEmulator(); err != nil {
		t.Fatal(err)
	}
	objects, err := filepath.Glob("../../build/emu/*.o")
	if err != nil || len(objects) == 0 {
		t.Fatalf("the emulator's objects: %d files, %v", len(objects), err)
	}
	runProgram(t, "tuning.cc", objects...)
}

// runProgram builds a program of testdata with the emulator's headers and the given objects, and runs it.
func runProgram(t *testing.T, source string, objects ...string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	arguments := append([]string{"-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-DLB_EMU", "testdata/" + source,
		"-o", program}, objects...)
	if out, err := exec.Command(cmp.Or(os.Getenv("CXX"), "g++"), arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command(program).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestWorkspaceEstimated plans for a GPU of which nothing is known and that the book does not have: the
// kernel says that its workspace is an estimate.
func TestWorkspaceEstimated(t *testing.T) {
	library := cudaLibrary(t)
	d, err := engine.Open("cuda", engine.Options{LibraryDir: library, Device: engine.PlanOnly})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Facts()["library"] == "none" {
		t.Skip("the host's stand-in plays the GPU: it has no cuDNN")
	}
	p, err := d.Prepare(oneConvolution(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got := p.Kernels()[0]; got != "cuDNN, workspace estimated" {
		t.Errorf("got %q, want an estimate", got)
	}
}

// TestLargeTensors prepares ops on tensors of 2^31 elements and more: kernels that count in 64 bits take them as they are,
// a convolution is computed in parts of the batch, and others refuse them.
func TestLargeTensors(t *testing.T) {
	backends := enginetest.Backends()
	d := enginetest.Open(t, backends[len(backends)-1], engine.Options{})
	const elements = "exceeds the limit of 2147483647 for ops of this kind"
	for name, c := range map[string]struct {
		build         func(b *graph.Builder) *graph.Value
		kernel, wrong string // what the name of the kernel ends with, or what the error says
	}{
		"2^31 elements, relu": {func(b *graph.Builder) *graph.Value {
			return b.ReLU(b.Input("x", graph.Shape{1 << 16, 1 << 15}, graph.TypeF32))
		}, "", ""},
		"2^31 elements, gelu": {func(b *graph.Builder) *graph.Value {
			return b.Activate(b.Input("x", graph.Shape{1 << 16, 1 << 15}, graph.TypeF32), graph.ActivationGELU)
		}, "", ""},
		"2^31 elements, layer norm": {func(b *graph.Builder) *graph.Value {
			v := b.Input("v", graph.Shape{1 << 15}, graph.TypeF32)
			return b.LayerNorm(b.Input("x", graph.Shape{1 << 16, 1 << 15}, graph.TypeF32), v, v, 1e-6)
		}, "", ""},
		"2^31 elements, linear": {func(b *graph.Builder) *graph.Value {
			x, w := b.Input("x", graph.Shape{1 << 16, 1 << 15}, graph.TypeF32), b.Input("w", graph.Shape{10, 1 << 15}, graph.TypeF32)
			return b.Linear(x, w, nil)
		}, "", "a tensor of 2147483648 elements " + elements + ": use a smaller batch"},
		// The first convolution of VGG-13 for 1,024 images.
		"3.3e9 elements, conv": {func(b *graph.Builder) *graph.Value {
			x, w := b.Input("x", graph.Shape{1024, 224, 224, 3}, graph.TypeF32), b.Input("w", graph.Shape{64, 3, 3, 3}, graph.TypeF32)
			return b.Conv(x, w, nil, graph.ConvOptions{Padding: 1})
		}, ", in 2 parts", ""},
		"2^31 elements a sample, conv": {func(b *graph.Builder) *graph.Value {
			x, w := b.Input("x", graph.Shape{2, 1 << 14, 1 << 15, 4}, graph.TypeF32), b.Input("w", graph.Shape{4, 1, 1, 4}, graph.TypeF32)
			return b.Conv(x, w, nil, graph.ConvOptions{})
		}, "", elements + ", and so do parts of its batch"},
	} {
		b := graph.NewBuilder(false)
		b.Output(c.build(b))
		g, err := b.Graph()
		if err != nil {
			t.Fatal(err)
		}
		p, err := d.Prepare(g)
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: got %v, want %q", name, err, c.wrong)
		}
		if err != nil {
			continue
		}
		if got := p.Kernels()[0]; !strings.HasSuffix(got, c.kernel) {
			t.Errorf("%s: got kernel %q, want one that ends with %q", name, got, c.kernel)
		}
		p.Close()
	}
}

// inParts are the kinds that are computed in parts of the batch where their tensors are too large.
var inParts = []graph.Kind{graph.KindConv, graph.KindConvBackwardData, graph.KindConvBackwardWeights, graph.KindMaxPool,
	graph.KindMaxPoolBackward, graph.KindAveragePool, graph.KindAveragePoolBackward, graph.KindAdaptiveAveragePool,
	graph.KindAdaptiveAveragePoolBackward, graph.KindUpsample, graph.KindUpsampleBackward, graph.KindGate, graph.KindGateBackward}

// TestBatchParts lowers the limit of elements, so that the ops of small tensors are computed in parts: convolutions, pooling,
// upsampling and gates give the results of the reference all the same, with our own convolutions, in bf16 and in place too.
func TestBatchParts(t *testing.T) {
	enginetest.NeedsCPU(t)
	options := []engine.Options{{TF32: true}, ownKernels}
	var devices []engine.Device
	for _, o := range options {
		devices = append(devices, enginetest.Open(t, "emu", o))
	}
	for i, d := range devices {
		split := map[graph.Kind]int{}
		for _, c := range optest.Cases() {
			if !slices.Contains(inParts, c.Kind) {
				continue
			}
			r, err := newTrial(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, limit := range []string{"20000", "5000", "2500", "300", "60"} { // after opening, which runs a few ops, too
				t.Setenv("LB_EMU_MOST_ELEMENTS", limit)
				p, err := d.Prepare(r.graph)
				if err != nil {
					if !strings.Contains(err.Error(), "exceeds the limit of "+limit) {
						t.Errorf("%s: %v", c, err)
					}
					continue
				}
				parts := strings.HasSuffix(p.Kernels()[0], " parts")
				p.Close()
				if !parts {
					continue
				}
				split[c.Kind]++
				r.inParts = true
				if err := r.on(t, d); err != nil {
					t.Errorf("%s, %s elements: %v", c, limit, err)
				}
			}
		}
		for _, k := range inParts {
			if split[k] == 0 {
				t.Errorf("%+v: %s: no case was computed in parts", options[i], k)
			}
		}
	}
}

const ownConvolution = "own, tensor cores"

// TestPlanBookNamesOwnKernel plans with a book whose line is the backend's own kernel (engine -1): the
// workspace is the kernel's. A line for shapes that it is not for is left out.
func TestPlanBookNamesOwnKernel(t *testing.T) {
	library := cudaLibrary(t)
	limit := int64(0)
	prepare := func(book string, channels int64) (engine.Program, error) {
		d, err := engine.Open("cuda", engine.Options{LibraryDir: library, Device: engine.PlanOnly, TF32: true, PlanBook: book,
			WorkspaceLimit: limit})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		if d.Facts()["library"] == "none" {
			t.Skip("the host's stand-in plays the GPU: it has no tuning cache")
		}
		b := graph.NewBuilder(true)
		x := b.Input("x", graph.Shape{8, 32, 32, channels}, graph.TypeF32)
		w := b.Input("w", graph.Shape{16, 3, 3, channels}, graph.TypeF32)
		conv := &graph.Op{Kind: graph.KindConv, Operands: []*graph.Value{x, w, nil},
			Attr: graph.Attributes{Stride: [2]int64{1, 1}, Padding: [2]int64{1, 1}, Groups: 1}}
		b.ConvBackwardWeights(conv, b.Input("dy", graph.Shape{8, 32, 32, 16}, graph.TypeF32))
		g, err := b.Graph()
		if err != nil {
			t.Fatal(err)
		}
		return d.Prepare(g)
	}
	line := func(channels int) string {
		return fmt.Sprintf("conv_backward_weights tf32 x8x32x32x%[1]d w16x3x3x%[1]d s1x1 p1x1\t-1\t\t0\t11\n", channels)
	}
	p, err := prepare(line(16), 16)
	if err != nil {
		t.Fatal(err)
	}
	// 8x32 rows by 32 columns are 32 tiles of 256 elements, and a block's sums are 16x3x3x16 numbers.
	if name, bytes := p.Kernels()[0], p.Scratch()[0]; name != ownConvolution || bytes != 32*16*3*3*16*4 {
		t.Errorf("got %q with %d bytes of workspace, want our own kernel with %d", name, bytes, 32*16*3*3*16*4)
	}
	lines, err := p.(engine.Chooser).Choices()
	if want := strings.Replace(line(16), "\t0\t11", fmt.Sprintf("\t%d\t11", 32*16*3*3*16*4), 1); err != nil || lines != want {
		t.Errorf("got %q (%v), want %q", lines, err, want)
	}
	if q, err := prepare(line(24), 24); err != nil || q.Kernels()[0] != "cuDNN, workspace estimated" {
		t.Errorf("24 channels: got %v, want no kernel of the cache", err)
	}
	limit = 32*16*3*3*16*4 - 1
	for _, book := range []string{line(16), lines} { // the second says what the kernel needs
		p, err := prepare(book, 16)
		if err != nil {
			t.Fatal(err)
		}
		if name := p.Kernels()[0]; name != "cuDNN, workspace estimated" {
			t.Errorf("at most %d bytes of workspace: got %q, want no kernel of the cache", limit, name)
		}
	}
}

// TestMissingLibrary looks for a backend in an empty folder, and in a file that is no library.
func TestMissingLibrary(t *testing.T) {
	dir := t.TempDir()
	open := func() *engine.Unavailable {
		_, err := engine.Open("cuda", engine.Options{LibraryDir: dir})
		var e *engine.Unavailable
		if !errors.As(err, &e) || e.Hint() == "" {
			t.Fatalf("got %v, want what is missing and what to do", err)
		}
		return e
	}
	if e := open(); !strings.Contains(e.Why, dir) {
		t.Errorf("got %q, want the folders that were looked in", e.Why)
	}
	if err := os.WriteFile(filepath.Join(dir, "liblocalbench_cuda.so"), []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	if e := open(); !strings.Contains(e.Why, "liblocalbench_cuda.so") {
		t.Errorf("got %q, want the file that is no library", e.Why)
	}
}

// TestFragments builds testdata/fragments.cc with the stand-in's headers: what lanes of a warp hold of the
// operands of a product on tensor cores is what CUTLASS says of these instructions.
func TestFragments(t *testing.T) {
	enginetest.NeedsCPU(t)
	runProgram(t, "fragments.cc")
}

package networks_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/core/passes"
	"github.com/localbench/localbench/suite/networks"
	"github.com/localbench/localbench/suite/train"
)

// golden is what testdata/make_golden.py says of torchvision.
type golden struct {
	Networks []struct {
		Name       string
		Parameters int64
		Tensors    []string
	}
	Logits []goldenNetwork
}

type goldenNetwork struct {
	Network             string // its name, or the path of an exported one
	Side, Classes       int64
	Inference, Training []float64
	Gradients           []float64
}

// readJSON is the content of a file of testdata.
func readJSON[T any](t *testing.T, path string) (content T) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &content)
	}
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// build writes the forward pass of a network up to its logits with an empty builder.
func build(t *testing.T, b *graph.Builder, n *model.Network, batch int64) (g *graph.Graph, images, logits *graph.Value) {
	t.Helper()
	images = b.Input("images", append(graph.Shape{batch}, n.Input...), graph.TypeU8)
	x := b.NormalizeImage(images, [4]float64{120, 120, 120}, [4]float64{60, 60, 60})
	for _, u := range n.Units {
		b.In(u.Name, func() { x = u.Forward(b, x) })
	}
	logits = n.Head(b, x)
	b.Output(logits)
	b.Rewrite(0, passes.FuseNorm)
	g, err := b.Graph()
	if err != nil {
		t.Fatalf("%s: %v", n.Name, err)
	}
	passes.InPlace(g)
	if err := g.Verify(); err != nil {
		t.Fatalf("%s: %v", n.Name, err)
	}
	return g, images, logits
}

// TestTensors holds the networks against torchvision's: the number of parameters of
// all, the names, shapes and order of all tensors of some.
func TestTensors(t *testing.T) {
	known := map[string]bool{}
	for _, want := range readJSON[golden](t, "testdata/torchvision.json").Networks {
		known[want.Name] = true
		n, err := networks.New(want.Name, graph.Shape{224, 224, 3}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		g, _, _ := build(t, graph.NewBuilder(true), n, 2)
		var parameters int64
		var tensors []string
		for _, v := range g.Values {
			if v.Category == graph.CategoryParameter {
				parameters += v.Shape.Elements()
			}
			if v.Category.Persistent() {
				tensors = append(tensors, fmt.Sprint(v.Name, " ", v.CanonicalShape()))
			}
		}
		if parameters != want.Parameters {
			t.Errorf("%s: %d parameters, want %d", want.Name, parameters, want.Parameters)
		}
		// Where a block has a shortcut of its own, torchvision lists it last.
		slices.Sort(tensors)
		slices.Sort(want.Tensors)
		if len(want.Tensors) > 0 && !slices.Equal(tensors, want.Tensors) {
			t.Errorf("%s: tensors\n%s\nwant\n%s", want.Name, strings.Join(tensors, "\n"), strings.Join(want.Tensors, "\n"))
		}
	}
	for _, e := range networks.List() {
		if e.Small {
			continue // methods/testdata has those
		}
		if !known[e.Name] {
			t.Errorf("%s: torchvision.json does not have it", e.Name)
		}
	}
}

// formula is that of the script.
func formula(count, salt int64) []float64 {
	out := make([]float64, count)
	for i := range out {
		x := uint32(int64(i) + salt*7919)
		for range 2 {
			x = (x ^ x>>16) * 0x045D9F3B
		}
		out[i] = float64(x^x>>16)/(1<<31) - 1
	}
	return out
}

// fill is that of the script.
func fill(t *testing.T, p *core.Program) {
	t.Helper()
	for _, v := range p.Graph.Values {
		if !v.Category.Persistent() {
			continue
		}
		salt := int64(0)
		for at, letter := range []byte(v.Name) {
			salt += int64(at+1) * int64(letter)
		}
		canonical, program := make([]float32, v.Shape.Elements()), make([]float32, v.Shape.Elements())
		shape := v.CanonicalShape()
		fanIn := shape.Elements() / shape[0]
		for i, x := range formula(int64(len(canonical)), salt) {
			switch {
			case len(shape) > 1:
				x *= math.Sqrt(6 / float64(fanIn))
			case strings.HasSuffix(v.Name, ".weight"), strings.HasSuffix(v.Name, ".running_var"):
				x = 1 + x/4
			default:
				x /= 8
			}
			canonical[i] = float32(x)
		}
		graph.ToProgram(v, program, canonical)
		if err := p.Write(v, program); err != nil {
			t.Fatal(err)
		}
	}
}

// goldenLogits are those of torchvision, and of exported networks.
func goldenLogits(t *testing.T) []goldenNetwork {
	return append(readJSON[golden](t, "testdata/torchvision.json").Logits, readJSON[golden](t, "testdata/exported.json").Logits...)
}

// TestLogits runs networks on two images, with running statistics and with the batch's, and
// holds the logits against torchvision's in double precision.
func TestLogits(t *testing.T) {
	d := enginetest.Open(t, enginetest.Backends()[0], engine.Options{Threads: 1})
	for _, want := range goldenLogits(t) {
		for _, training := range []bool{false, true} {
			if testing.Short() && (!training || want.Side > 64) || !training && len(want.Inference) == 0 {
				continue
			}
			compareLogits(t, d, want, training, fill)
		}
	}
}

// compareLogits runs a network on the images of the script, with weights that set writes, and compares the logits with the golden
// ones.
func compareLogits(t *testing.T, d engine.Device, want goldenNetwork, training bool, set func(*testing.T, *core.Program)) {
	t.Helper()
	name := fmt.Sprintf("%s, %d pixels, training %v", want.Network, want.Side, training)
	n, err := networks.New(want.Network, graph.Shape{want.Side, want.Side, 3}, want.Classes)
	if err != nil {
		t.Fatal(err)
	}
	g, images, logits := build(t, graph.NewBuilder(training), n, 2)
	p, err := core.Compile(d, &core.Step{Graph: g}, nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer p.Program.Close()
	arena, err := core.Arena(d, p)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer arena.Close()
	set(t, p)
	pixels := pixelsOf(images.Shape.Elements(), 7)
	got := make([]float32, logits.Shape.Elements())
	for _, err := range []error{p.Write(images, pixels), p.Run(0, len(g.Ops)), p.Read(logits, got)} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	expected, largest, off := want.Inference, 0.0, 0.0
	if training {
		expected = want.Training
	}
	for i, x := range expected {
		largest, off = max(largest, math.Abs(x)), max(off, math.Abs(float64(got[i])-x))
	}
	// Rounding of f32 through fifty layers; a batch of two amplifies it where variances are small.
	if !(off <= 1e-4*largest) {
		t.Errorf("%s: logits %v, want %v", name, got, expected)
	}
	t.Logf("%s: off by %.1e of the largest", name, off/largest)
}

// pixelsOf are the images of the script.
func pixelsOf(count, salt int64) []byte {
	pixels := make([]byte, count)
	for i, x := range formula(count, salt) {
		pixels[i] = byte((x + 1) * 128)
	}
	return pixels
}

// TestGradients trains one step of plain gradient descent by back-propagation and holds what the
// parameters moved by against torchvision's gradients in double precision.
func TestGradients(t *testing.T) {
	d := enginetest.Open(t, enginetest.Backends()[0], engine.Options{Threads: 1})
	// Large, so that the difference of the weights is not all rounding.
	const rate = 1000
	for _, want := range goldenLogits(t) {
		if want.Gradients == nil || testing.Short() && want.Side > 64 {
			continue
		}
		n, err := networks.New(want.Network, graph.Shape{want.Side, want.Side, 3}, want.Classes)
		if err != nil {
			t.Fatal(err)
		}
		stages := []model.Stage{{Units: n.Units, Losses: n.HeadLosses, Classifier: true}}
		s, err := train.NewSession(d, train.SessionOptions{Stages: stages, Step: core.StepOptions{Batch: 2, Image: n.Input,
			Mean: [4]float64{120, 120, 120}, Deviation: [4]float64{60, 60, 60}}})
		if err != nil {
			t.Fatalf("%s: %v", want.Network, err)
		}
		if err := s.Initialise(1); err != nil { // momentum
			t.Fatal(err)
		}
		fill(t, s.Training)
		var parameters []*graph.Value
		before := map[*graph.Value][]float32{}
		read := func(v *graph.Value) []float32 {
			x := make([]float32, v.Shape.Elements())
			if err := s.Training.Read(v, x); err != nil {
				t.Fatal(err)
			}
			return x
		}
		for _, v := range s.Training.Graph.Values {
			if v.Category == graph.CategoryParameter {
				parameters, before[v] = append(parameters, v), read(v)
			}
		}
		slices.SortFunc(parameters, func(a, b *graph.Value) int { return strings.Compare(a.Name, b.Name) })
		if len(parameters) != len(want.Gradients) {
			t.Fatalf("%s: %d parameters, want %d", want.Network, len(parameters), len(want.Gradients))
		}
		if _, err := s.Train(pixelsOf(2*want.Side*want.Side*3, 7), []int32{0, 1}, rate); err != nil {
			t.Fatal(err)
		}
		worst := 0.0
		for i, v := range parameters {
			sum, rounding := 0.0, 0.0
			for j, x := range read(v) {
				sum += math.Abs(float64(before[v][j]-x)) / rate
				rounding += 1e-7 * math.Abs(float64(x)) / rate
			}
			// A bias before a normalisation has no gradient but rounding; and rounding changes the sign of
			// some elements before a ReLU, which shows most at the narrow ends of the deep networks.
			off := max(math.Abs(sum-want.Gradients[i])-rounding-1e-4, 0) / (want.Gradients[i] + 1e-3)
			if worst = max(worst, off); !(off <= 2e-2) {
				t.Errorf("%s: the gradient of %s sums to %g, want %g", want.Network, v.Name, sum, want.Gradients[i])
			}
		}
		t.Logf("%s: off by at most %.1e", want.Network, worst)
		s.Close()
	}
}

package methods_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/core/rng"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
	"github.com/localbench/localbench/suite/train"
)

// moduleTerms are the losses of a module by name, in single and in double precision.
type moduleTerms struct{ Terms, Terms64 map[string]float64 }

// golden is a trace made by testdata/make_golden.py with PyTorch: the same
// weights, the same batches, every loss term of every module at every step.
type golden struct {
	Case struct {
		Network, Method string
		Modules         int
		AuxDepth        int `json:"aux_depth"`
		Pyramid         float64
		Batch, Steps    int
		Mode            methods.Mode
		Program         bool // as the published program runs the method
		Seed            uint64
		LearningRate    float64 `json:"learning_rate"`
		Momentum        float64
		Nesterov        bool
		WeightDecay     float64 `json:"weight_decay"`
		Optimizer       string  // empty: SGD
		Betas           []float64
		Eps, Alpha      float64
	}
	ParameterCount int64 `json:"parameter_count"`
	Steps          [][]moduleTerms
	Parameters     []struct {
		Name    string
		Initial [2]float64 // sum, and sum of absolute values
		Final   [2]float64
		Final64 [2]float64
	}
	Running []struct {
		Name                               string
		Mean, Variance, Mean64, Variance64 float64
	}
}

// goldenFiles lists the traces. Those of methods that are not there yet are
// skipped by name.
func goldenFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/golden_*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden traces in testdata: %v", err)
	}
	return files
}

// TestGoldenTraces follows PyTorch step by step, every loss term of every module,
// from the same weights and batches. What rounding does to a case shows in its
// trace, which holds float32 and float64 side by side: the losses must agree
// within 1e-4 and eight times that drift so far. That is at most 1e-2 at the
// tenth step, and under AugLocal, where nothing amplifies it, 1e-4 throughout: a
// learning rate, a momentum or a Nesterov term that is off by a percent shows.
//
// With -short the traces of four modules are followed to their end, and the others for two steps on the cpu.
//
// On the host's CUDA emulator two of the traces are followed for a few steps: it is slow, and
// its ops are tested one by one. Three are enough for all ways in which it runs a step.
func TestGoldenTraces(t *testing.T) {
	for _, backend := range enginetest.Backends() {
		for _, file := range goldenFiles(t) {
			name := strings.TrimSuffix(filepath.Base(file), ".json")
			steps := map[string]int{"golden_resnet32_auglocal_d2": 1, "golden_resnet32_infopro_contrast_k4": 3}[name]
			if backend == "emu" && (steps == 0 || testing.Short()) {
				continue
			}
			t.Run(backend+" "+name, func(t *testing.T) {
				g := readGolden(t, file)
				if _, err := methods.Find(g.Case.Method); err != nil {
					t.Skipf("method %s is not there yet; nothing of it was tested", g.Case.Method)
				}
				if backend == "emu" {
					g.Steps = g.Steps[:steps]
				} else if testing.Short() && !strings.Contains(name, "_k4") {
					g.Steps = g.Steps[:2]
				}
				follow(t, enginetest.Open(t, backend, engine.Options{Deterministic: backend == "cuda"}), g, core.StepOptions{})
			})
		}
	}
}

// TestGoldenRounded follows two of the traces in tf32 and in bf16, with the CUDA backend's own convolutions: ten steps on a GPU,
// one on the emulator; and ten in bf16 on the cpu. The traces are float32, so the limits are wide: operands of products are
// rounded to 10 bits in tf32, and in bf16 all activations to 7, which is expected to move a loss by some 1e-3 and 1e-2. A
// wrong kernel moves it by more.
func TestGoldenRounded(t *testing.T) {
	for _, backend := range enginetest.Backends() {
		t.Run(backend, func(t *testing.T) { testGoldenRounded(t, backend) })
	}
}

func testGoldenRounded(t *testing.T, backend string) {
	for _, name := range []string{"golden_resnet32_bp", "golden_resnet32_auglocal_d2"} {
		for _, c := range []struct {
			name   string
			mixed  bool
			limits [2]float64 // at the first step, and what each step adds
		}{{"tf32", false, [2]float64{2e-3, 4e-3}}, {"bf16", true, [2]float64{1e-2, 1e-2}}} {
			if backend == "cpu" && !c.mixed {
				continue // it has no tf32
			}
			t.Run(name+" "+c.name, func(t *testing.T) {
				g := readGolden(t, filepath.Join("testdata", name+".json"))
				d := enginetest.Open(t, backend, engine.Options{TF32: !c.mixed, Own: true})
				if d.Facts()["library"] == "none" { // the emulator
					if testing.Short() && (name != "golden_resnet32_bp" || !c.mixed) {
						t.Skip("-short: one trace in bf16 is enough on the emulator")
					}
					g.Steps = g.Steps[:1]
				}
				s := goldenSession(t, d, g, core.StepOptions{Mixed: c.mixed})
				defer s.Close()
				for i, want := range g.Steps {
					images, labels := goldenBatch(g.Case.Seed, i, g.Case.Batch)
					got, err := s.Train(images, labels, g.Case.LearningRate)
					if err != nil {
						t.Fatal(err)
					}
					compareLosses(t, i, c.limits[0]+float64(i)*c.limits[1], s.Training.Losses, got.Losses, want)
				}
			})
		}
	}
}

func readGolden(t *testing.T, file string) (g golden) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return g
}

// follow trains the steps of a trace, with the options of o that change no result but by rounding.
func follow(t *testing.T, d engine.Device, g golden, o core.StepOptions) {
	t.Helper()
	whole := len(g.Steps) == g.Case.Steps
	s := goldenSession(t, d, g, o)
	defer s.Close()
	compareParameters(t, s, g, true)
	limit := 1e-4
	for i, want := range g.Steps {
		for _, m := range want {
			for name, x := range m.Terms64 {
				limit = max(limit, 1e-4+8*math.Abs(m.Terms[name]-x)/math.Abs(x))
			}
		}
		if limit > 1e-2 {
			t.Fatalf("step %d: the trace drifts too far to be followed: limit %g", i+1, limit)
		}
		images, labels := goldenBatch(g.Case.Seed, i, g.Case.Batch)
		if err := s.Feed(train.Batch{Images: images, Labels: labels, Step: uint32(i)}, g.Case.LearningRate); err != nil {
			t.Fatal(err)
		}
		got, err := s.Step()
		if err != nil {
			t.Fatal(err)
		}
		compareLosses(t, i, limit, s.Training.Losses, got.Losses, want)
	}
	if whole {
		compareParameters(t, s, g, false)
	}
}

// goldenSession is the session of a trace, with the options of o.
func goldenSession(t *testing.T, d engine.Device, g golden, o core.StepOptions) *train.Session {
	t.Helper()
	stages, o := goldenStages(t, g, o)
	s, err := train.NewSession(d, train.SessionOptions{Stages: stages, Step: o})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Initialise(g.Case.Seed); err != nil {
		t.Fatal(err)
	}
	return s
}

// goldenStages are the stages of a trace, and o with the batch, the images and the optimizer of the trace.
func goldenStages(t *testing.T, g golden, o core.StepOptions) ([]model.Stage, core.StepOptions) {
	t.Helper()
	n, err := networks.New(g.Case.Network, graph.Shape{32, 32, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	m, err := methods.Find(g.Case.Method)
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, methods.Options{Modules: g.Case.Modules, AuxDepth: g.Case.AuxDepth,
		PyramidCoefficient: g.Case.Pyramid, Mode: g.Case.Mode, Dataset: "cifar10", Program: g.Case.Program})
	if err != nil {
		t.Fatal(err)
	}
	o.Batch, o.Image, o.Optimizer = int64(g.Case.Batch), n.Input, goldenOptimizer(t, g)
	o.Mean, o.Deviation = [4]float64{125.3, 123.0, 113.9}, [4]float64{63.0, 62.1, 66.7}
	return stages, o
}

func goldenOptimizer(t *testing.T, g golden) graph.Optimizer {
	t.Helper()
	switch c := g.Case; c.Optimizer {
	case "":
		return graph.SGDOptions{Momentum: c.Momentum, WeightDecay: c.WeightDecay, Nesterov: c.Nesterov}
	case "adamw":
		return graph.AdamOptions{Beta1: c.Betas[0], Beta2: c.Betas[1], Epsilon: c.Eps, WeightDecay: c.WeightDecay, Decoupled: true}
	case "rmsprop":
		return graph.RMSpropOptions{Alpha: c.Alpha, Epsilon: c.Eps, Momentum: c.Momentum, WeightDecay: c.WeightDecay}
	}
	t.Fatalf("unknown optimizer %q", g.Case.Optimizer)
	return nil
}

// goldenBatch makes batch i as the script does: half noise, half a pattern of
// the class, so that there is something to learn.
func goldenBatch(seed uint64, step, n int) ([]byte, []int32) {
	const size, label, noise, pattern = 32 * 32 * 3, rng.PurposeGolden, rng.PurposeGolden + 1, rng.PurposeGolden + 2
	octet := func(p rng.Purpose, epoch uint32, j int) byte {
		word := rng.Stream{Seed: seed, Purpose: p, Epoch: epoch}.Uint32(uint64(j / 4))
		return byte(word >> (8 * (j % 4)))
	}
	images, labels := make([]byte, n*size), make([]int32, n)
	for i := range labels {
		labels[i] = int32(rng.Stream{Seed: seed, Purpose: label, Epoch: uint32(step)}.Uint32(uint64(i)) % 10)
		for j := range size {
			images[i*size+j] = octet(noise, uint32(step), i*size+j)/2 + octet(pattern, uint32(labels[i]), j)/2
		}
	}
	return images, labels
}

func compareLosses(t *testing.T, step int, limit float64, losses []core.ModuleLoss, got []float32, want []moduleTerms) {
	t.Helper()
	seen := 0
	for i, l := range losses {
		w, ok := want[l.Module].Terms[l.Name]
		if !ok {
			t.Fatalf("step %d, module %d: the trace has no term %q", step+1, l.Module, l.Name)
		}
		seen++
		if off := math.Abs(float64(got[i])-w) / math.Abs(w); !(off <= limit) {
			t.Errorf("step %d, module %d, %s: loss %g, want %g: off by %.1e, at most %.1e", step+1, l.Module, l.Name, got[i], w,
				off, limit)
		}
	}
	for m := range want {
		seen -= len(want[m].Terms)
	}
	if seen != 0 {
		t.Errorf("step %d: %d loss terms too many", step+1, seen)
	}
}

// compareParameters compares the sums of every parameter with the trace: the
// initial ones must agree but for the order of summation, the final ones within
// 1e-3. Biases of normalisations begin at zero and are the sum of ten small
// gradients of both signs, which rounding reaches first: within 30% they say
// that they were updated with the right sign, rate and decay.
func compareParameters(t *testing.T, s *train.Session, g golden, initial bool) {
	t.Helper()
	values := map[string]*graph.Value{}
	var count int64
	for _, v := range s.Persistent() {
		values[v.Name] = v
		if v.Category <= graph.CategoryAuxiliaryParameter {
			count += v.Shape.Elements()
		}
	}
	if count != g.ParameterCount {
		t.Errorf("%d parameters, want %d", count, g.ParameterCount)
	}
	for _, want := range g.Parameters {
		v := values[want.Name]
		if v == nil {
			t.Fatalf("no parameter is named %q", want.Name)
		}
		got, tolerance, expected := sums(t, s, v), 1e-6, want.Initial
		if !initial {
			expected, tolerance = want.Final64, 1e-3
			if v.Weight.Init == graph.InitConstant && v.Weight.Scale == 0 {
				tolerance = 0.3
			}
		}
		if off := math.Abs(got[1]-expected[1]) / math.Max(expected[1], 1e-3); !(off <= tolerance) {
			t.Errorf("%s (initial %v): sum of absolute values %g, want %g", want.Name, initial, got[1], expected[1])
		}
	}
	if initial {
		return
	}
	for _, want := range g.Running {
		got := sums(t, s, values[want.Name+".running_var"])
		if off := math.Abs(got[0]-want.Variance64) / math.Abs(want.Variance64); !(off <= 1e-2) {
			t.Errorf("%s: sum of the running variances %g, want %g", want.Name, got[0], want.Variance64)
		}
	}
}

// sums returns the sum and the sum of absolute values.
func sums(t *testing.T, s *train.Session, v *graph.Value) (out [2]float64) {
	t.Helper()
	x := make([]float32, v.Shape.Elements())
	if err := s.Training.Read(v, x); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", v.Name, err))
	}
	for _, e := range x {
		out[0] += float64(e)
		out[1] += math.Abs(float64(e))
	}
	return out
}

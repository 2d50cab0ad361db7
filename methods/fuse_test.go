package methods_test

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/budget"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/methods"
)

// fusedNorms counts the ops of a program that have work of a normalisation fused.
func fusedNorms(g *graph.Graph) (n int) {
	for _, op := range g.Ops {
		if op.NormalisesInput() || op.ComputesStatistics() || op.Kind == graph.KindConvNormBackward {
			n++
		}
	}
	return n
}

// TestFusedNormalisations trains every method with normalisations fused into convolutions and compares losses and state after
// the steps with those of the program without: on the reference backend, in double precision, they differ by rounding of what
// is read in f32 alone; on the others by f32 rounding over a few steps.
func TestFusedNormalisations(t *testing.T) {
	for _, backend := range append(enginetest.Backends(), "reference") {
		for _, m := range methods.List() {
			for _, network := range tinyNetworks() {
				wide := network.network != "resnet20"
				// The units of VGG have nothing to fuse: a pool reads their results, or another module.
				few := m.Name == "bp" || m.Name == "auglocal"
				if network.network == "vgg11" || wide && (backend != "cpu" || !few || testing.Short()) ||
					backend == "emu" && testing.Short() && !few {
					continue
				}
				t.Run(backend+" "+m.Name+" "+network.network, func(t *testing.T) { fusedTrainsAlike(t, backend, m.Name, network) })
			}
		}
	}
}

func fusedTrainsAlike(t *testing.T, backend, method string, network tiny) {
	if backend == "reference" {
		enginetest.NeedsCPU(t)
	}
	d := enginetest.Open(t, backend, engine.Options{Threads: 1, Deterministic: backend == "cuda"})
	// With a batch of 12 and a rate of 0.1 rounding errors grow from step to step: those of the cpu, which adds up in another order,
	// to 1e-5 of the loss of the second step and to anything in the state of large networks after five.
	limits := map[string][2]float64{"reference": {1e-6, 1e-6}, "cpu": {5e-5, 2e-2}, "emu": {2e-3, 2e-3}, "cuda": {2e-3, 2e-3}}
	second, last := limits[backend][0], limits[backend][1]
	if backend == "cpu" && network.network != "resnet20" {
		last = math.Inf(1)
	}
	plain := network.session(t, d, method, core.StepOptions{})
	if n := fusedNorms(plain.Training.Graph); n > 0 {
		t.Fatalf("%d ops have a normalisation fused without being asked for", n)
	}
	want := bits(t, plain, false)
	for name, o := range map[string]core.StepOptions{
		"input":                   {FuseNorm: core.FuseNormInput},
		"input, norms recomputed": {FuseNorm: core.FuseNormInput, RecomputeNorm: true},
		"statistics":              {FuseNorm: core.FuseNormStatistics},
		"gradient":                {FuseNorm: core.FuseNormGradient},
		"all, norms recomputed":   {FuseNorm: core.FuseNormAll, RecomputeNorm: true},
	} {
		s := network.session(t, d, method, o)
		if fusedNorms(s.Training.Graph) == 0 {
			t.Errorf("%s: nothing is fused", name)
		}
		most := plain.Training.Profile.PlannedPeakBytes
		if o.FuseNorm&core.FuseNormStatistics != 0 {
			most += most / 1000 // the statistics are made a step earlier, beside the convolution's workspace
		}
		if o.FuseNorm&core.FuseNormGradient != 0 {
			most += besideBoth(s.Training)
		}
		if backend == "cpu" {
			most += 16 << 10 // the constants of normalisations, in the workspace of convolutions
		}
		if got := s.Training.Profile.PlannedPeakBytes; got > most {
			t.Errorf("%s: a planned peak of %d bytes, %d without", name, got, most)
		}
		got := bits(t, s, false)
		steps := 2 * len(s.Training.Losses)
		near(t, name+", two steps", got[:steps], want[:steps], second)
		near(t, name, got, want, last)
		if name == "statistics" && backend != "cuda" && backend != "cpu" {
			same(t, name+", norm_stats in the same op", got, want)
		}
		poisoned := network.session(t, d, method, o)
		core.Poison(poisoned.Training)
		same(t, name+", poisoned", bits(t, poisoned, false), bits(t, network.session(t, d, method, o), false))
	}
}

// besideBoth is what a step may need more if the two gradients of a convolution are computed by one op, which reads the gradient
// of the normalised result: the convolution's result as well, both gradients at the same time, and its workspace, which is that
// of both kernels and has the gradient of the result or a part of it.
func besideBoth(p *core.Program) (most int64) {
	for i, op := range p.Graph.Ops {
		if op.Kind == graph.KindConvNormBackward {
			result, coefficients := op.Operands[3].Bytes(), op.Operands[4].Bytes()
			most = max(most, result+coefficients+op.Results[0].Bytes()+op.Results[1].Bytes()+p.Scratch()[i])
		}
	}
	return most
}

// TestStoredOnEveryBackend trains with compressed activations and fused normalisations on every backend: the losses of the first
// step are those without compression to the bit, later ones and the parameters are not, and poisoned values change no bit.
func TestStoredOnEveryBackend(t *testing.T) {
	for _, backend := range append(enginetest.Backends(), "reference") {
		for _, method := range []string{"bp", "auglocal"} {
			for _, fuse := range []core.FuseNorm{0, core.FuseNormInput} {
				t.Run(fmt.Sprintf("%s %s, fused %d", backend, method, fuse), func(t *testing.T) {
					if backend == "reference" {
						enginetest.NeedsCPU(t)
					}
					d := enginetest.Open(t, backend, engine.Options{Threads: 1, Deterministic: backend == "cuda"})
					want := bits(t, tinySession(t, d, method, core.StepOptions{FuseNorm: fuse}), false)
					o := core.StepOptions{FuseNorm: fuse, Store: graph.StoreInt8}
					s := tinySession(t, d, method, o)
					got, first := bits(t, s, false), len(s.Training.Losses)
					same(t, "the first step", got[:first], want[:first])
					if slices.Equal(got, want) {
						t.Error("all bits are those without compression")
					}
					poisoned := tinySession(t, d, method, o)
					core.Poison(poisoned.Training)
					same(t, "poisoned", bits(t, poisoned, false), got)
				})
			}
		}
	}
}

// TestGoldenFusedNormalisations follows traces of PyTorch with normalisations fused into convolutions, within the limits of
// TestGoldenTraces; checkpoint follows that of back-propagation. Some also recompute: the normalisations that are left, or what
// a budget that is a share of the arena needs.
func TestGoldenFusedNormalisations(t *testing.T) {
	for _, c := range []struct {
		trace, method string
		recompute     bool
		budget        float64 // share of the arena; 0: none
	}{
		{trace: "bp", method: "bp"},
		{trace: "bp", method: "bp", recompute: true},
		{trace: "bp", method: "bp", budget: 0.75},
		{trace: "bp", method: "checkpoint"},
		{trace: "dgl", method: "dgl"},
		{trace: "predsim", method: "predsim"},
		{trace: "infopro_softmax", method: "infopro"},
		{trace: "infopro_contrast_k4", method: "infopro"},
		{trace: "man", method: "man"},
		{trace: "auglocal_d2", method: "auglocal"},
		{trace: "auglocal_d2", method: "auglocal", budget: 0.9},
	} {
		for _, backend := range enginetest.Backends() {
			if backend == "emu" && (testing.Short() || c.method != "bp" || c.recompute || c.budget > 0) {
				continue // slow: its ops are tested one by one
			}
			t.Run(fmt.Sprintf("%s %s, %s, recomputed norms %v, budget %g", backend, c.trace, c.method, c.recompute, c.budget),
				func(t *testing.T) {
					g := readGolden(t, filepath.Join("testdata", "golden_resnet32_"+c.trace+".json"))
					if g.Case.Method = c.method; backend == "emu" {
						g.Steps = g.Steps[:1]
					} else if testing.Short() && c.trace != "bp" {
						g.Steps = g.Steps[:2]
					}
					d := enginetest.Open(t, backend, engine.Options{Deterministic: backend == "cuda"})
					stages, o := goldenStages(t, g, core.StepOptions{FuseNorm: core.FuseNormInput, RecomputeNorm: c.recompute})
					p := compiled(t, d, stages, o)
					if fusedNorms(p.Graph) == 0 {
						t.Fatal("nothing is fused")
					}
					if c.budget > 0 {
						bytes := int64(c.budget * float64(p.Layout.ArenaBytes()))
						var err error
						if o, err = budget.Fit(d, stages, o, bytes); err != nil {
							t.Fatal(err)
						}
						fitted := compiled(t, d, stages, o)
						if got := fitted.Layout.ArenaBytes(); got > bytes || len(o.Recompute) == 0 || fusedNorms(fitted.Graph) == 0 {
							t.Errorf("budget of %d bytes: an arena of %d, %d results recomputed, %d normalisations fused", bytes, got,
								len(o.Recompute), fusedNorms(fitted.Graph))
						}
					}
					follow(t, d, g, o)
				})
		}
	}
}

// compiled is the training step of stages on a device.
func compiled(t *testing.T, d engine.Device, stages []model.Stage, o core.StepOptions) *core.Program {
	t.Helper()
	s, err := core.TrainingStep(stages, o)
	if err != nil {
		t.Fatal(err)
	}
	p, err := core.Compile(d, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// near compares numbers, each relative to the larger of its size and 1.
func near(t *testing.T, what string, got, want []uint32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	for i := range got {
		g, w := float64(math.Float32frombits(got[i])), float64(math.Float32frombits(want[i]))
		if !(math.Abs(g-w) <= tolerance*max(1, math.Abs(w))) {
			t.Fatalf("%s: number %d is %g, want %g", what, i, g, w)
		}
	}
}

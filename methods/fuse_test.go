package methods_test

import (
	"math"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
)

// fusedNorms counts the ops of a program that have work of a normalisation fused.
func fusedNorms(g *graph.Graph) (n int) {
	for _, op := range g.Ops {
		if op.NormalisesInput() {
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
	tolerance := map[string]float64{"reference": 1e-6}[backend]
	if tolerance == 0 {
		tolerance = 2e-3 // a batch of 12 and a rate of 0.1: rounding errors grow from step to step
	}
	plain := network.session(t, d, method, core.StepOptions{})
	if n := fusedNorms(plain.Training.Graph); n > 0 {
		t.Fatalf("%d ops have a normalisation fused without being asked for", n)
	}
	want := bits(t, plain, false)
	for name, o := range map[string]core.StepOptions{
		"input":                   {FuseNorm: core.FuseNormInput},
		"input, norms recomputed": {FuseNorm: core.FuseNormInput, RecomputeNorm: true},
	} {
		s := network.session(t, d, method, o)
		if fusedNorms(s.Training.Graph) == 0 {
			t.Errorf("%s: nothing is fused", name)
		}
		if got, most := s.Training.Profile.PlannedPeakBytes, plain.Training.Profile.PlannedPeakBytes; got > most {
			t.Errorf("%s: a planned peak of %d bytes, %d without", name, got, most)
		}
		near(t, name, bits(t, s, false), want, tolerance)
		poisoned := network.session(t, d, method, o)
		core.Poison(poisoned.Training)
		same(t, name+", poisoned", bits(t, poisoned, false), bits(t, network.session(t, d, method, o), false))
	}
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

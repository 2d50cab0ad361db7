package methods_test

import (
	"math"
	"slices"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
	"github.com/localbench/localbench/suite/train"
)

// session is a training session of batch 8 on the cpu, with seed 3.
func session(t *testing.T, network, method string, o methods.Options) *train.Session {
	t.Helper()
	n, err := networks.New(network, graph.Shape{32, 32, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	m, err := methods.Find(method)
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := engine.Open("cpu", engine.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	s, err := train.NewSession(d, train.SessionOptions{Stages: stages, Step: core.StepOptions{
		Batch: 8, Image: n.Input, Mean: [4]float64{125.3, 123.0, 113.9}, Deviation: [4]float64{63.0, 62.1, 66.7},
		SGD: graph.SGDOptions{Momentum: 0.9, WeightDecay: 1e-4, Nesterov: true}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Initialise(3); err != nil {
		t.Fatal(err)
	}
	return s
}

func trainSteps(t *testing.T, s *train.Session, steps int) (losses []float32) {
	t.Helper()
	for i := range steps {
		images, labels := goldenBatch(3, i, 8)
		out, err := s.Train(images, labels, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, out.Losses...)
	}
	return losses
}

func content(t *testing.T, s *train.Session, v *graph.Value) []float32 {
	t.Helper()
	x := make([]float32, v.Shape.Elements())
	if err := s.Training.Read(v, x); err != nil {
		t.Fatal(err)
	}
	return x
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// TestGradientIsolation perturbs all parameters of the modules behind module m
// and trains a step: the parameters up to m, which differ from where they began by
// their gradients only, must be the same bits. Under bp they must not be.
func TestGradientIsolation(t *testing.T) {
	for _, m := range methods.List() {
		o := methods.Options{}
		undisturbed, disturbed := session(t, "resnet20", m.Name, o), session(t, "resnet20", m.Name, o)
		border := 2
		if !m.Local() {
			border = -1 // one module: perturb the head, look at the stem
		}
		later := func(v *graph.Value) bool {
			return v.Module > border && (m.Local() || v.Name == "fc.weight")
		}
		for _, v := range disturbed.Persistent() {
			if !later(v) || v.Category > graph.CategoryAuxiliaryParameter {
				continue
			}
			x := content(t, disturbed, v)
			for i := range x {
				x[i] = x[i]*1.5 + 0.1*float32(i%3)
			}
			if err := disturbed.Training.Write(v, x); err != nil {
				t.Fatal(err)
			}
		}
		trainSteps(t, undisturbed, 1)
		trainSteps(t, disturbed, 1)
		moved, looked := 0, 0
		want := undisturbed.Persistent()
		for i, v := range disturbed.Persistent() {
			if later(v) || v.Category > graph.CategoryAuxiliaryParameter {
				continue
			}
			looked++
			if !sameBits(content(t, disturbed, v), content(t, undisturbed, want[i])) {
				moved++
			}
		}
		if looked < 9 {
			t.Errorf("%s: only %d parameters were looked at", m.Name, looked)
		}
		if m.Local() && moved > 0 {
			t.Errorf("%s: %d of %d parameters up to module %d feel what is behind it", m.Name, moved, looked, border)
		}
		if !m.Local() && moved == 0 {
			t.Errorf("%s: no parameter feels the head", m.Name)
		}
	}
}

// TestCheckpointEqualsBP wants the same bits after five steps, whatever the
// segment, running statistics included.
func TestCheckpointEqualsBP(t *testing.T) {
	bp := session(t, "resnet20", "bp", methods.Options{})
	want := trainSteps(t, bp, 5)
	for _, segment := range []int{0, 1, 4, 10} {
		s := session(t, "resnet20", "checkpoint", methods.Options{Segment: segment})
		if got := trainSteps(t, s, 5); !sameBits(got, want) {
			t.Errorf("segment %d: losses %v, want %v", segment, got, want)
		}
		for i, v := range s.Persistent() {
			if !sameBits(content(t, s, v), content(t, bp, bp.Persistent()[i])) {
				t.Errorf("segment %d: %s differs", segment, v.Name)
			}
		}
	}
}

// TestCheckpointSaves plans resnet110: at most 45 % of bp's activations are alive at
// the peak.
func TestCheckpointSaves(t *testing.T) {
	d, err := engine.Open("cpu", engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	activations := func(method string) int64 {
		p, err := core.Compile(d, step(t, "resnet110", method, methods.Options{}), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Program.Close()
		return p.Profile.ByCategory[graph.CategorySaved] + p.Profile.ByCategory[graph.CategoryActivation]
	}
	if bp, got := activations("bp"), activations("checkpoint"); float64(got) > 0.45*float64(bp) || got == 0 {
		t.Errorf("checkpoint keeps %d bytes of activations at its peak, bp %d: %.2f times, want at most 0.45", got, bp, float64(got)/float64(bp))
	} else {
		t.Logf("checkpoint keeps %.3f times the activations of bp", float64(got)/float64(bp))
	}
}

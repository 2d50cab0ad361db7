package methods_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/budget"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
	"github.com/localbench/localbench/suite/train"
)

// session is a training session of batch 8 on the cpu, with seed 3.
func session(t *testing.T, network, method string, o methods.Options) *train.Session {
	t.Helper()
	return sessionWith(t, network, method, o, core.StepOptions{})
}

// sessionWith is session with the given ways of trading memory.
func sessionWith(t *testing.T, network, method string, o methods.Options, trade core.StepOptions) *train.Session {
	t.Helper()
	s, err := fittedSession(t, network, method, o, trade, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fittedSession is sessionWith, fitted into a budget of limit bytes; 0: no budget.
func fittedSession(t *testing.T, network, method string, o methods.Options, trade core.StepOptions,
	limit int64) (*train.Session, error) {
	t.Helper()
	enginetest.NeedsCPU(t)
	return sessionOn(t, enginetest.Open(t, "cpu", engine.Options{Threads: 1}), network, method, o, trade, limit)
}

// sessionOn is fittedSession on a device.
func sessionOn(t *testing.T, d engine.Device, network, method string, o methods.Options, trade core.StepOptions,
	limit int64) (*train.Session, error) {
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
	trade.Batch, trade.Image = 8, n.Input
	trade.Mean, trade.Deviation = [4]float64{125.3, 123.0, 113.9}, [4]float64{63.0, 62.1, 66.7}
	trade.Optimizer = graph.SGDOptions{Momentum: 0.9, WeightDecay: 1e-4, Nesterov: true}
	if limit > 0 {
		if trade, err = budget.Fit(d, stages, trade, limit); err != nil {
			return nil, err
		}
	}
	s, err := train.NewSession(d, train.SessionOptions{Stages: stages, Step: trade})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Initialise(3); err != nil {
		t.Fatal(err)
	}
	return s, nil
}

func trainSteps(t *testing.T, s *train.Session, steps int) (losses []float32) {
	t.Helper()
	for i := range steps {
		images, labels := goldenBatch(3, i, 8)
		if err := s.Feed(train.Batch{Images: images, Labels: labels, Seed: 3, Step: uint32(i)}, 0.05); err != nil {
			t.Fatal(err)
		}
		out, err := s.Step()
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

// TestGradientIsolation perturbs all parameters of the modules after module m
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
			t.Errorf("%s: %d of %d parameters up to module %d depend on later modules", m.Name, moved, looked, border)
		}
		if !m.Local() && moved == 0 {
			t.Errorf("%s: no parameter feels the head", m.Name)
		}
	}
}

// TestCheckpointEqualsBP wants the same bits after three steps, whatever the
// segment, running statistics included. Dropout masks are drawn again, and are the same.
func TestCheckpointEqualsBP(t *testing.T) {
	const steps = 3
	cases := map[string][]int{"resnet20": {0, 1, 4, 10}, "vgg11": {0, 2}, "efficientnetb0": {4}}
	if testing.Short() {
		cases = map[string][]int{"resnet20": {0, 4}}
	}
	for network, segments := range cases {
		drops := core.StepOptions{Dropout: true}
		bp := sessionWith(t, network, "bp", methods.Options{}, drops)
		want := trainSteps(t, bp, steps)
		for _, segment := range segments {
			s := sessionWith(t, network, "checkpoint", methods.Options{Segment: segment}, drops)
			if got := trainSteps(t, s, steps); !sameBits(got, want) {
				t.Errorf("%s, segment %d: losses %v, want %v", network, segment, got, want)
			}
			for i, v := range s.Persistent() {
				if !sameBits(content(t, s, v), content(t, bp, bp.Persistent()[i])) {
					t.Errorf("%s, segment %d: %s differs", network, segment, v.Name)
				}
			}
		}
	}
}

// TestCheckpointSaves plans resnet110: at most 45 % of bp's activations are alive at
// the peak.
func TestCheckpointSaves(t *testing.T) {
	enginetest.NeedsCPU(t)
	d := enginetest.Open(t, "cpu", engine.Options{Threads: 1})
	activations := func(method string) int64 {
		p, err := core.Compile(d, step(t, "resnet110", method, methods.Options{}), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Program.Close()
		return p.Profile.ByCategory[graph.CategorySaved] + p.Profile.ByCategory[graph.CategoryActivation]
	}
	if bp, got := activations("bp"), activations("checkpoint"); float64(got) > 0.45*float64(bp) || got == 0 {
		t.Errorf("checkpoint keeps %d bytes of activations at its peak, bp %d: %.2f times, want at most 0.45", got, bp,
			float64(got)/float64(bp))
	} else {
		t.Logf("checkpoint keeps %.3f times the activations of bp", float64(got)/float64(bp))
	}
}

// TestTradingMemoryKeepsTheBits: recomputed normalisations, deferred updates and
// budgets change where bytes are, not what they are. A budget holds.
func TestTradingMemoryKeepsTheBits(t *testing.T) {
	for _, m := range methods.List() {
		if testing.Short() && m.Name != "bp" && m.Name != "dgl" {
			continue
		}
		plain := session(t, "resnet20", m.Name, methods.Options{})
		want := trainSteps(t, plain, 3)
		check := func(name string, s *train.Session) {
			if got := trainSteps(t, s, 3); !sameBits(got, want) {
				t.Errorf("%s, %s: losses %v, want %v", m.Name, name, got, want)
			}
			for _, v := range s.Persistent() {
				if !sameBits(content(t, s, v), content(t, plain, plain.Training.Graph.Parameter(v.Name))) {
					t.Errorf("%s, %s: %s differs", m.Name, name, v.Name)
				}
			}
			before, after := plain.Training.Profile.PlannedPeakBytes, s.Training.Profile.PlannedPeakBytes
			if name == "recompute" && m.Name != "checkpoint" && after >= before || name == "deferred" && after < before {
				t.Errorf("%s, %s: planned peak %d, plain %d", m.Name, name, after, before)
			}
		}
		for name, trade := range map[string]core.StepOptions{
			"recompute": {RecomputeNorm: true}, "deferred": {DeferUpdates: true}, "both": {RecomputeNorm: true, DeferUpdates: true},
		} {
			check(name, sessionWith(t, "resnet20", m.Name, methods.Options{}, trade))
		}
		percents := []int64{90, 75}
		if m.Name == "bp" {
			percents = append(percents, 50)
		}
		for _, percent := range percents {
			limit := plain.Training.Layout.ArenaBytes() * percent / 100
			s, err := fittedSession(t, "resnet20", m.Name, methods.Options{}, core.StepOptions{}, limit)
			var over *budget.TooSmall
			if errors.As(err, &over) && m.Name != "bp" && (m.Name != "auglocal" || percent < 90) {
				continue // of so small a batch most is parameters: the others have little to give
			}
			if err != nil {
				t.Fatalf("%s in %d %%: %v", m.Name, percent, err)
			}
			check(fmt.Sprintf("%d %%", percent), s)
			if arena := s.Training.Layout.ArenaBytes(); arena > limit {
				t.Errorf("%s in %d %%: the arena has %d bytes, want at most %d", m.Name, percent, arena, limit)
			}
		}
	}
}

// TestDropoutAndTradingMemory: a dropout whose mask or output the backward pass recomputes drops the same
// elements, different ones in each step, and none without the option.
func TestDropoutAndTradingMemory(t *testing.T) {
	plain := sessionWith(t, "efficientnetb0", "bp", methods.Options{}, core.StepOptions{Dropout: true})
	want := trainSteps(t, plain, 2)
	if got := trainSteps(t, session(t, "efficientnetb0", "bp", methods.Options{}), 2); sameBits(got[:1], want[:1]) {
		t.Errorf("losses %v without dropout as with it", got)
	}
	for name, trade := range map[string]core.StepOptions{"recompute": {RecomputeNorm: true}, "deferred": {DeferUpdates: true},
		"budget": {}} {
		trade.Dropout = true
		limit := int64(0)
		if name == "budget" {
			limit = plain.Training.Layout.ArenaBytes() * 85 / 100
		}
		s, err := fittedSession(t, "efficientnetb0", "bp", methods.Options{}, trade, limit)
		if err != nil {
			t.Fatal(err)
		}
		if got := trainSteps(t, s, 2); !sameBits(got, want) {
			t.Errorf("%s: losses %v, want %v", name, got, want)
		}
		for _, v := range s.Persistent() {
			if !sameBits(content(t, s, v), content(t, plain, plain.Training.Graph.Parameter(v.Name))) {
				t.Errorf("%s: %s differs", name, v.Name)
			}
		}
	}
}

// TestRecomputeNormSaves: on resnet110 at most 60 % of bp's planned peak is left.
func TestRecomputeNormSaves(t *testing.T) {
	enginetest.NeedsCPU(t)
	d := enginetest.Open(t, "cpu", engine.Options{Threads: 1})
	n, err := networks.New("resnet110", graph.Shape{32, 32, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := methods.Find("bp")
	stages, err := m.Stages(n, methods.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var peaks [2]int64
	for i := range peaks {
		s, err := core.TrainingStep(stages, core.StepOptions{Batch: 1024, Image: n.Input, Deviation: [4]float64{1, 1, 1},
			RecomputeNorm: i == 1})
		if err != nil {
			t.Fatal(err)
		}
		p, err := core.Compile(d, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		peaks[i] = p.Profile.PlannedPeakBytes
		p.Program.Close()
	}
	if share := float64(peaks[1]) / float64(peaks[0]); share > 0.6 {
		t.Errorf("planned peak %d with, %d without: %.2f times, want at most 0.6", peaks[1], peaks[0], share)
	}
}

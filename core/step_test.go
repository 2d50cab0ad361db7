package core_test

import (
	"math"
	"strings"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/core/reference"
	"github.com/localbench/localbench/core/rng"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

// tiny is the smallest network with everything in it: ResNet-8 on 8x8 images
// has a projection shortcut, plain blocks and three stages.
func tiny(t *testing.T, method string) []model.Stage {
	t.Helper()
	n, err := networks.New("resnet20", graph.Shape{8, 8, 3}, 3)
	if err != nil {
		t.Fatal(err)
	}
	n.Units = append(n.Units[:2:2], n.Units[4], n.Units[7])
	m, err := methods.Find(method)
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, methods.Options{AuxDepth: 1})
	if err != nil {
		t.Fatal(err)
	}
	return stages
}

func tinyStep(t *testing.T, stages []model.Stage) *core.Step {
	t.Helper()
	s, err := core.TrainingStep(stages, core.StepOptions{Batch: 3, Image: graph.Shape{8, 8, 3},
		Mean: [4]float64{120, 120, 120}, Deviation: [4]float64{60, 60, 60}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run executes the step once from fixed random weights, changed by perturb, with
// plain SGD of rate 1, and returns the machine.
func run(t *testing.T, s *core.Step, perturb func(v *graph.Value, x []float64)) *reference.Machine {
	t.Helper()
	m := reference.New(s.Graph)
	for _, v := range s.Graph.Values {
		if !v.Category.Persistent() {
			continue
		}
		x := make([]float64, v.Shape.Elements())
		if strings.HasSuffix(v.Name, "running_var") {
			for i := range x {
				x[i] = 1
			}
		} else if !strings.HasSuffix(v.Name, ".momentum") {
			fillWeights(v, x)
		}
		if perturb != nil {
			perturb(v, x)
		}
		m.Set(v, x)
	}
	images, labels := make([]float64, s.Images.Shape.Elements()), []float64{0, 2, 1}
	for i := range images {
		images[i] = float64(rng.Stream{Seed: 9}.Uint32(uint64(i)) % 256)
	}
	m.Set(s.Images, images)
	m.Set(s.Labels, labels)
	m.Set(s.LearningRate, []float64{1})
	if err := m.Run(0, len(s.Graph.Ops)); err != nil {
		t.Fatal(err)
	}
	return m
}

// fillWeights draws what does not cancel: norm scales near one, the rest of
// the size that its layer's initialisation has.
func fillWeights(v *graph.Value, x []float64) {
	stream := rng.Stream{Seed: 5, Purpose: rng.PurposeInit, Epoch: rng.NameKey(v.Name)}
	scale, shift := 0.3, 0.0
	if len(v.Shape) == 1 && strings.HasSuffix(v.Name, "weight") {
		shift = 1
	}
	if w := v.Weight; w != nil && w.Init != graph.InitConstant {
		scale = w.Scale
	}
	for i := range x {
		x[i] = shift + scale*stream.Normal(uint64(i))
	}
}

func moduleLoss(t *testing.T, s *core.Step, m *reference.Machine, module int) float64 {
	t.Helper()
	var sum float64
	for _, l := range s.Losses {
		if l.Module == module {
			sum += l.Weight * m.Get(l.Value)[0]
		}
	}
	return sum
}

// TestStepGradients compares the update of every parameter, under bp and under a
// local method, with central differences of its own module's loss in
// float64: reverse mode, the fusions and the early updates together. A parameter is moved
// along a direction in which every element has its part.
func TestStepGradients(t *testing.T) {
	for _, method := range []string{"bp", "auglocal"} {
		s := tinyStep(t, tiny(t, method))
		before := map[string][]float64{}
		after := run(t, s, func(v *graph.Value, x []float64) { before[v.Name] = append([]float64(nil), x...) })
		for n, v := range s.Graph.Values {
			if v.Category > graph.CategoryAuxiliaryParameter {
				continue
			}
			const h = 1e-6
			direction := rng.Stream{Seed: uint64(n), Purpose: rng.PurposeSynthetic}
			at := func(delta float64) float64 {
				m := run(t, s, func(u *graph.Value, x []float64) {
					for i := range x {
						if u == v {
							x[i] += delta * direction.Normal(uint64(i))
						}
					}
				})
				return moduleLoss(t, s, m, v.Module)
			}
			var got, size float64
			for i, x := range after.Get(v) {
				along := (before[v.Name][i] - x) * direction.Normal(uint64(i))
				got, size = got+along, size+along*along
			}
			// The terms have both signs: rounding is relative to their size and not to that of the sum.
			if want := (at(h) - at(-h)) / (2 * h); math.Abs(got-want) > 1e-6+1e-4*math.Sqrt(size) {
				t.Errorf("%s: %s: gradient %g along the direction, want %g", method, v.Name, got, want)
			}
		}
	}
}

// TestGradientIsolation perturbs the last module: no earlier module's update
// may change by a bit.
func TestGradientIsolation(t *testing.T) {
	s := tinyStep(t, tiny(t, "auglocal"))
	last := s.Losses[len(s.Losses)-1].Module
	plain := run(t, s, nil)
	moved := run(t, s, func(v *graph.Value, x []float64) {
		if v.Module == last && v.Category == graph.CategoryParameter {
			x[0] += 0.5
		}
	})
	changed := false
	for _, v := range s.Graph.Values {
		if v.Category > graph.CategoryAuxiliaryParameter {
			continue
		}
		a, b := plain.Get(v), moved.Get(v)
		for i := range a {
			same := math.Float64bits(a[i]) == math.Float64bits(b[i])
			if v.Module < last && !same {
				t.Fatalf("%s of module %d changed with module %d", v.Name, v.Module, last)
			}
			changed = changed || !same
		}
	}
	if !changed {
		t.Error("the perturbation changed nothing: the test tests nothing")
	}
}

// TestFusions counts what is left of a block after the passes: no separate ReLU
// or add in the forward pass, no add where a normalisation can sum, no detach.
func TestFusions(t *testing.T) {
	s := tinyStep(t, tiny(t, "auglocal"))
	for i, op := range s.Graph.Ops {
		switch op.Kind {
		case graph.KindReLU, graph.KindReLUBackward, graph.KindDetach:
			t.Errorf("op %d at %s is a %s, want it fused", i, op.Scope, op.Kind)
		case graph.KindAdd:
			t.Errorf("op %d at %s is an add, want it fused", i, op.Scope)
		}
	}
}

// TestActivationsDieWithTheirModule checks that nothing of module k but its
// result is read by an op of a later module.
func TestActivationsDieWithTheirModule(t *testing.T) {
	s := tinyStep(t, tiny(t, "auglocal"))
	crossing := map[string]bool{}
	for _, op := range s.Graph.Ops {
		for _, v := range op.Operands {
			if v != nil && v.Module >= 0 && v.Module < op.Module {
				crossing[v.Name] = true
			}
		}
	}
	if want := s.Losses[len(s.Losses)-1].Module; len(crossing) != want {
		t.Errorf("%d values cross module borders, want one a border, %d: %v", len(crossing), want, crossing)
	}
}

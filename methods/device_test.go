package methods_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
	"github.com/localbench/localbench/suite/train"
)

// tiny is a few units of a network for images of 8 x 8.
type tiny struct {
	network string
	units   []int
	wide    bool // slow on the host's CUDA emulator
}

// tinyNetworks has one of each kind of block.
func tinyNetworks() []tiny {
	return []tiny{{"resnet20", []int{0, 1, 4, 7}, false}, {"resnet50", []int{0, 1, 4}, true}, {"vgg11", []int{0, 1, 2}, false},
		{"mobilenetv2", []int{0, 1, 2, 3}, true}, {"efficientnetb0", []int{0, 1, 2, 3}, false},
		{"regnetx400mf", []int{0, 1, 2, 3}, false}}
}

// tinySession trains a few units of ResNet-20 under a method.
func tinySession(t *testing.T, d engine.Device, method string, o core.StepOptions) *train.Session {
	t.Helper()
	return tinyNetworks()[0].session(t, d, method, o)
}

// session trains the units under a method, with dropout.
func (c tiny) session(t *testing.T, d engine.Device, method string, o core.StepOptions) *train.Session {
	t.Helper()
	n, err := networks.New(c.network, graph.Shape{8, 8, 3}, 3)
	if err != nil {
		t.Fatal(err)
	}
	var units []model.Unit
	for _, u := range c.units {
		units = append(units, n.Units[u])
	}
	n.Units = units
	m, err := methods.Find(method)
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, methods.Options{AuxDepth: 1, Segment: 2})
	if err != nil {
		t.Fatal(err)
	}
	o.Batch, o.Image, o.Dropout = 12, graph.Shape{8, 8, 3}, true
	o.Mean, o.Deviation = [4]float64{120, 120, 120}, [4]float64{60, 60, 60}
	o.Optimizer = graph.SGDOptions{Momentum: 0.9, WeightDecay: 1e-4, Nesterov: true}
	s, err := train.NewSession(d, train.SessionOptions{Stages: stages, Step: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Initialise(7); err != nil {
		t.Fatal(err)
	}
	return s
}

// bits trains some steps and returns the bits of all losses and of all parameters after the
// last step; ahead feeds the next batch while a step is under way.
func bits(t *testing.T, s *train.Session, ahead bool) (out []uint32) {
	t.Helper()
	feed := func(step int) {
		b := train.Batch{Images: make([]byte, 12*8*8*3), Labels: make([]int32, 12), Seed: 5, Step: uint32(step)}
		for i := range b.Images {
			b.Images[i] = byte((i + step) * 2654435761 >> 13)
		}
		for i := range b.Labels {
			b.Labels[i] = int32((i + step) % 3)
		}
		if err := s.Feed(b, 0.1); err != nil {
			t.Fatal(err)
		}
	}
	const steps = 5
	feed(0)
	for step := range steps {
		if err := s.Launch(); err != nil {
			t.Fatal(err)
		}
		if ahead && step+1 < steps {
			feed(step + 1)
		}
		got, err := s.Outcome()
		if err != nil {
			t.Fatal(err)
		}
		if !ahead && step+1 < steps {
			feed(step + 1)
		}
		for _, l := range got.Losses {
			out = append(out, math.Float32bits(l))
		}
	}
	for _, v := range s.Persistent() {
		x := make([]float32, v.Shape.Elements())
		if err := s.Training.Read(v, x); err != nil {
			t.Fatal(err)
		}
		for _, e := range x {
			out = append(out, math.Float32bits(e))
		}
	}
	return out
}

// TestModesGiveTheSameBits compares ways of running a step that must not change its results with the plain
// one: the next batch fed while a step runs, images that the device crops where they are,
// values poisoned at their planned death, and every value in a separate allocation.
// From the third step on the plain run is a replayed graph on a CUDA device, and the poisoned run
// is op by op.
func TestModesGiveTheSameBits(t *testing.T) {
	for _, backend := range append(enginetest.Backends(), "reference") {
		for _, m := range methods.List() {
			for _, network := range tinyNetworks() {
				if network.network != "resnet20" && (backend == "reference" || backend == "emu" && (m.Name != "bp" || network.wide)) {
					continue // half a minute each
				}
				if testing.Short() && (network.network != "resnet20" || m.Name != "bp" && m.Name != "auglocal") {
					continue
				}
				t.Run(backend+" "+m.Name+" "+network.network, func(t *testing.T) { modesGiveTheSameBits(t, backend, m.Name, network) })
			}
		}
	}
}

func modesGiveTheSameBits(t *testing.T, backend, method string, network tiny) {
	if backend == "reference" {
		enginetest.NeedsCPU(t)
	}
	o := engine.Options{Threads: 1, Deterministic: backend == "cuda", Own: backend != "cpu"}
	d := enginetest.Open(t, backend, o)
	want := bits(t, network.session(t, d, method, core.StepOptions{}), false)
	same(t, "fed ahead", bits(t, network.session(t, d, method, core.StepOptions{KeepInputs: true}), true), want)
	middle := core.StepOptions{KeepInputs: true, Augment: core.Augmentation{Pad: 3, Reflect: true, Flip: true}}
	same(t, "the crop in the middle", bits(t, network.session(t, d, method, middle), true), want)
	poisoned := network.session(t, d, method, core.StepOptions{})
	core.Poison(poisoned.Training)
	same(t, "poisoned", bits(t, poisoned, false), want)
	if backend == "cpu" || backend == "reference" { // their places have no allocations, and they compute in f32
		same(t, "a separate allocation for every value", bits(t, network.session(t, d, method, core.StepOptions{Scatter: true}),
			false), want)
		return
	}
	o.Scatter = true
	scattered := network.session(t, enginetest.Open(t, backend, o), method, core.StepOptions{Scatter: true})
	same(t, "scattered", bits(t, scattered, false), want)
	mixed := bits(t, network.session(t, d, method, core.StepOptions{Mixed: true}), false)
	poisonedMixed := network.session(t, d, method, core.StepOptions{Mixed: true})
	core.Poison(poisonedMixed.Training)
	same(t, "mixed, poisoned", bits(t, poisonedMixed, false), mixed)
}

// TestLateDevice trains on the emulated devices whose streams do no work until the host waits for them, and then no
// more than that; on the first of them all streams but one run ahead instead. A buffer that the host overwrites
// too early, or a missing wait between streams, gives different bits than the emulated device that
// executes everything immediately.
func TestLateDevice(t *testing.T) {
	enginetest.NeedsCPU(t)
	for method, options := range map[string][]core.StepOptions{"bp": {{}, {KeepInputs: true}},
		"auglocal": {{KeepInputs: true, Overlap: 2}}} {
		want := bits(t, tinySession(t, enginetest.Open(t, "emu", engine.Options{}), method, core.StepOptions{}), false)
		for _, late := range []int{6, 7} {
			if testing.Short() && late == 7 && method == "bp" {
				continue
			}
			d := enginetest.Open(t, "emu", engine.Options{Device: late})
			for _, o := range options {
				same(t, fmt.Sprintf("%s, fed ahead: %t, device %d", method, o.KeepInputs, late),
					bits(t, tinySession(t, d, method, o), o.KeepInputs), want)
			}
		}
	}
	if testing.Short() {
		return
	}
	// The stream of dropout is read until a step's end, and by several streams.
	drops := tinyNetworks()[4]
	want := bits(t, drops.session(t, enginetest.Open(t, "emu", engine.Options{}), "auglocal", core.StepOptions{}), false)
	late := drops.session(t, enginetest.Open(t, "emu", engine.Options{Device: 6}), "auglocal",
		core.StepOptions{KeepInputs: true, Overlap: 2})
	if late.Training.Stream == nil {
		t.Fatalf("%s drops nothing", drops.network)
	}
	same(t, drops.network+", device 6", bits(t, late, true), want)
}

func same(t *testing.T, what string, got, want []uint32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: number %d is %g, want %g", what, i, math.Float32frombits(got[i]), math.Float32frombits(want[i]))
		}
	}
}

// TestPoisonShows shortens a lifetime and sees the poison: a value that is read again after its
// death gives another step.
func TestPoisonShows(t *testing.T) {
	d := enginetest.Open(t, enginetest.Backends()[0], engine.Options{Threads: 1})
	s := tinySession(t, d, "bp", core.StepOptions{})
	last := s.Training.Graph.LastUse()
	for _, op := range s.Training.Graph.Ops {
		if op.Kind != graph.KindConvBackwardWeights {
			continue
		}
		// Its first operand is a saved activation: forget that it is read here.
		saved := op.Operands[0]
		if last[saved.ID] != indexOf(s.Training.Graph, op) {
			continue
		}
		op.Operands[0] = s.Training.Graph.Inputs[0]
		core.Poison(s.Training)
		op.Operands[0] = saved
		images, labels := make([]byte, 12*8*8*3), make([]int32, 12)
		for i := range images {
			images[i] = byte(i)
		}
		for range 2 {
			got, err := s.Train(images, labels, 0.1)
			if err != nil {
				t.Fatal(err)
			}
			if math.IsNaN(float64(got.Losses[0])) {
				return
			}
		}
		t.Fatalf("%s is dead when %s reads it, and nothing shows", saved.Name, op.Kind)
	}
	t.Fatal(fmt.Errorf("no activation is last read by the gradient of weights"))
}

func indexOf(g *graph.Graph, op *graph.Op) int {
	for i, o := range g.Ops {
		if o == op {
			return i
		}
	}
	return -1
}

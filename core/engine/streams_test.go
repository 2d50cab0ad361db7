package engine_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/plan"
	"github.com/localbench/localbench/core/rng"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
	"github.com/localbench/localbench/suite/train"
)

// The devices of the stand-in for CUDA differ in the order in which they replay a graph: in
// turn, the first stream as far ahead as may be, the last one, and by chance.
const replayOrders = 4

// overlapSteps is enough for an eager run, one with a clock, and two replays.
const overlapSteps = 4

// openStreams opens the stand-in that replays in an order, or the GPU, which has its own.
func openStreams(t *testing.T, order int) engine.Device {
	t.Helper()
	if slices.Contains(enginetest.Backends(), "cuda") {
		return enginetest.Open(t, "cuda", engine.Options{Deterministic: true})
	}
	return enginetest.Open(t, "emu", engine.Options{Device: order})
}

// small is a step of a network with everything in it, on 8x8 images.
func small(t *testing.T, method string, inFlight int) train.SessionOptions {
	t.Helper()
	n, err := networks.New("resnet20", graph.Shape{8, 8, 3}, 3)
	if err != nil {
		t.Fatal(err)
	}
	n.Units = append(n.Units[:3:3], n.Units[4], n.Units[5], n.Units[7])
	m, err := methods.Find(method)
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, methods.Options{AuxDepth: 1})
	if err != nil {
		t.Fatal(err)
	}
	return train.SessionOptions{Stages: stages, Step: core.StepOptions{Batch: 3, Image: n.Input, Overlap: inFlight,
		Mean: [4]float64{120, 120, 120}, Deviation: [4]float64{60, 60, 60},
		Optimizer: graph.SGDOptions{Momentum: 0.9, WeightDecay: 1e-4, Nesterov: true}}}
}

// trained is the bits of all losses of some steps, and of the state that they leave.
func trained(t *testing.T, d engine.Device, o train.SessionOptions) []uint32 {
	t.Helper()
	s, err := train.NewSession(d, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Initialise(3); err != nil {
		t.Fatal(err)
	}
	var bits []uint32
	add := func(list []float32) {
		for _, x := range list {
			bits = append(bits, math.Float32bits(x))
		}
	}
	images := make([]byte, 3*8*8*3)
	for step := range overlapSteps {
		for i := range images {
			images[i] = byte(rng.Stream{Seed: 9, Epoch: uint32(step)}.Uint32(uint64(i)))
		}
		out, err := s.Train(images, []int32{0, 2, 1}, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		add(out.Losses)
	}
	for _, v := range s.Persistent() {
		x := make([]float32, v.Shape.Elements())
		if err := s.Training.Read(v, x); err != nil {
			t.Fatal(err)
		}
		add(x)
	}
	return bits
}

// TestOverlapSameBits trains with two and three modules in flight on the stand-in for CUDA, in
// every order in which it replays a graph: losses, parameters, statistics and momenta are the
// bits of the step without streams.
func TestOverlapSameBits(t *testing.T) {
	cases := map[string][]int{"auglocal": {2, 3}, "dgl": {2, 3}, "predsim": {2, 3}, "man": {3}}
	if testing.Short() {
		cases = map[string][]int{"dgl": {3}}
	}
	for method, modules := range cases {
		want := trained(t, openStreams(t, 0), small(t, method, 1))
		if slices.ContainsFunc(want, func(b uint32) bool { x := math.Float32frombits(b); return x != x }) {
			t.Fatalf("%s: diverged: the test tests nothing", method)
		}
		for _, inFlight := range modules {
			for order := range replayOrders {
				t.Run(fmt.Sprintf("%s, %d in flight, order %d", method, inFlight, order), func(t *testing.T) {
					if got := trained(t, openStreams(t, order), small(t, method, inFlight)); !slices.Equal(got, want) {
						t.Error("other bits than without streams")
					}
				})
			}
		}
	}
}

// TestWriteBehindPartialRun writes an input while a run of the later ops is under way that reads it: the run has
// what was there before. On the stand-in that does copies as early, and all else as late, as may be.
func TestWriteBehindPartialRun(t *testing.T) {
	enginetest.NeedsCPU(t) // a GPU may go right by chance
	b := graph.NewBuilder(true)
	x0, x1 := b.Input("x0", graph.Shape{4}, graph.TypeF32), b.Input("x1", graph.Shape{4}, graph.TypeF32)
	y := b.Add(b.ReLU(x0), b.ReLU(x1))
	b.Output(y)
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	p := bindTo(t, enginetest.Open(t, "emu", engine.Options{Device: 6}), g, plan.Options{Scatter: true})
	four := func(x float32) []float32 { return []float32{x, x, x, x} }
	do := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	do(p.Write(x0, four(1)))
	for range overlapSteps {
		do(p.Write(x1, four(2)))
		do(p.Run(0, 3))
	}
	for range overlapSteps {
		do(p.Write(x1, four(3)))
		do(p.Run(1, 3))
	}
	do(p.Write(x1, four(100)))
	got := four(0)
	if do(p.Read(y, got)); !slices.Equal(got, four(4)) {
		t.Errorf("got %v, want %v", got, four(4))
	}
}

// TestOverlapIgnored: a backend that runs one op after the other has the same bits.
func TestOverlapIgnored(t *testing.T) {
	d := openDevice(t, "cpu", 1)
	if !slices.Equal(trained(t, d, small(t, "auglocal", 3)), trained(t, d, small(t, "auglocal", 1))) {
		t.Error("other bits than without streams")
	}
}

// forgetful is a device whose programs lack one wait: number wait of op op.
type forgetful struct {
	engine.Device
	op, wait int
}

func (d forgetful) Prepare(g *graph.Graph) (engine.Program, error) {
	whole := g.Ops[d.op].Waits
	defer func() { g.Ops[d.op].Waits = whole }()
	g.Ops[d.op].Waits = slices.Delete(slices.Clone(whole), d.wait, d.wait+1)
	return d.Device.Prepare(g)
}

// TestMissingWaitIsSeen leaves out each wait in turn: in some order of replay the result is
// another one.
func TestMissingWaitIsSeen(t *testing.T) {
	enginetest.NeedsCPU(t) // a GPU may go right by chance
	o := small(t, "auglocal", 2)
	step, err := core.TrainingStep(o.Stages, o.Step)
	if err != nil {
		t.Fatal(err)
	}
	var devices []engine.Device
	for order := range replayOrders {
		devices = append(devices, openStreams(t, order))
	}
	want := trained(t, devices[0], o)
	tried := 0
	for i, op := range step.Graph.Ops {
		for k, w := range op.Waits {
			tried++
			if testing.Short() && tried%5 != 1 {
				continue
			}
			if !slices.ContainsFunc(devices[1:], func(d engine.Device) bool {
				return !slices.Equal(trained(t, forgetful{d, i, k}, o), want)
			}) {
				t.Errorf("op %d %s at %s does not wait for op %d, and no order shows it", i, op.Kind, op.Scope, w)
			}
		}
	}
	t.Logf("%d waits left out", tried)
	if tried < 5 {
		t.Errorf("%d waits, want some", tried)
	}
}

package networks_test

import (
	"fmt"
	"math"
	"strconv"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/suite/networks"
	"github.com/localbench/localbench/suite/train"
)

// dropped is what testdata/make_dropout.py says of torchvision with our numbers.
type dropped struct {
	Steps []struct {
		Network              string
		Side, Classes, Batch int64
		Seed                 string
		Rate                 float64
		Drops                int
		Losses               []float64
	}
	Logits []struct {
		Network       string
		Side, Classes int64
		Seed          string
		Step          uint32
		Drops         int
		Training      []float64
	}
}

func seedOf(t *testing.T, text string) uint64 {
	t.Helper()
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

// dropoutOps counts the dropout ops of a phase.
func dropoutOps(g *graph.Graph, phase graph.Phase) (n int) {
	for _, op := range g.Ops {
		if op.Kind == graph.KindDropout && op.Phase == phase {
			n++
		}
	}
	return n
}

func backPropagation(n *model.Network) []model.Stage {
	return []model.Stage{{Units: n.Units, Losses: n.HeadLosses, Classifier: true}}
}

// TestDropoutSteps trains networks with dropout and stochastic depth by plain gradient descent and
// holds the losses against torchvision's in double precision, which drop the same. The first loss
// sees the forward pass, the others the gradients, too; rounding grows from step to step.
func TestDropoutSteps(t *testing.T) {
	d := enginetest.Open(t, enginetest.Backends()[0], engine.Options{Threads: 1})
	for _, want := range readJSON[dropped](t, "testdata/dropout.json").Steps {
		if testing.Short() && want.Side > 64 {
			continue
		}
		t.Run(fmt.Sprintf("%s, %d pixels", want.Network, want.Side), func(t *testing.T) {
			n, err := networks.New(want.Network, graph.Shape{want.Side, want.Side, 3}, want.Classes)
			if err != nil {
				t.Fatal(err)
			}
			s, err := train.NewSession(d, train.SessionOptions{Stages: backPropagation(n), Step: core.StepOptions{Batch: want.Batch,
				Image: n.Input, Mean: [4]float64{120, 120, 120}, Deviation: [4]float64{60, 60, 60}, Dropout: true}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got := dropoutOps(s.Training.Graph, graph.PhaseForward); got != want.Drops {
				t.Errorf("%d ops drop, want %d", got, want.Drops)
			}
			if err := s.Initialise(1); err != nil { // momentum
				t.Fatal(err)
			}
			fill(t, s.Training)
			for step, loss := range want.Losses {
				b := train.Batch{Images: pixelsOf(want.Batch*want.Side*want.Side*3, int64(7+step)), Seed: seedOf(t, want.Seed),
					Step: uint32(step)}
				for i := range want.Batch {
					b.Labels = append(b.Labels, int32(i%want.Classes))
				}
				if err := s.Feed(b, want.Rate); err != nil {
					t.Fatal(err)
				}
				got, err := s.Step()
				if err != nil {
					t.Fatal(err)
				}
				limit := 1e-4 * math.Pow(100, float64(step)/float64(len(want.Losses)-1))
				off := math.Abs(float64(got.Losses[0])/loss - 1)
				if !(off <= limit) {
					t.Errorf("step %d: loss %g, want %g: off by %.1e, at most %.1e", step+1, got.Losses[0], loss, off, limit)
				}
				t.Logf("step %d: off by %.1e", step+1, off)
			}
		})
	}
}

// TestDropoutLogits runs VGG's forward pass in training, with dropout after its hidden layers.
func TestDropoutLogits(t *testing.T) {
	d := enginetest.Open(t, enginetest.Backends()[0], engine.Options{Threads: 1})
	for _, want := range readJSON[dropped](t, "testdata/dropout.json").Logits {
		n, err := networks.New(want.Network, graph.Shape{want.Side, want.Side, 3}, want.Classes)
		if err != nil {
			t.Fatal(err)
		}
		b := graph.NewBuilder(true)
		b.EnableDropout()
		g, images, logits := build(t, b, n, 2)
		if got := dropoutOps(g, graph.PhaseForward); got != want.Drops {
			t.Errorf("%s: %d ops drop, want %d", want.Network, got, want.Drops)
		}
		p, err := core.Compile(d, &core.Step{Graph: g}, nil)
		if err != nil {
			t.Fatal(err)
		}
		arena, err := core.Arena(d, p)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, p)
		seed, got := seedOf(t, want.Seed), make([]float32, logits.Shape.Elements())
		for _, err := range []error{p.Write(images, pixelsOf(images.Shape.Elements(), 7)),
			p.Write(b.DropoutStream(), []int32{int32(uint32(seed)), int32(seed >> 32), int32(want.Step)}), p.Run(0, len(g.Ops)),
			p.Read(logits, got)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		largest, off := 0.0, 0.0
		for i, x := range want.Training {
			largest, off = max(largest, math.Abs(x)), max(off, math.Abs(float64(got[i])-x))
		}
		if !(off <= 1e-4*largest) {
			t.Errorf("%s: logits %v, want %v", want.Network, got, want.Training)
		}
		t.Logf("%s: off by %.1e of the largest", want.Network, off/largest)
		p.Program.Close()
		arena.Close()
	}
}

// TestDrops: a network says that it drops if, and only if, a training step with dropout does; one
// without, and an evaluation, never do.
func TestDrops(t *testing.T) {
	drop := map[string][2]bool{"vgg11": {false, true}, "vgg13": {false, true}, "vgg16": {false, true}, "vgg19": {false, true},
		"mobilenetv2": {true, true}, "efficientnetb0": {true, true}} // small images, large images
	for _, e := range networks.List() {
		for i, side := range []int64{32, 128} {
			n, err := networks.New(e.Name, graph.Shape{side, side, 3}, 10)
			if err != nil {
				t.Fatal(err)
			}
			want := drop[e.Name][i]
			if n.Drops != want {
				t.Errorf("%s, %d pixels: says that it drops: %v, want %v", e.Name, side, n.Drops, want)
			}
			o := core.StepOptions{Batch: 2, Image: n.Input, Deviation: [4]float64{1, 1, 1}, Dropout: true}
			with, err := core.TrainingStep(backPropagation(n), o)
			if err != nil {
				t.Fatal(err)
			}
			evaluation, err := core.EvaluationStep(backPropagation(n), o)
			if err != nil {
				t.Fatal(err)
			}
			o.Dropout = false
			without, err := core.TrainingStep(backPropagation(n), o)
			if err != nil {
				t.Fatal(err)
			}
			forward, backward := dropoutOps(with.Graph, graph.PhaseForward), dropoutOps(with.Graph, graph.PhaseBackward)
			if forward > 0 != want || forward != backward || (with.Stream != nil) != want {
				t.Errorf("%s, %d pixels: %d ops drop forwards and %d backwards, stream %v, want %v", e.Name, side, forward, backward,
					with.Stream, want)
			}
			for name, s := range map[string]*core.Step{"an evaluation": evaluation, "a step without": without} {
				if n := dropoutOps(s.Graph, graph.PhaseForward) + dropoutOps(s.Graph, graph.PhaseBackward); n > 0 || s.Stream != nil {
					t.Errorf("%s, %d pixels: %s has %d dropout ops, want none", e.Name, side, name, n)
				}
			}
		}
	}
}

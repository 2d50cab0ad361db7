package methods_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/core/rng"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/train"
)

// TestInfoProForLargeImages follows the auxiliary network for ImageNet in PyTorch for three steps
// (testdata/make_infopro_large.py): every loss term, and every parameter at the end.
func TestInfoProForLargeImages(t *testing.T) {
	text, err := os.ReadFile("testdata/infopro_large.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Mode  methods.Mode
			Steps [][]float64
			Final map[string]float64
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil || len(golden.Cases) != 2 {
		t.Fatalf("%d cases, %v", len(golden.Cases), err)
	}
	const side, batch = 128, 4
	unit := func(name string, kernel, stride int64) model.Unit {
		return model.Unit{Width: 8, Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
			return model.Conv(b, name, x, 8, kernel, stride)
		}}
	}
	n := &model.Network{Name: "tiny", Classes: 10, Input: graph.Shape{side, side, 3}, Head: model.PooledHead("fc", 10),
		Units: []model.Unit{unit("first", 7, 8), unit("second", 1, 1)}}
	images, labels := make([]byte, batch*side*side*3), []int32{3, 1, 3, 7}
	for i := range images {
		images[i] = byte(rng.Stream{Seed: 1, Purpose: rng.PurposeGolden}.Uint32(uint64(i/4)) >> (8 * (i % 4)))
	}
	infopro, err := methods.Find("infopro")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range golden.Cases {
		stages, err := infopro.Stages(n, methods.Options{Mode: c.Mode, Coefficients: "1,1,1,1"})
		if err != nil {
			t.Fatal(err)
		}
		backend := enginetest.Backends()[0]
		d := enginetest.Open(t, backend, engine.Options{Deterministic: backend == "cuda"})
		s, err := train.NewSession(d, train.SessionOptions{Stages: stages,
			Step: core.StepOptions{Batch: batch, Image: n.Input, Mean: [4]float64{120, 120, 120}, Deviation: [4]float64{60, 60, 60},
				Optimizer: graph.SGDOptions{Momentum: 0.9, WeightDecay: 1e-4, Nesterov: true}}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Initialise(1); err != nil {
			t.Fatal(err)
		}
		for i, want := range c.Steps {
			got, err := s.Train(images, labels, 0.01)
			if err != nil || len(got.Losses) != len(want) {
				t.Fatalf("%s, step %d: %d losses, %v", c.Mode, i+1, len(got.Losses), err)
			}
			for k, x := range want {
				if off := math.Abs(float64(got.Losses[k])-x) / x; !(off <= 1e-3) {
					t.Errorf("%s, step %d, %s: got %g, want %g", c.Mode, i+1, s.Training.Losses[k].Name, got.Losses[k], x)
				}
			}
		}
		seen := 0
		for _, v := range s.Persistent() {
			if want, ok := c.Final[v.Name]; ok {
				seen++
				if got := sums(t, s, v)[1]; math.Abs(got-want) > 1e-3*want+1e-6 {
					t.Errorf("%s, %s: sum of absolute values %g, want %g", c.Mode, v.Name, got, want)
				}
			}
		}
		if seen != len(c.Final) {
			t.Errorf("%s: %d of %d parameters by their names", c.Mode, seen, len(c.Final))
		}
	}
}

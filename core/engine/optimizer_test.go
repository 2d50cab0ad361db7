package engine_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
)

// optimizerGolden is what ../reference/testdata/optimizers.py wrote: ten steps of PyTorch's optimizers.
type optimizerGolden struct {
	Start     []float64
	Gradients [][]float64
	Schedule  []float64 // of the learning rate, relative to the first
	Cases     []struct {
		Name    string
		LR      float64
		Options struct {
			Momentum, Alpha, Eps float64
			WeightDecay          float64 `json:"weight_decay"`
			Nesterov             bool
			Betas                []float64
		}
		After [][]float64          // the parameter after each step
		State map[string][]float64 // after the last
	}
}

// TestOptimizersFollowPyTorch runs ten steps on every backend, and compares the parameter after each one and the state after
// the last with PyTorch's. The rates vary. The first element has no gradient: its state stays zero, and the step must not divide
// by it.
func TestOptimizersFollowPyTorch(t *testing.T) {
	text, err := os.ReadFile("../reference/testdata/optimizers.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden optimizerGolden
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 13 || len(golden.Gradients) != 10 {
		t.Fatalf("%d cases of %d steps, want all of the script", len(golden.Cases), len(golden.Gradients))
	}
	for _, backend := range append(enginetest.Backends(), "reference") {
		for _, c := range golden.Cases {
			t.Run(fmt.Sprintf("%s %s %+v", backend, c.Name, c.Options), func(t *testing.T) {
				a := c.Options
				var o graph.Optimizer
				switch c.Name {
				case "sgd":
					o = graph.SGDOptions{Momentum: a.Momentum, WeightDecay: a.WeightDecay, Nesterov: a.Nesterov}
				case "adam", "adamw":
					o = graph.AdamOptions{Beta1: a.Betas[0], Beta2: a.Betas[1], Epsilon: a.Eps, WeightDecay: a.WeightDecay,
						Decoupled: c.Name == "adamw"}
				case "rmsprop":
					o = graph.RMSpropOptions{Alpha: a.Alpha, Epsilon: a.Eps, Momentum: a.Momentum, WeightDecay: a.WeightDecay}
				case "adagrad":
					o = graph.AdagradOptions{Epsilon: a.Eps, WeightDecay: a.WeightDecay}
				default:
					t.Fatalf("unknown optimizer %q", c.Name)
				}
				shape := graph.Shape{int64(len(golden.Start))}
				b := graph.NewBuilder(true)
				w, g := b.Parameter("w", shape, graph.Weight{}), b.Input("g", shape, graph.TypeF32)
				lr := b.Input("lr", graph.Shape{1}, graph.TypeF32)
				o.Update(b, w, g, lr)
				built, err := b.Graph()
				if err != nil {
					t.Fatal(err)
				}
				p := bind(t, openDevice(t, backend, 1), built)
				write(t, p, w, golden.Start)
				states := map[string]*graph.Value{}
				for _, v := range built.Values {
					if v.Category == graph.CategoryOptimizer {
						states[strings.TrimPrefix(v.Name, "w.")] = v
						write(t, p, v, make([]float64, len(golden.Start)))
					}
				}
				if v := states["momentum"]; v != nil { // the name that records of SGD's state have
					states = map[string]*graph.Value{"momentum_buffer": v}
				}
				// Rounding of f32, of up to ten steps of a few operations each.
				const tolerance = 4e-6
				for i, want := range c.After {
					write(t, p, g, golden.Gradients[i])
					write(t, p, lr, []float64{c.LR * golden.Schedule[i]})
					if s := b.DeclaredStream(); s != nil {
						write(t, p, s, []float64{-1, 7, float64(i)})
					}
					if err := p.Run(0, len(built.Ops)); err != nil {
						t.Fatal(err)
					}
					if err := optest.Compare(read(t, p, w), want, tolerance); err != nil {
						t.Fatalf("parameter after step %d: %v", i+1, err)
					}
				}
				if len(states) != len(c.State) {
					t.Fatalf("%d values of state, PyTorch has %d", len(states), len(c.State))
				}
				for name, want := range c.State {
					if v := states[name]; v == nil {
						t.Errorf("no state %q", name)
					} else if err := optest.Compare(read(t, p, v), want, tolerance); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			})
		}
	}
}

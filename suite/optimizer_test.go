package suite

import (
	"fmt"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/results"
)

// stateOf is how many values of the size of a parameter each optimizer keeps for it.
var stateOf = []struct {
	name     string
	momentum float64
	values   int64
}{{"sgd", 0.9, 1}, {"sgd", 0, 0}, {"adam", 0, 2}, {"adamw", 0, 2}, {"rmsprop", 0, 1}, {"rmsprop", 0.9, 2}, {"adagrad", 0, 1}}

// optimized is a request of a small network with an optimizer.
func optimized(name string, momentum float64, methods ...string) Request {
	r := Request{Methods: methods, Networks: []string{"resnet20"}, Datasets: []string{"cifar10"}, Batches: []int64{4},
		Optimizer: name}
	if name == OptimizerSGD || name == "rmsprop" {
		r.Momentum = &momentum
	}
	return r
}

// compiledOnly plans the only run of a request without kernels.
func compiledOnly(t *testing.T, r Request) *Compiled {
	t.Helper()
	runs, err := r.Build()
	if err != nil {
		t.Fatal(err)
	}
	d, err := engine.Open(BackendNull, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	run := runs[0].with(func(s *results.Spec) { s.Backend = BackendNull })
	c, err := run.Compile(d, JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every method has every optimizer, with early and deferred updates, overlapped modules and bf16; the state is that of
// the optimizer: its number of f32 values for each trained parameter, in the optimizer's category and in the module of the
// parameter. Nothing else that outlives a step differs.
func TestOptimizerState(t *testing.T) {
	names, _, _ := Names()
	for _, method := range names {
		for _, o := range stateOf {
			for _, variant := range []string{"early", "deferred", "overlap", "bf16"} {
				r := optimized(o.name, o.momentum, method)
				switch variant {
				case "deferred":
					r.Update = UpdateDeferred
				case "overlap":
					if method == "bp" || method == "checkpoint" {
						continue
					}
					r.Overlap, r.Backend = 2, "cuda"
				case "bf16":
					r.Precision, r.Backend = PrecisionBF16, "reference"
				}
				t.Run(fmt.Sprintf("%s %s %g %s", method, o.name, o.momentum, variant), func(t *testing.T) {
					c := compiledOnly(t, r)
					trained, state := map[int]int64{}, map[int]int64{}
					for _, v := range c.Step.Graph.Values {
						switch v.Category {
						case graph.CategoryParameter, graph.CategoryAuxiliaryParameter:
							trained[v.Module] += v.Shape.Elements()
						case graph.CategoryOptimizer:
							state[v.Module] += v.Bytes()
						}
					}
					total := int64(0)
					for module, n := range trained {
						if want := 4 * o.values * n; state[module] != want {
							t.Errorf("module %d: %d bytes of state, want %d for %d parameters", module, state[module], want, n)
						}
						total += 4 * o.values * n
					}
					if got := c.Memory.ByCategory[graph.CategoryOptimizer.String()]; got != total {
						t.Errorf("%d bytes of optimizer state at the peak, want %d", got, total)
					}
					if got := c.Step.Stream != nil; got != strings.HasPrefix(o.name, "adam") {
						t.Errorf("an input of the step's number: got %v", got)
					}
				})
			}
		}
	}
}

// An update is one op that holds nothing: with deferred updates the optimizers' arenas differ by their state, rounded up to the
// alignment of values.
func TestOptimizersDifferByTheirState(t *testing.T) {
	plain := compiledOnly(t, optimized("sgd", 0, "bp"))
	values := int64(0)
	for _, v := range plain.Step.Graph.Values {
		if v.Category == graph.CategoryParameter {
			values++
		}
	}
	for _, o := range stateOf {
		c := compiledOnly(t, optimized(o.name, o.momentum, "bp"))
		got := *c.Memory.PlannedPeakBytes - *plain.Memory.PlannedPeakBytes
		want := 4 * o.values * *plain.Model.Parameters
		if c.Step.Stream != nil {
			want += 12
		}
		if got != want {
			t.Errorf("%s, momentum %g: a peak of %d bytes more than without state, want %d", o.name, o.momentum, got, want)
		}
	}
}

// A budget recomputes activations, and counts the state of the optimizer: the same budget leaves less for them.
func TestOptimizerWithinBudget(t *testing.T) {
	r := optimized("adam", 0, "bp")
	r.Batches = []int64{64}
	r.Budget = *compiledOnly(t, r).Memory.StepArenaBytes * 8 / 10
	adam := compiledOnly(t, r)
	if arena := *adam.Memory.StepArenaBytes; arena > r.Budget || adam.Again == 0 {
		t.Errorf("an arena of %d bytes with %d results recomputed, want at most %d bytes by recomputing", arena, adam.Again, r.Budget)
	}
	r.Optimizer = "sgd"
	if sgd := compiledOnly(t, r); sgd.Again > adam.Again {
		t.Errorf("SGD recomputes %d results, and Adam with more state only %d", sgd.Again, adam.Again)
	}
}

// What a request says of its optimizer is in the spec, and another optimizer is another run; the default is the run that it was
// before there were others.
func TestOptimizerInSpec(t *testing.T) {
	spec := func(r Request) results.Spec {
		specs, err := r.Expand()
		if err != nil {
			t.Fatal(err)
		}
		return specs[0]
	}
	ids := map[string]string{}
	for _, name := range OptimizerNames() {
		s := spec(Request{Methods: []string{"bp"}, Optimizer: name})
		id := results.SpecID(s)
		if other := ids[id]; other != "" {
			t.Errorf("%s and %s have the id %s", name, other, id)
		}
		ids[id] = name
		got := fmt.Sprintf("%s lr %g decay %g momentum %g nesterov %t betas %g %g eps %g alpha %g",
			s.Optimizer, s.LR, s.WeightDecay, s.Momentum, s.Nesterov, s.Beta1, s.Beta2, s.Epsilon, s.Alpha)
		want := map[string]string{ // PyTorch's defaults, but for sgd the recipe
			"sgd":     " lr 0.1 decay 0.0001 momentum 0.9 nesterov true betas 0 0 eps 0 alpha 0",
			"adam":    "adam lr 0.001 decay 0 momentum 0 nesterov false betas 0.9 0.999 eps 1e-08 alpha 0",
			"adamw":   "adamw lr 0.001 decay 0.01 momentum 0 nesterov false betas 0.9 0.999 eps 1e-08 alpha 0",
			"rmsprop": "rmsprop lr 0.01 decay 0 momentum 0 nesterov false betas 0 0 eps 1e-08 alpha 0.99",
			"adagrad": "adagrad lr 0.01 decay 0 momentum 0 nesterov false betas 0 0 eps 1e-10 alpha 0",
		}[name]
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if other := ids[results.SpecID(spec(Request{Methods: []string{"bp"}}))]; other != "sgd" {
		t.Error("naming the default optimizer changes the id")
	}
}

// A flag that the optimizer does not read, or a value out of range, is refused with what to do.
func TestOptimizerErrors(t *testing.T) {
	x := func(v float64) *float64 { return &v }
	for _, c := range []struct {
		set  func(*Request)
		want string
	}{
		{func(r *Request) { r.Optimizer = "adamm" }, `unknown optimizer "adamm": did you mean "adam"?`},
		{func(r *Request) { r.Optimizer, r.Momentum = "adam", x(0.9) },
			"--momentum and --optimizer adam can't be combined: --momentum is for sgd and rmsprop"},
		{func(r *Request) { r.Betas = []float64{0.9, 0.99} },
			"--betas and --optimizer sgd can't be combined: --betas is for adam and adamw"},
		{func(r *Request) { r.Epsilon = x(1e-6) }, "--eps and --optimizer sgd can't be combined"},
		{func(r *Request) { r.Optimizer, r.Alpha = "adagrad", x(0.9) }, "--rmsprop-alpha is for rmsprop"},
		{func(r *Request) { r.Optimizer, r.Betas = "adam", []float64{0.9, 1} }, "--betas 1: must be less than 1"},
		{func(r *Request) { r.Optimizer, r.Betas = "adam", []float64{0.9} }, "--betas: must be two numbers"},
		{func(r *Request) { r.Optimizer, r.Epsilon = "adam", x(-1) }, "--eps -1: must be at least 0"},
		{func(r *Request) { r.Optimizer, r.Eager = "rmsprop", "fused=true" },
			"--eager fused=true and --optimizer rmsprop can't be combined"},
	} {
		r := Request{Methods: []string{"bp"}}
		c.set(&r)
		if _, err := r.Expand(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	_, err := Build(results.Spec{Method: "bp", Network: "resnet20", Dataset: "synthetic", Batch: 4, Optimizer: "lion"})
	if err == nil || !strings.Contains(err.Error(), `unknown optimizer "lion"`) {
		t.Errorf("a spec with an unknown optimizer: got %v", err)
	}
}

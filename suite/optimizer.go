package suite

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/localbench/localbench/core/eager"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/names"
	"github.com/localbench/localbench/results"
)

// OptimizerSGD is the optimizer of every recipe, and of a spec that names none.
const OptimizerSGD = "sgd"

// optimizer is a way to update parameters. Its constants are the defaults: of the recipe for SGD, else PyTorch's.
type optimizer struct {
	name  string
	lr    float64      // 0: the recipe's
	reads []string     // flags, besides lr and weight-decay
	spec  results.Spec // the constants, in the fields for them
	of    func(results.Spec) graph.Optimizer
}

// optimizers lists the optimizers.
func optimizers() []optimizer {
	adam := func(s results.Spec, decoupled bool) graph.Optimizer {
		return graph.AdamOptions{Beta1: s.Beta1, Beta2: s.Beta2, Epsilon: s.Epsilon, WeightDecay: s.WeightDecay, Decoupled: decoupled}
	}
	return []optimizer{
		{name: OptimizerSGD, reads: []string{"momentum"},
			spec: results.Spec{Momentum: recipeMomentum, WeightDecay: recipeWeightDecay, Nesterov: true},
			of: func(s results.Spec) graph.Optimizer {
				return graph.SGDOptions{Momentum: s.Momentum, WeightDecay: s.WeightDecay, Nesterov: s.Nesterov}
			}},
		{name: "adam", lr: 1e-3, reads: []string{"betas", "eps"},
			spec: results.Spec{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8},
			of:   func(s results.Spec) graph.Optimizer { return adam(s, false) }},
		{name: "adamw", lr: 1e-3, reads: []string{"betas", "eps"},
			spec: results.Spec{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 1e-2},
			of:   func(s results.Spec) graph.Optimizer { return adam(s, true) }},
		{name: "rmsprop", lr: 1e-2, reads: []string{"momentum", "rmsprop-alpha", "eps"},
			spec: results.Spec{Alpha: 0.99, Epsilon: 1e-8},
			of: func(s results.Spec) graph.Optimizer {
				return graph.RMSpropOptions{Alpha: s.Alpha, Epsilon: s.Epsilon, Momentum: s.Momentum, WeightDecay: s.WeightDecay}
			}},
		{name: "adagrad", lr: 1e-2, reads: []string{"eps"},
			spec: results.Spec{Epsilon: 1e-10},
			of: func(s results.Spec) graph.Optimizer {
				return graph.AdagradOptions{Epsilon: s.Epsilon, WeightDecay: s.WeightDecay}
			}},
	}
}

// OptimizerNames lists the optimizers, the default first.
func OptimizerNames() []string {
	var all []string
	for _, o := range optimizers() {
		all = append(all, o.name)
	}
	return all
}

// findOptimizer finds an optimizer by its name; empty: SGD.
func findOptimizer(name string) (optimizer, error) {
	return names.Find("optimizer", cmp.Or(name, OptimizerSGD), optimizers(), func(o optimizer) string { return o.name })
}

// checkOptimizer checks the flags of the optimizer: it reads each that is given, and their values are in range.
func (r Request) checkOptimizer() error {
	o, err := findOptimizer(r.Optimizer)
	if err != nil {
		return err
	}
	type flag struct {
		name   string
		value  *float64
		decays bool // so it is less than 1
	}
	flags := []flag{{"lr", r.LearningRate, false}, {"momentum", r.Momentum, true}, {"weight-decay", r.WeightDecay, false},
		{"eps", r.Epsilon, false}, {"rmsprop-alpha", r.Alpha, true}}
	for i := range r.Betas {
		flags = append(flags, flag{"betas", &r.Betas[i], true})
	}
	for _, f := range flags {
		switch x := f.value; {
		case x == nil:
		case *x < 0 || math.IsNaN(*x) || math.IsInf(*x, 0):
			return fmt.Errorf("--%s %g: must be at least 0", f.name, *x)
		case f.decays && *x >= 1:
			return fmt.Errorf("--%s %g: must be less than 1", f.name, *x)
		case f.name != "lr" && f.name != "weight-decay" && !slices.Contains(o.reads, f.name):
			return fmt.Errorf("--%s and --optimizer %s can't be combined: --%s is for %s", f.name, o.name, f.name,
				strings.Join(readers(f.name), " and "))
		}
	}
	if n := len(r.Betas); n != 0 && n != 2 {
		return fmt.Errorf("--betas: must be two numbers, such as 0.9,0.999, and not %d", n)
	}
	variant, err := eager.ParseOptions(r.Eager)
	if err != nil {
		return fmt.Errorf("--eager: %w", err)
	}
	if variant.Fused && !eager.Fused(o.of(o.spec)) {
		return fmt.Errorf("--eager fused=true and --optimizer %s can't be combined: PyTorch has no fused implementation of it on CUDA",
			o.name)
	}
	return nil
}

// readers are the optimizers that read a flag.
func readers(flag string) (all []string) {
	for _, o := range optimizers() {
		if slices.Contains(o.reads, flag) {
			all = append(all, o.name)
		}
	}
	return all
}

// setOptimizer sets the fields of the spec that are the optimizer's, for a request that checkOptimizer has accepted.
func (r Request) setOptimizer(spec *results.Spec) error {
	o, err := findOptimizer(r.Optimizer)
	if err != nil {
		return err
	}
	if o.name != OptimizerSGD { // so that the ids of its runs stay what they were
		spec.Optimizer = o.name
	}
	spec.LR = or(r.LearningRate, cmp.Or(o.lr, recipe(spec.Dataset).LR))
	if r.ownSettings(spec.Dataset) && o.name == OptimizerSGD {
		spec.LR = paperLR
	}
	spec.Momentum, spec.Nesterov = or(r.Momentum, o.spec.Momentum), o.spec.Nesterov
	spec.WeightDecay = or(r.WeightDecay, o.spec.WeightDecay)
	spec.Epsilon, spec.Alpha = or(r.Epsilon, o.spec.Epsilon), or(r.Alpha, o.spec.Alpha)
	spec.Beta1, spec.Beta2 = o.spec.Beta1, o.spec.Beta2
	if len(r.Betas) == 2 {
		spec.Beta1, spec.Beta2 = r.Betas[0], r.Betas[1]
	}
	return nil
}

// checkOptimizer says why the spec of a run has no optimizer.
func (r *Run) checkOptimizer() error {
	_, err := findOptimizer(r.Spec.Optimizer)
	return err
}

// optimizer is that of the run's spec, which checkOptimizer has accepted.
func (r *Run) optimizer() graph.Optimizer {
	o, err := findOptimizer(r.Spec.Optimizer)
	if err != nil {
		return nil
	}
	return o.of(r.Spec)
}

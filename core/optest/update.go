package optest

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
)

func updateCases() []Case {
	var out []Case
	for _, s := range []struct {
		name    string
		shape   []int64
		options graph.SGDOptions
	}{
		{"one element", []int64{1}, graph.SGDOptions{Momentum: 0.9}},
		{"plain: no momentum, no decay", []int64{10}, graph.SGDOptions{}},
		{"momentum", []int64{33, 17}, graph.SGDOptions{Momentum: 0.9}},
		{"decay", []int64{33, 17}, graph.SGDOptions{WeightDecay: 0.05}},
		{"momentum and decay", []int64{16, 3, 3, 3}, graph.SGDOptions{Momentum: 0.9, WeightDecay: 0.05}},
		{"Nesterov", []int64{64}, graph.SGDOptions{Momentum: 0.9, Nesterov: true}},
		{"Nesterov and decay", []int64{16, 3, 3, 10}, graph.SGDOptions{Momentum: 0.9, WeightDecay: 0.05, Nesterov: true}},
		{"Nesterov and decay, many elements", []int64{257, 131}, graph.SGDOptions{Momentum: 0.5, WeightDecay: 1e-4, Nesterov: true}},
	} {
		out = append(out, Case{Name: s.name, Kind: graph.KindSGD, build: func(p *program) {
			w := p.weight("w", normal(0, 1), s.shape...)
			v := p.momentum(w, normal(0, 1))
			p.SGD(w, p.input("g", normal(0, 1), s.shape...), v, p.input("lr", constant(0.1), 1), s.options)
		}})
	}
	out = append(out, statelessCase())
	out = append(out, adaptiveUpdates()...)
	for _, n := range []int64{1, 17, 70000} {
		out = append(out, Case{Name: fmt.Sprint(n, " elements"), Kind: graph.KindAverage, build: func(p *program) {
			p.Average(p.buffer("average", normal(0, 1), n), p.weight("source", normal(0, 1), n), 0.995)
		}})
	}
	return out
}

// statelessCase is SGD without momentum and without state.
func statelessCase() Case {
	return Case{Name: "without state, decay", Kind: graph.KindSGD, build: func(p *program) {
		w := p.weight("w", normal(0, 1), 33, 17)
		p.SGD(w, p.input("g", normal(0, 1), 33, 17), nil, p.input("lr", constant(0.1), 1), graph.SGDOptions{WeightDecay: 0.05})
	}}
}

// adaptiveUpdates are the optimizers that divide by the root of an average of squares, which is away from zero.
func adaptiveUpdates() []Case {
	const epsilon = 1e-3 // large enough to be seen
	shapes := []struct {
		name  string
		shape []int64
	}{{"one element", []int64{1}}, {"33x17", []int64{33, 17}}, {"a kernel", []int64{16, 3, 3, 3}},
		{"many elements", []int64{257, 131}}}
	var out []Case
	add := func(k graph.Kind, name string, update func(p *program, w, g, lr *graph.Value)) {
		for _, s := range shapes {
			out = append(out, Case{Name: s.name + ", " + name, Kind: k, build: func(p *program) {
				w := p.weight("w", normal(0, 1), s.shape...)
				update(p, w, p.input("g", normal(0, 1), s.shape...), p.input("lr", constant(0.01), 1))
			}})
		}
	}
	for _, c := range []struct {
		name    string
		step    float64
		options graph.AdamOptions
	}{
		{"the first step", 0, graph.AdamOptions{Beta1: 0.9, Beta2: 0.999}},
		{"decay", 6, graph.AdamOptions{Beta1: 0.9, Beta2: 0.999, WeightDecay: 0.05}},
		{"decoupled decay", 1000, graph.AdamOptions{Beta1: 0.8, Beta2: 0.99, WeightDecay: 0.5, Decoupled: true}},
		{"no averages", 3, graph.AdamOptions{}},
		{"a late step", 1 << 23, graph.AdamOptions{Beta1: 0.9, Beta2: 0.999}},
	} {
		c.options.Epsilon = epsilon
		add(graph.KindAdam, c.name, func(p *program, w, g, lr *graph.Value) {
			m, v := p.state(w, "exp_avg", normal(0, 1)), p.state(w, "exp_avg_sq", uniform(0.1, 2))
			p.Adam(w, g, m, v, lr, p.typed("stream", graph.TypeS32, constant(c.step), 3), c.options)
		})
	}
	for _, c := range []struct {
		name    string
		options graph.RMSpropOptions
	}{
		{"plain", graph.RMSpropOptions{Alpha: 0.99}},
		{"decay", graph.RMSpropOptions{Alpha: 0.9, WeightDecay: 0.05}},
		{"momentum and decay", graph.RMSpropOptions{Alpha: 0.9, WeightDecay: 0.05, Momentum: 0.9}},
	} {
		c.options.Epsilon = epsilon
		add(graph.KindRMSprop, c.name, func(p *program, w, g, lr *graph.Value) {
			var buffer *graph.Value
			v := p.state(w, "square_avg", uniform(0.1, 2))
			if c.options.Momentum > 0 {
				buffer = p.state(w, "momentum_buffer", normal(0, 1))
			}
			p.RMSprop(w, g, v, lr, buffer, c.options)
		})
	}
	for _, decay := range []float64{0, 0.05} {
		add(graph.KindAdagrad, fmt.Sprint("decay ", decay), func(p *program, w, g, lr *graph.Value) {
			p.Adagrad(w, g, p.state(w, "sum", uniform(0.1, 2)), lr, graph.AdagradOptions{Epsilon: epsilon, WeightDecay: decay})
		})
	}
	return out
}

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
	for _, n := range []int64{1, 17, 70000} {
		out = append(out, Case{Name: fmt.Sprint(n, " elements"), Kind: graph.KindAverage, build: func(p *program) {
			p.Average(p.buffer("average", normal(0, 1), n), p.weight("source", normal(0, 1), n), 0.995)
		}})
	}
	return out
}

package optest

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/rng"
)

// product is the shapes of one linear layer.
type product struct {
	name string
	x    []int64 // [N ...]
	out  int64
	bias bool
}

func products() []product {
	rows := []product{
		{"one element", []int64{1, 1}, 1, false},
		{"10 to 3, batch 1, bias", []int64{1, 10}, 3, true},
		{"64 to 10, batch 7, bias", []int64{7, 64}, 10, true},
		{"33 to 17, batch 5", []int64{5, 33}, 17, false},
		{"16 to 100, batch 128, bias", []int64{128, 16}, 100, true},
		{"513 to 31, batch 3", []int64{3, 513}, 31, false},
		{"a map read as a vector, bias", []int64{3, 2, 5, 7}, 11, true},
		{"a map of one pixel", []int64{5, 1, 1, 64}, 10, false},
	}
	for i := range 6 {
		d := dice{rng.Stream{Seed: uint64(i), Purpose: rng.PurposeSynthetic, Epoch: rng.NameKey("product")}, 0}
		s := product{x: []int64{d.roll(1, 40), d.roll(1, 80)}, out: d.roll(1, 50), bias: d.roll(0, 1) == 1}
		s.name = fmt.Sprintf("random: %d to %d, batch %d, bias %t", s.x[1], s.out, s.x[0], s.bias)
		rows = append(rows, s)
	}
	return rows
}

func linearCases() []Case {
	var out []Case
	for _, s := range products() {
		out = append(out,
			Case{Name: s.name, Kind: graph.KindLinear, build: func(p *program) { p.Linear(s.operands(p)) }},
			Case{Name: s.name, Kind: graph.KindLinearBackwardData, build: func(p *program) {
				p.LinearBackwardData(s.made(p), s.gradient(p))
			}},
			Case{Name: s.name, Kind: graph.KindLinearBackwardWeights, build: func(p *program) {
				p.LinearBackwardWeights(s.made(p), s.gradient(p))
			}})
	}
	return out
}

func (s product) operands(p *program) (x, weight, bias *graph.Value) {
	x = p.input("x", normal(0.5, 1), s.x...)
	weight = p.weight("weight", normal(0, 1), s.out, graph.Shape(s.x).Elements()/s.x[0])
	if s.bias {
		bias = p.weight("bias", normal(0, 1), s.out)
	}
	return x, weight, bias
}

// made returns the forward op without writing it to the program.
func (s product) made(p *program) *graph.Op {
	x, weight, bias := s.operands(p)
	return &graph.Op{Kind: graph.KindLinear, Operands: []*graph.Value{x, weight, bias}}
}

func (s product) gradient(p *program) *graph.Value {
	return p.input("dy", normal(0, 1), s.x[0], s.out)
}

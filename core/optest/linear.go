package optest

import (
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/rng"
)

// product is the shapes of one linear layer.
type product struct {
	name string
	x    []int64 // [N ...]
	out  int64
	bias bool
	rows bool // of the last dimension
}

func products() []product {
	rows := []product{
		{"one element", []int64{1, 1}, 1, false, false},
		{"10 to 3, batch 1, bias", []int64{1, 10}, 3, true, false},
		{"64 to 10, batch 7, bias", []int64{7, 64}, 10, true, false},
		{"33 to 17, batch 5", []int64{5, 33}, 17, false, false},
		{"16 to 100, batch 128, bias", []int64{128, 16}, 100, true, false},
		{"513 to 31, batch 3", []int64{3, 513}, 31, false, false},
		{"a map read as a vector, bias", []int64{3, 2, 5, 7}, 11, true, false},
		{"a map of one pixel", []int64{5, 1, 1, 64}, 10, false, false},
	}
	for i := range 6 {
		d := dice{rng.Stream{Seed: uint64(i), Purpose: rng.PurposeSynthetic, Epoch: rng.NameKey("product")}, 0}
		s := product{x: []int64{d.roll(1, 40), d.roll(1, 80)}, out: d.roll(1, 50), bias: d.roll(0, 1) == 1}
		s.name = fmt.Sprintf("random: %d to %d, batch %d, bias %t", s.x[1], s.out, s.x[0], s.bias)
		rows = append(rows, s)
	}
	return rows
}

// rowLayers are linear layers of the last dimension.
func rowLayers() []product {
	return []product{
		{"one element", []int64{1, 1, 1, 1}, 1, false, true},
		{"a map, 7 to 11, bias", []int64{3, 2, 5, 7}, 11, true, true},
		{"a map, 16 to 64", []int64{2, 9, 7, 16}, 64, false, true},
		{"three dimensions, 10 to 3, bias", []int64{2, 4, 10}, 3, true, true},
		{"many rows, 12 to 5, bias", []int64{2, 16, 16, 12}, 5, true, true},
	}
}

func linearCases() []Case {
	var out []Case
	for _, s := range slices.Concat(products(), rowLayers()) {
		if s.rows {
			s.name = "rows: " + s.name
		}
		out = append(out,
			Case{Name: s.name, Kind: graph.KindLinear, build: func(p *program) { s.layer(p) }},
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
	weight = p.weight("weight", normal(0, 1), s.out, s.features())
	if s.bias {
		bias = p.weight("bias", normal(0, 1), s.out)
	}
	return x, weight, bias
}

// features is the length of a row of x.
func (s product) features() int64 {
	if s.rows {
		return s.x[len(s.x)-1]
	}
	return graph.Shape(s.x).Elements() / s.x[0]
}

func (s product) layer(p *program) *graph.Value {
	x, weight, bias := s.operands(p)
	return s.linear(p, x, weight, bias)
}

func (s product) linear(p *program, x, weight, bias *graph.Value) *graph.Value {
	if s.rows {
		return p.LinearRows(x, weight, bias)
	}
	return p.Linear(x, weight, bias)
}

// made returns the forward op without writing it to the program.
func (s product) made(p *program) *graph.Op {
	x, weight, bias := s.operands(p)
	return &graph.Op{Kind: graph.KindLinear, Operands: []*graph.Value{x, weight, bias}, Attr: graph.Attributes{Rows: s.rows}}
}

func (s product) gradient(p *program) *graph.Value {
	if s.rows {
		return p.input("dy", normal(0, 1), append(slices.Clone(s.x[:len(s.x)-1]), s.out)...)
	}
	return p.input("dy", normal(0, 1), s.x[0], s.out)
}

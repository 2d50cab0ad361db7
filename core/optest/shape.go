package optest

import (
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// joins are concatenations: along every axis, with runs of one element, of odd lengths, of multiples of 16 bytes and of both.
var joins = []struct {
	axis   int
	shapes []graph.Shape
}{
	{0, []graph.Shape{{1}}},
	{0, []graph.Shape{{3}, {5}}},
	{3, []graph.Shape{{1, 1, 1, 1}, {1, 1, 1, 1}}},
	{3, []graph.Shape{{2, 5, 7, 3}, {2, 5, 7, 10}, {2, 5, 7, 1}}},
	{3, []graph.Shape{{3, 4, 4, 16}, {3, 4, 4, 32}, {3, 4, 4, 8}}},
	{3, []graph.Shape{{4, 8, 8, 64}, {4, 8, 8, 17}}},
	{2, []graph.Shape{{2, 3, 4, 5}, {2, 3, 2, 5}}},
	{1, []graph.Shape{{3, 2, 5, 12}, {3, 4, 5, 12}}},
	{0, []graph.Shape{{1, 2, 3, 4}, {2, 2, 3, 4}}},
	{1, []graph.Shape{{129, 33}, {129, 2}}},
	{3, dense(24)},
}

// dense are the values that a layer of a dense block joins.
func dense(layers int64) (shapes []graph.Shape) {
	for i := range layers {
		shapes = append(shapes, graph.Shape{2, 3, 3, 1 + i%9})
	}
	return shapes
}

// parts are slices: all of a value, its first and last elements, runs of all lengths.
var parts = []struct {
	shape          graph.Shape
	axis           int
	offset, length int64
}{
	{graph.Shape{1}, 0, 0, 1},
	{graph.Shape{11}, 0, 3, 5},
	{graph.Shape{2, 5, 7, 3}, 3, 0, 1},
	{graph.Shape{2, 5, 7, 3}, 3, 2, 1},
	{graph.Shape{3, 4, 4, 32}, 3, 16, 16},
	{graph.Shape{3, 4, 4, 32}, 3, 0, 32},
	{graph.Shape{4, 6, 5, 58}, 3, 29, 29},
	{graph.Shape{2, 8, 8, 130}, 3, 64, 65},
	{graph.Shape{2, 9, 4, 10}, 1, 3, 5},
	{graph.Shape{2, 3, 9, 16}, 2, 8, 1},
	{graph.Shape{5, 2, 2, 3}, 0, 1, 3},
	{graph.Shape{33, 100}, 1, 7, 50},
	{graph.Shape{16, 16, 16, 64}, 3, 32, 32},
}

// dims are four extents, or the order of four dimensions.
type dims = [4]int64

// turns are permutations: a channel shuffle, transpositions, all four dimensions, dimensions that stay.
var turns = []struct {
	name        string
	x           graph.Shape
	view, order dims
	y           graph.Shape
}{
	{"one element", graph.Shape{1}, dims{1, 1, 1, 1}, dims{3, 2, 1, 0}, graph.Shape{1, 1}},
	{"two groups, shuffled", graph.Shape{2, 5, 7, 58}, dims{1, 70, 2, 29}, dims{0, 1, 3, 2}, graph.Shape{2, 5, 7, 58}},
	{"eight groups, shuffled", graph.Shape{3, 4, 4, 32}, dims{1, 48, 8, 4}, dims{0, 1, 3, 2}, graph.Shape{3, 4, 4, 32}},
	{"flattened in PyTorch's order", graph.Shape{3, 5, 4, 10}, dims{1, 3, 20, 10}, dims{0, 1, 3, 2}, graph.Shape{3, 200}},
	{"height and width, transposed", graph.Shape{2, 6, 9, 17}, dims{2, 6, 9, 17}, dims{0, 2, 1, 3}, graph.Shape{2, 9, 6, 17}},
	{"rows of 16 channels, transposed", graph.Shape{4, 12, 8, 16}, dims{4, 12, 8, 16}, dims{0, 2, 1, 3}, graph.Shape{4, 8, 12, 16}},
	{"all reversed", graph.Shape{2, 3, 5, 7}, dims{2, 3, 5, 7}, dims{3, 2, 1, 0}, graph.Shape{7, 5, 3, 2}},
	{"a matrix", graph.Shape{129, 33}, dims{1, 1, 129, 33}, dims{0, 1, 3, 2}, graph.Shape{33, 129}},
	{"a large map", graph.Shape{8, 16, 16, 64}, dims{8, 256, 2, 32}, dims{0, 1, 3, 2}, graph.Shape{8, 16, 16, 64}},
}

func shapeCases() []Case {
	var out []Case
	for _, s := range joins {
		name := fmt.Sprintf("%d from %s along axis %d", len(s.shapes), s.shapes[0], s.axis)
		out = append(out, Case{Name: name, Kind: graph.KindConcat, build: func(p *program) {
			var values []*graph.Value
			for i, shape := range s.shapes {
				values = append(values, p.input(fmt.Sprintf("x%d", i), normal(float64(i), 1), shape...))
			}
			p.Concat(s.axis, values...)
		}})
	}
	for _, s := range parts {
		y := slices.Clone(s.shape)
		y[s.axis] = s.length
		for _, added := range []bool{false, true} {
			name := fmt.Sprintf("%d from %d along axis %d of %s", s.length, s.offset, s.axis, s.shape)
			if added {
				name += ", added"
			}
			sum := func(p *program, shape graph.Shape) *graph.Value {
				if !added {
					return nil
				}
				return p.input("sum", normal(0, 1), shape...)
			}
			for _, c := range []Case{
				{Name: name, Kind: graph.KindSlice, build: func(p *program) {
					p.Slice(p.input("x", normal(0.5, 1), s.shape...), s.axis, s.offset, s.length, sum(p, y))
				}},
				{Name: name, Kind: graph.KindSliceBackward, build: func(p *program) {
					p.SliceBackward(&graph.Op{Operands: []*graph.Value{{Shape: s.shape}},
						Attr: graph.Attributes{Axis: int64(s.axis), Offset: s.offset, Length: s.length}},
						p.input("dy", normal(0, 1), y...), sum(p, s.shape))
				}},
			} {
				out = append(out, c.inPlace()...)
			}
		}
	}
	for _, s := range turns {
		out = append(out, Case{Name: s.name, Kind: graph.KindPermute, build: func(p *program) {
			p.Permute(p.input("x", normal(0, 1), s.x...), s.view, s.order, s.y)
		}})
	}
	for _, shapes := range [][2]graph.Shape{{{1}, {1, 1, 1, 1}}, {{3, 5, 7, 2}, {3, 70}}, {{129, 33}, {129, 3, 11}}} {
		out = append(out, Case{Name: fmt.Sprintf("%s to %s", shapes[0], shapes[1]), Kind: graph.KindReshape, build: func(p *program) {
			p.Reshape(p.input("x", normal(0, 1), shapes[0]...), shapes[1])
		}}.inPlace()...)
	}
	return out
}

func shapeGradients() []GradientCase {
	return []GradientCase{
		{"slice", func(p *program) derivative {
			x := p.input("x", normal(0.5, 1), 2, 3, 5, 7)
			d := derivative{result: p.Slice(x, 3, 2, 4, nil)}
			op := p.last()
			d.forward = len(p.Ops())
			d.add(x, p.SliceBackward(op, d.comesIn(p, "dy"), nil))
			return d
		}},
		{"permute", func(p *program) derivative {
			x := p.input("x", normal(0.5, 1), 2, 3, 5, 7)
			d := derivative{result: p.Permute(x, dims{2, 3, 5, 7}, dims{2, 0, 3, 1}, graph.Shape{5, 2, 7, 3})}
			op := p.last()
			d.forward = len(p.Ops())
			d.add(x, p.PermuteBackward(op, d.comesIn(p, "dy")))
			return d
		}},
		{"reshape", func(p *program) derivative {
			x := p.input("x", normal(0.5, 1), 2, 3, 5)
			d := derivative{result: p.Reshape(x, graph.Shape{6, 5})}
			op := p.last()
			d.forward = len(p.Ops())
			d.add(x, p.ReshapeBackward(op, d.comesIn(p, "dy")))
			return d
		}},
	}
}

package optest

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
)

// dropouts are shapes with tails of every length, samples that end within a vector, and one that
// several threads share.
var dropouts = []struct {
	shape graph.Shape
	graph.DropoutOptions
}{
	{graph.Shape{1, 1, 1, 1}, graph.DropoutOptions{Rate: 0.5}},
	{graph.Shape{3, 10}, graph.DropoutOptions{Rate: 0.2}},
	{graph.Shape{1, 3, 5, 17}, graph.DropoutOptions{Rate: 0.5}},
	{graph.Shape{129, 33}, graph.DropoutOptions{Rate: 0.9}},
	{graph.Shape{5, 1, 1, 1280}, graph.DropoutOptions{Rate: 0.2}},
	{graph.Shape{17, 4096}, graph.DropoutOptions{Rate: 0.5}},
	{graph.Shape{1, 1, 1, 1}, graph.DropoutOptions{Rate: 0.5, Rows: true}},
	{graph.Shape{9, 1, 1, 1}, graph.DropoutOptions{Rate: 0.5, Rows: true}},
	{graph.Shape{23, 3}, graph.DropoutOptions{Rate: 0.4, Rows: true}},
	{graph.Shape{7, 3, 5, 17}, graph.DropoutOptions{Rate: 0.3, Rows: true}},
	{graph.Shape{130, 4, 4, 16}, graph.DropoutOptions{Rate: 0.2, Rows: true}},
}

// dropoutOperands are away from zero, so that dropped and kept elements differ, and a
// stream of all bits.
func dropoutOperands(p *program, s graph.Shape) (x, stream *graph.Value) {
	return p.input("x", away(0.1, 2), s...), p.typed("stream", graph.TypeS32, scattered(), 3)
}

func dropoutCases() []Case {
	var out []Case
	for _, s := range dropouts {
		c := Case{Name: fmt.Sprintf("%s at %g", s.shape, s.Rate), Kind: graph.KindDropout, build: func(p *program) {
			x, stream := dropoutOperands(p, s.shape)
			p.In("classifier.0", func() { p.Dropout(x, stream, s.DropoutOptions) })
		}}
		if s.Rows {
			c.Name += ", samples"
		}
		out = append(out, c.inPlace()...)
	}
	return out
}

func dropoutGradients() []GradientCase {
	var out []GradientCase
	for _, o := range []graph.DropoutOptions{{Rate: 0.3}, {Rate: 0.5, Rows: true}} {
		out = append(out, GradientCase{fmt.Sprintf("dropout at %g, samples %v", o.Rate, o.Rows), func(p *program) derivative {
			x, stream := dropoutOperands(p, graph.Shape{6, 3, 2, 5})
			d := derivative{result: p.Dropout(x, stream, o)}
			op := p.last()
			d.forward = len(p.Ops())
			d.add(x, p.DropoutBackward(op, d.comesIn(p, "dy")))
			return d
		}})
	}
	return out
}

package optest

import "github.com/localbench/localbench/core/graph"

// gateShapes are of x: one element, odd channels, more than a block of channels, many positions.
var gateShapes = [][4]int64{{1, 1, 1, 1}, {2, 5, 7, 3}, {3, 1, 1, 10}, {5, 4, 4, 16}, {2, 3, 5, 33}, {3, 6, 5, 64}, {2, 3, 2, 130}, {4, 16, 16, 12}}

// gateOperands have gates of both signs, some of them nearly 0 or 1.
func gateOperands(p *program, s [4]int64) (x, z *graph.Value) {
	return p.input("x", normal(0.5, 1), s[:]...), p.input("z", apart(0, 3, 10, 20), s[0], 1, 1, s[3])
}

func gateCases() []Case {
	var out []Case
	for _, s := range gateShapes {
		for _, c := range []Case{
			{Kind: graph.KindGate, build: func(p *program) { p.Gate(gateOperands(p, s)) }},
			{Kind: graph.KindGateBackward, build: func(p *program) {
				x, z := gateOperands(p, s)
				p.GateBackward(&graph.Op{Operands: []*graph.Value{x, z}}, p.input("dy", normal(0, 1), s[:]...))
			}},
		} {
			c.Name = graph.Shape(s[:]).String()
			out = append(out, c.inPlace()...)
		}
	}
	return out
}

func gateGradients() []GradientCase {
	return []GradientCase{{"gate", func(p *program) derivative {
		x, z := p.input("x", normal(0.5, 1), 2, 3, 5, 7), p.input("z", normal(0, 2), 2, 1, 1, 7)
		d := derivative{result: p.Gate(x, z)}
		op := p.last()
		d.forward = len(p.Ops())
		dx, dz := p.GateBackward(op, d.comesIn(p, "dy"))
		d.add(x, dx)
		d.add(z, dz)
		return d
	}}}
}

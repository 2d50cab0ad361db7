package optest

import "github.com/localbench/localbench/core/graph"

// gateShapes are of x: one element, odd channels, more than a block of channels, many positions.
var gateShapes = [][4]int64{{1, 1, 1, 1}, {2, 5, 7, 3}, {3, 1, 1, 10}, {5, 4, 4, 16}, {2, 3, 5, 33}, {3, 6, 5, 64},
	{2, 3, 2, 130}, {4, 16, 16, 12}}

// gateOperands have gates of both signs, some of them nearly 0 or 1 and none at a kink of the hardsigmoid; gates without an
// activation are of one size.
func gateOperands(p *program, s [4]int64, a graph.Activation) (x, z *graph.Value) {
	gates := apart(0, 2.9, 10, 20)
	if a == graph.ActivationNone {
		gates = normal(0, 1)
	}
	return p.input("x", normal(0.5, 1), s[:]...), p.input("z", gates, s[0], 1, 1, s[3])
}

func gateCases() []Case {
	var out []Case
	for _, s := range gateShapes {
		for _, a := range []graph.Activation{graph.ActivationSigmoid, graph.ActivationHardsigmoid, graph.ActivationNone} {
			for _, c := range []Case{
				{Kind: graph.KindGate, build: func(p *program) {
					x, z := gateOperands(p, s, a)
					p.Gate(x, z, a)
				}},
				{Kind: graph.KindGateBackward, build: func(p *program) {
					x, z := gateOperands(p, s, a)
					op := &graph.Op{Operands: []*graph.Value{x, z}, Attr: graph.Attributes{Activation: a}}
					p.GateBackward(op, p.input("dy", normal(0, 1), s[:]...))
				}},
			} {
				c.Name = a.String() + ", " + graph.Shape(s[:]).String()
				out = append(out, c.inPlace()...)
			}
		}
	}
	return append(out, scaleCases()...)
}

// scaleShapes also have other ranks, and rows enough for several blocks of sums.
var scaleShapes = []graph.Shape{{1, 1, 1, 1}, {7, 10}, {3, 5, 12}, {2, 5, 7, 3}, {5, 4, 4, 16}, {2, 3, 5, 33}, {3, 2, 3, 130},
	{4, 16, 16, 12}, {3, 33, 30, 64}}

func scaleCases() []Case {
	var out []Case
	for _, s := range scaleShapes {
		operands := func(p *program) (x, factor *graph.Value) {
			return p.input("x", normal(0.5, 1), s...), p.weight("s", normal(0, 1), s[len(s)-1])
		}
		for _, c := range []Case{
			{Kind: graph.KindScale, build: func(p *program) { p.Scale(operands(p)) }},
			{Kind: graph.KindScaleBackward, build: func(p *program) {
				x, factor := operands(p)
				p.ScaleBackward(&graph.Op{Operands: []*graph.Value{x, factor}}, p.input("dy", normal(0, 1), s...))
			}},
		} {
			c.Name = s.String()
			out = append(out, c.inPlace()...)
		}
	}
	return out
}

func gateGradients() []GradientCase {
	var out []GradientCase
	for _, g := range []struct {
		a graph.Activation
		z fill
	}{{graph.ActivationSigmoid, normal(0, 2)}, {graph.ActivationHardsigmoid, apart(0, 2.8, 3.2, 5)},
		{graph.ActivationNone, normal(0, 1)}} {
		out = append(out, GradientCase{"gate, " + g.a.String(), func(p *program) derivative {
			x, z := p.input("x", normal(0.5, 1), 2, 3, 5, 7), p.input("z", g.z, 2, 1, 1, 7)
			d := derivative{result: p.Gate(x, z, g.a)}
			op := p.last()
			d.forward = len(p.Ops())
			dx, dz := p.GateBackward(op, d.comesIn(p, "dy"))
			d.add(x, dx)
			d.add(z, dz)
			return d
		}})
	}
	return append(out, GradientCase{"scale", func(p *program) derivative {
		x, s := p.input("x", normal(0.5, 1), 2, 3, 5, 7), p.weight("s", normal(0, 1), 7)
		d := derivative{result: p.Scale(x, s)}
		op := p.last()
		d.forward = len(p.Ops())
		dx, ds := p.ScaleBackward(op, d.comesIn(p, "dy"))
		d.add(x, dx)
		d.add(s, ds)
		return d
	}})
}

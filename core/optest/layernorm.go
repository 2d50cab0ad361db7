package optest

import "github.com/localbench/localbench/core/graph"

// layerNormShapes have rows of one element, tails of every vector, rows longer than a block of threads, and many rows.
var layerNormShapes = []graph.Shape{{3, 1}, {1, 1, 1, 7}, {5, 10}, {2, 3, 4, 16}, {2, 5, 7, 3}, {3, 4, 17}, {2, 3, 5, 33},
	{2, 3, 2, 96}, {3, 1, 1, 770}, {4, 16, 16, 12}, {129, 64}}

const layerNormEpsilon = 1e-2 // so that a row of one or of nearly equal elements stays well conditioned

func layerNormOperands(p *program, s graph.Shape) (x, gamma, beta *graph.Value) {
	c := s[len(s)-1]
	return p.input("x", normal(0.5, 1), s...), p.weight("gamma", normal(1, 0.5), c), p.weight("beta", normal(0, 1), c)
}

func layerNormCases() []Case {
	var out []Case
	for _, s := range layerNormShapes {
		for _, c := range []Case{
			{Kind: graph.KindLayerNorm, build: func(p *program) {
				x, gamma, beta := layerNormOperands(p, s)
				p.LayerNorm(x, gamma, beta, layerNormEpsilon)
			}},
			{Kind: graph.KindLayerNormBackward, build: func(p *program) {
				x, gamma, beta := layerNormOperands(p, s)
				op := &graph.Op{Operands: []*graph.Value{x, gamma, beta}, Attr: graph.Attributes{Epsilon: layerNormEpsilon}}
				p.LayerNormBackward(op, p.input("dy", normal(0, 1), s...))
			}},
		} {
			if c.Kind == graph.KindLayerNormBackward && s[len(s)-1] == 1 {
				continue // dx is 0, and so what rounding may add
			}
			c.Name = s.String()
			out = append(out, c.inPlace()...)
		}
	}
	return out
}

func layerNormGradients() []GradientCase {
	var out []GradientCase
	for _, s := range []graph.Shape{{2, 3, 2, 5}, {4, 17}, {3, 2, 8}} {
		out = append(out, GradientCase{"layer norm: " + s.String(), func(p *program) derivative {
			x, gamma, beta := layerNormOperands(p, s)
			d := derivative{result: p.LayerNorm(x, gamma, beta, layerNormEpsilon)}
			op := p.last()
			d.forward = len(p.Ops())
			dx, dgamma, dbeta := p.LayerNormBackward(op, d.comesIn(p, "dy"))
			d.add(x, dx)
			d.add(gamma, dgamma)
			d.add(beta, dbeta)
			return d
		}})
	}
	return out
}

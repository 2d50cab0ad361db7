package optest

import "github.com/localbench/localbench/core/graph"

// shapes for ops that look at each element alone: one, odd tails, rank 2, many.
var elementwiseShapes = []graph.Shape{
	{1, 1, 1, 1}, {3, 10}, {2, 5, 7, 3}, {1, 3, 5, 17}, {5, 4, 4, 16}, {3, 9, 8, 64}, {129, 33}, {4, 32, 32, 16},
}

func elementwiseCases() []Case {
	var out []Case
	for _, s := range elementwiseShapes {
		for _, c := range []Case{
			{Kind: graph.KindReLU, build: func(p *program) { p.ReLU(p.input("x", away(0.1, 2), s...)) }},
			{Kind: graph.KindReLUBackward, build: func(p *program) {
				p.ReLUBackward(made(graph.ActivationReLU, p.input("y", rectified(0.1, 2), s...)), p.input("dy", normal(0, 1), s...))
			}},
			{Name: "at most 6, ", Kind: graph.KindReLU, build: func(p *program) { p.ReLU6(p.input("x", apart(0.1, 2, 7, 8), s...)) }},
			{Name: "at most 6, ", Kind: graph.KindReLUBackward, build: func(p *program) {
				p.ReLUBackward(made(graph.ActivationReLU6, p.input("y", clipped(), s...)), p.input("dy", normal(0, 1), s...))
			}},
			{Kind: graph.KindSiLU, build: func(p *program) { p.SiLU(p.input("x", apart(0, 4, 20, 60), s...)) }},
			{Kind: graph.KindSiLUBackward, build: func(p *program) {
				p.SiLUBackward(&graph.Op{Operands: []*graph.Value{p.input("x", apart(0, 4, 20, 60), s...)}},
					p.input("dy", normal(0, 1), s...))
			}},
			activationCase(graph.ActivationHardswish, apart(0, 2.9, 3.1, 20), s),
			activationBackwardCase(graph.ActivationHardswish, apart(0, 2.9, 3.1, 20), s),
			activationCase(graph.ActivationHardsigmoid, apart(0, 2.9, 3.1, 20), s),
			activationBackwardCase(graph.ActivationHardsigmoid, unitClipped(), s),
			activationCase(graph.ActivationSigmoid, apart(0, 4, 20, 60), s),
			activationBackwardCase(graph.ActivationSigmoid, uniform(0, 1), s),
			activationCase(graph.ActivationGELU, firstPositive(apart(0, 4, 4, 20)), s),
			activationBackwardCase(graph.ActivationGELU, apart(0, 4, 4, 20), s),
			activationCase(graph.ActivationGELUTanh, firstPositive(apart(0, 4, 4, 20)), s),
			activationBackwardCase(graph.ActivationGELUTanh, apart(0, 4, 4, 20), s),
			{Kind: graph.KindAdd, build: func(p *program) {
				p.Add(p.input("x", normal(0, 1), s...), p.input("y", normal(0, 1), s...))
			}},
			{Kind: graph.KindDetach, build: func(p *program) { p.Detach(p.input("x", normal(0, 1), s...)) }},
		} {
			c.Name += s.String()
			out = append(out, c.inPlace()...)
		}
	}
	twice := Case{Name: "a value with itself", Kind: graph.KindAdd, build: func(p *program) {
		x := p.input("x", normal(0, 1), 3, 5, 7)
		p.Add(x, x)
	}}
	out = append(out, twice.inPlace()...)
	return append(append(out, imageCases()...), augmentCases()...)
}

func activationCase(a graph.Activation, x fill, s graph.Shape) Case {
	return Case{Name: a.String() + ", ", Kind: graph.KindActivate, build: func(p *program) { p.Activate(p.input("x", x, s...), a) }}
}

// activationBackwardCase is the gradient from what the op saves, its operand or its result.
func activationBackwardCase(a graph.Activation, saved fill, s graph.Shape) Case {
	return Case{Name: a.String() + ", ", Kind: graph.KindActivateBackward, build: func(p *program) {
		v := p.input("saved", saved, s...)
		op := &graph.Op{Operands: []*graph.Value{v}, Results: []*graph.Value{v}, Attr: graph.Attributes{Activation: a}}
		p.ActivateBackward(op, p.input("dy", normal(0, 1), s...))
	}}
}

// made is a relu op that is not in the program, of which y is the result.
func made(a graph.Activation, y *graph.Value) *graph.Op {
	return &graph.Op{Results: []*graph.Value{y}, Attr: graph.Attributes{Activation: a}}
}

// augmentCases have words of all sizes: the crop's place is read from their upper bits.
func augmentCases() []Case {
	var out []Case
	for _, s := range []struct {
		name          string
		shape         []int64
		pad           int64
		reflect, flip bool
	}{
		{"nothing", []int64{2, 3, 4, 3}, 0, false, false},
		{"zero border", []int64{9, 5, 7, 3}, 4, false, false},
		{"reflected border", []int64{9, 5, 7, 3}, 4, true, false},
		{"mirrored", []int64{9, 4, 5, 1}, 0, false, true},
		{"the recipe's", []int64{5, 32, 32, 3}, 4, true, true},
		{"four channels", []int64{3, 9, 8, 4}, 8, false, true},
	} {
		out = append(out, Case{Name: s.name, Kind: graph.KindAugment, build: func(p *program) {
			x := p.typed("x", graph.TypeU8, whole(256), s.shape...)
			words := p.typed("words", graph.TypeS32, scattered(), s.shape[0], 4)
			p.Augment(x, words, s.pad, s.reflect, s.flip)
		}})
	}
	return out
}

func imageCases() []Case {
	var out []Case
	for _, s := range []struct {
		name  string
		shape []int64
	}{
		{"grey", []int64{3, 5, 7, 1}},
		{"two channels", []int64{1, 9, 4, 2}},
		{"colours", []int64{2, 9, 7, 3}},
		{"colours, a whole batch", []int64{5, 32, 32, 3}},
		{"four channels", []int64{1, 1, 5, 4}},
	} {
		out = append(out, Case{Name: s.name, Kind: graph.KindNormalizeImage, build: func(p *program) {
			x := p.typed("x", graph.TypeU8, whole(256), s.shape...)
			p.NormalizeImage(x, [4]float64{125.3, 123, 113.9, 7}, [4]float64{63, 62.1, 66.7, 1.5})
		}})
	}
	return out
}

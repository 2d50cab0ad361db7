package graph

// SGDOptions are the constants of stochastic gradient descent.
type SGDOptions struct {
	Momentum    float64 // 0.9 in the papers' recipes
	WeightDecay float64 // 1e-4 in the papers' recipes, on every parameter
	Nesterov    bool
}

// SGD adds one update of the parameter w and its momentum v in place, from the
// gradient g, f32 or bf16, and the run-time learning rate lr [1], all else f32:
//
//	g += weightDecay*w;  v = momentum*v + g;  w -= lr * (g + momentum*v)   with Nesterov
//	                                          w -= lr * v                  without
//
// With v zero at the start this is what the common frameworks do.
func (b *Builder) SGD(w, g, v, lr *Value, o SGDOptions) {
	b.add(KindSGD, Attributes{Momentum: o.Momentum, WeightDecay: o.WeightDecay, Nesterov: o.Nesterov}, w, g, v, lr)
}

// Average moves the state a towards the source s in place, both f32 of one shape:
// a = momentum*a + (1-momentum)*s, an exponential moving average over steps.
func (b *Builder) Average(a, s *Value, momentum float64) {
	b.add(KindAverage, Attributes{Momentum: momentum}, a, s)
}

func updateRule(k Kind) rule {
	if k == KindAverage {
		return rule{operands: []string{"average", "source"}, mutates: []int{0},
			results: func(op *Op) ([]resultType, error) { return nil, wantShape(op.Operands[0].Shape, op.Operands[1]) }}
	}
	return rule{operands: []string{"w", "g", "v", "lr"}, mutates: []int{0, 2},
		results: func(op *Op) ([]resultType, error) {
			if err := wantShape(Shape{1}, op.Operands[3]); err != nil {
				return nil, err
			}
			return nil, wantShape(op.Operands[0].Shape, op.Operands[1], op.Operands[2])
		}}
}

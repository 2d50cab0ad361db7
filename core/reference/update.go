package reference

import "github.com/localbench/localbench/core/graph"

// sgd updates w and v in place:
//
//	d = g + weightDecay*w;  v = momentum*v + d
//	w -= lr * (d + momentum*v)   with Nesterov, lr * v without
func sgd(m *Machine, op *graph.Op) error {
	w, g, v, rate := m.operand(op, 0), m.operand(op, 1), m.operand(op, 2), m.operand(op, 3)[0]
	a := op.Attr
	for i := range w {
		d := g[i] + a.WeightDecay*w[i]
		v[i] = a.Momentum*v[i] + d
		step := v[i]
		if a.Nesterov {
			step = d + a.Momentum*v[i]
		}
		w[i] -= rate * step
	}
	return nil
}

// average computes a = momentum*a + (1-momentum)*s in place.
func average(m *Machine, op *graph.Op) error {
	a, s := m.operand(op, 0), m.operand(op, 1)
	for i := range a {
		a[i] = op.Attr.Momentum*a[i] + (1-op.Attr.Momentum)*s[i]
	}
	return nil
}

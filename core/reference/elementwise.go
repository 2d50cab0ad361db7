package reference

import "github.com/localbench/localbench/core/graph"

// relu computes y = max(x, 0).
func relu(m *Machine, op *graph.Op) error {
	x, y := m.operand(op, 0), m.result(op, 0)
	for i := range y {
		y[i] = max(x[i], 0)
	}
	return nil
}

// reluBackward computes dx = dy where y > 0, else 0.
func reluBackward(m *Machine, op *graph.Op) error {
	dy, y, dx := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	for i := range dx {
		dx[i] = 0
		if y[i] > 0 {
			dx[i] = dy[i]
		}
	}
	return nil
}

// add computes z = x + y.
func add(m *Machine, op *graph.Op) error {
	x, y, z := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	for i := range z {
		z[i] = x[i] + y[i]
	}
	return nil
}

// same copies: detach, and cast, whose result is rounded as every result is.
func same(m *Machine, op *graph.Op) error {
	copy(m.result(op, 0), m.operand(op, 0))
	return nil
}

// normalizeImage computes y = (x - mean[c]) / deviation[c].
func normalizeImage(m *Machine, op *graph.Op) error {
	x, y := m.operand(op, 0), m.result(op, 0)
	channels := int(op.Operands[0].Shape[3])
	for i := range y {
		c := i % channels
		y[i] = (x[i] - op.Attr.Mean[c]) / op.Attr.Deviation[c]
	}
	return nil
}

package reference

import (
	"github.com/localbench/localbench/core/graph"
)

// gate computes y[n,p,q,c] = x[n,p,q,c] * a(z[n,c]).
func gate(m *Machine, op *graph.Op) error {
	x, z, y := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	for i := range y {
		y[i] = x[i] * activate(op.Attr.Activation, z[gateOf(op.Operands[0], i)])
	}
	return nil
}

// gateBackward computes dx = dy * a(z); dz[n,c] = a'(z) * sum over p, q of dy * x.
func gateBackward(m *Machine, op *graph.Op) error {
	dy, x, z := m.operand(op, 0), m.operand(op, 1), m.operand(op, 2)
	dx, dz := m.result(op, 0), m.result(op, 1)
	clear(dz)
	for i := range dx {
		at := gateOf(op.Operands[1], i)
		s := activate(op.Attr.Activation, z[at])
		from := z[at] // what the derivative is computed from
		if op.Attr.Activation.FromResult() {
			from = s
		}
		dx[i] = dy[i] * s
		dz[at] += dy[i] * x[i] * slope(op.Attr.Activation, from)
	}
	return nil
}

// gateOf is the place of the gate of element i of x.
func gateOf(x *graph.Value, i int) int {
	c, sample := int(x.Shape[3]), int(x.Shape[1]*x.Shape[2]*x.Shape[3])
	return i/sample*c + i%c
}

// scale computes y[...,c] = x[...,c] * s[c].
func scale(m *Machine, op *graph.Op) error {
	x, s, y := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	for i := range y {
		y[i] = x[i] * s[i%len(s)]
	}
	return nil
}

// scaleBackward computes dx = dy * s; ds[c] = sum of dy * x over the other dimensions.
func scaleBackward(m *Machine, op *graph.Op) error {
	dy, x, s := m.operand(op, 0), m.operand(op, 1), m.operand(op, 2)
	dx, ds := m.result(op, 0), m.result(op, 1)
	clear(ds)
	for i := range dx {
		dx[i] = dy[i] * s[i%len(s)]
		ds[i%len(s)] += dy[i] * x[i]
	}
	return nil
}

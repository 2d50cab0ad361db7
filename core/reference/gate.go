package reference

import (
	"math"

	"github.com/localbench/localbench/core/graph"
)

// gate computes y[n,p,q,c] = x[n,p,q,c] / (1 + exp(-z[n,c])).
func gate(m *Machine, op *graph.Op) error {
	x, z, y := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	for i := range y {
		y[i] = x[i] / (1 + math.Exp(-z[gateOf(op.Operands[0], i)]))
	}
	return nil
}

// gateBackward computes, with s = 1 / (1 + exp(-z)),
//
//	dx = dy * s;  dz[n,c] = s * (1-s) * sum over p, q of dy * x
func gateBackward(m *Machine, op *graph.Op) error {
	dy, x, z := m.operand(op, 0), m.operand(op, 1), m.operand(op, 2)
	dx, dz := make([]float64, len(x)), m.result(op, 1) // dx may lie in x
	clear(dz)
	for i := range dx {
		at := gateOf(op.Operands[1], i)
		s := 1 / (1 + math.Exp(-z[at]))
		dx[i] = dy[i] * s
		dz[at] += dy[i] * x[i] * s * (1 - s)
	}
	copy(m.result(op, 0), dx)
	return nil
}

// gateOf is the place of the gate of element i of x.
func gateOf(x *graph.Value, i int) int {
	c, sample := int(x.Shape[3]), int(x.Shape[1]*x.Shape[2]*x.Shape[3])
	return i/sample*c + i%c
}

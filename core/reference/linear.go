package reference

import "github.com/localbench/localbench/core/graph"

// linear computes y[n,o] = bias[o] + sum over i of x[n,i] * w[o,i].
func linear(m *Machine, op *graph.Op) error {
	x, w, bias, y := m.operand(op, 0), m.operand(op, 1), m.operand(op, 2), m.result(op, 0)
	batch, outputs, inputs := linearExtents(op.Results[0].Shape, op.Operands[1].Shape)
	for n := range batch {
		for o := range outputs {
			sum := 0.0
			if bias != nil {
				sum = bias[o]
			}
			for i := range inputs {
				sum += x[n*inputs+i] * w[o*inputs+i]
			}
			y[n*outputs+o] = sum
		}
	}
	return nil
}

// linearBackwardData computes dx[n,i] = sum over o of dy[n,o] * w[o,i].
func linearBackwardData(m *Machine, op *graph.Op) error {
	dy, w, dx := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	batch, outputs, inputs := linearExtents(op.Operands[0].Shape, op.Operands[1].Shape)
	clear(dx)
	for n := range batch {
		for o := range outputs {
			for i := range inputs {
				dx[n*inputs+i] += dy[n*outputs+o] * w[o*inputs+i]
			}
		}
	}
	return nil
}

// linearBackwardWeights computes dw[o,i] = sum over n of dy[n,o] * x[n,i], and
// the bias gradient as the sum of dy over n.
func linearBackwardWeights(m *Machine, op *graph.Op) error {
	x, dy, dw := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	batch, outputs, inputs := linearExtents(op.Operands[1].Shape, op.Results[0].Shape)
	clear(dw)
	for n := range batch {
		for o := range outputs {
			for i := range inputs {
				dw[o*inputs+i] += dy[n*outputs+o] * x[n*inputs+i]
			}
		}
	}
	if op.Attr.Bias {
		sumRows(m.result(op, 1), dy)
	}
	return nil
}

// linearExtents reads the number of rows, outputs and inputs from the shapes of y [... out]
// and w [out in].
func linearExtents(y, w graph.Shape) (rows, outputs, inputs int) {
	return int(y.Elements() / w[0]), int(w[0]), int(w[1])
}

package autodiff

import "github.com/localbench/localbench/core/graph"

// The rules, a function a kind. Each has the gradient of its op's first result
// at hand (w.gradients) and gives one to every operand that wants it.

func conv(w *walk, op *graph.Op) {
	dy, x, weight, bias := w.gradients[op.Results[0]], op.Operands[0], op.Operands[1], op.Operands[2]
	dw, db := w.b.ConvBackwardWeights(op, dy)
	w.give(weight, dw)
	w.give(bias, db)
	if w.wants(x) {
		w.give(x, w.b.ConvBackwardData(op, dy))
	}
}

// normApply gives the gradient of apply and of the statistics together: the
// batch statistics are functions of x, and their gradient is part of dx.
func normApply(w *walk, op *graph.Op) {
	dy, x, gamma, beta, residual := w.gradients[op.Results[0]], op.Operands[0], op.Operands[3], op.Operands[4], op.Operands[5]
	g := w.b.NormBackward(op, dy)
	w.give(gamma, g.Gamma)
	w.give(beta, g.Beta)
	if residual != nil {
		if g.Residual == nil {
			g.Residual = dy
		}
		w.give(residual, g.Residual)
	}
	w.give(x, g.X)
}

func relu(w *walk, op *graph.Op) {
	w.give(op.Operands[0], w.b.ReLUBackward(op, w.gradients[op.Results[0]]))
}

func silu(w *walk, op *graph.Op) {
	w.give(op.Operands[0], w.b.SiLUBackward(op, w.gradients[op.Results[0]]))
}

// add passes the same value to both sides; nothing is copied.
func add(w *walk, op *graph.Op) {
	dy := w.gradients[op.Results[0]]
	w.give(op.Operands[0], dy)
	w.give(op.Operands[1], dy)
}

func maxPool(w *walk, op *graph.Op) {
	if w.wants(op.Operands[0]) {
		w.give(op.Operands[0], w.b.MaxPoolBackward(op, w.gradients[op.Results[0]]))
	}
}

func averagePool(w *walk, op *graph.Op) {
	if w.wants(op.Operands[0]) {
		w.give(op.Operands[0], w.b.AveragePoolBackward(op, w.gradients[op.Results[0]]))
	}
}

func linear(w *walk, op *graph.Op) {
	dy, x := w.gradients[op.Results[0]], op.Operands[0]
	dw, db := w.b.LinearBackwardWeights(op, dy)
	w.give(op.Operands[1], dw)
	w.give(op.Operands[2], db)
	if w.wants(x) {
		w.give(x, w.b.LinearBackwardData(op, dy))
	}
}

func gate(w *walk, op *graph.Op) {
	dx, dz := w.b.GateBackward(op, w.gradients[op.Results[0]])
	w.give(op.Operands[0], dx)
	w.give(op.Operands[1], dz)
}

func dropout(w *walk, op *graph.Op) {
	if w.wants(op.Operands[0]) {
		w.give(op.Operands[0], w.b.DropoutBackward(op, w.gradients[op.Results[0]]))
	}
}

func upsample(w *walk, op *graph.Op) {
	if w.wants(op.Operands[0]) {
		w.give(op.Operands[0], w.b.UpsampleBackward(op, w.gradients[op.Results[0]]))
	}
}

func deviation(w *walk, op *graph.Op) {
	if w.wants(op.Operands[0]) {
		w.give(op.Operands[0], w.b.DeviationBackward(op, w.gradients[op.Results[0]]))
	}
}

// loss is the rule of every loss op: a loss starts a gradient. Its weight in the
// sum is a constant of the backward op, so no op multiplies by it.
func loss(backward func(b *graph.Builder, loss *graph.Op, scale float64) *graph.Value) func(*walk, *graph.Op) {
	return func(w *walk, op *graph.Op) {
		if w.wants(op.Operands[0]) {
			w.give(op.Operands[0], backward(w.b, op, w.seeds[op.Results[0]]))
		}
	}
}

package autodiff

import "github.com/localbench/localbench/core/graph"

// The gradient rules, one function for each kind. A rule reads the gradient of its op's first result
// (w.gradients) and gives one to every operand that needs it.

// unary is the rule of an op with one differentiable operand: that operand needs a gradient, or the result would have none.
func unary(backward func(b *graph.Builder, op *graph.Op, dy *graph.Value) *graph.Value) func(*walk, *graph.Op) {
	return func(w *walk, op *graph.Op) {
		w.give(op.Operands[0], backward(w.b, op, w.gradients[op.Results[0]]))
	}
}

func conv(w *walk, op *graph.Op) {
	dy, x, weight, bias := w.gradients[op.Results[0]], op.Operands[0], op.Operands[1], op.Operands[2]
	dw, db := w.b.ConvBackwardWeights(op, dy)
	w.give(weight, dw)
	w.give(bias, db)
	if w.wants(x) {
		w.give(x, w.b.ConvBackwardData(op, dy))
	}
}

// normApply gives the gradient of norm_apply and of norm_stats together: the
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

// add gives the same gradient to both operands; nothing is copied.
func add(w *walk, op *graph.Op) {
	dy := w.gradients[op.Results[0]]
	w.give(op.Operands[0], dy)
	w.give(op.Operands[1], dy)
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

// pair is the rule of an op whose backward op gives the gradients of both operands.
func pair(backward func(b *graph.Builder, op *graph.Op, dy *graph.Value) (x, y *graph.Value)) func(*walk, *graph.Op) {
	return func(w *walk, op *graph.Op) {
		x, y := backward(w.b, op, w.gradients[op.Results[0]])
		w.give(op.Operands[0], x)
		w.give(op.Operands[1], y)
	}
}

func layerNorm(w *walk, op *graph.Op) {
	x, gamma, beta := w.b.LayerNormBackward(op, w.gradients[op.Results[0]])
	w.give(op.Operands[1], gamma)
	w.give(op.Operands[2], beta)
	w.give(op.Operands[0], x)
}

// concat gives each operand its slice of the gradient. The slice is added to the gradient that the operand has already, in place
// where that is possible: a value that many ops join, as in a dense block, has one gradient and no temporary ones.
func concat(w *walk, op *graph.Op) {
	dy, axis, offset := w.gradients[op.Results[0]], op.Attr.Axis, int64(0)
	for _, x := range op.Operands {
		length := x.Shape[axis]
		if w.wants(x) {
			w.gradients[x] = w.b.Slice(dy, int(axis), offset, length, w.gradients[x])
		}
		offset += length
	}
}

// slice adds the gradient to that of the whole value, in place where that is possible: all slices of a value give one gradient.
func slice(w *walk, op *graph.Op) {
	x := op.Operands[0]
	w.gradients[x] = w.b.SliceBackward(op, w.gradients[op.Results[0]], w.gradients[x])
}

// loss is the rule of a loss op, where a gradient starts. The weight of the loss
// is a constant of the backward op, so no op multiplies by it.
func loss(backward func(b *graph.Builder, loss *graph.Op, scale float64) *graph.Value) func(*walk, *graph.Op) {
	return func(w *walk, op *graph.Op) {
		if w.wants(op.Operands[0]) {
			w.give(op.Operands[0], backward(w.b, op, w.weights[op.Results[0]]))
		}
	}
}

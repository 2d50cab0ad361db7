package reference

import "github.com/localbench/localbench/core/graph"

// normBackwardSums computes dgamma, dbeta and, where it is a result, dresidual as normBackward does, and the coefficients by the
// formulas of core/graph/convnorm.go.
func normBackwardSums(m *Machine, op *graph.Op) error {
	dgamma, dbeta, coefficients := m.result(op, 0), m.result(op, 1), m.result(op, graph.NormSumsCoefficients)
	n := normOf(m, op)
	g := normSums(m, op, n, dgamma, dbeta)
	channels := len(dgamma)
	count := float64(len(g) / channels)
	for c := range channels {
		scale := n.gamma[c] * n.inverse[c]
		for row, x := range [graph.Coefficients]float64{
			graph.CoefficientScale: scale, graph.CoefficientShift: n.beta[c] - n.mean[c]*scale,
			graph.CoefficientSlope: -scale * n.inverse[c] * dgamma[c] / count, graph.CoefficientOffset: -scale * dbeta[c] / count,
			graph.CoefficientMean: n.mean[c],
		} {
			coefficients[row*channels+c] = x
		}
	}
	return nil
}

// convNormBackward computes the gradient of the convolution's result y,
//
//	scale * g + (slope * (y - mean) + offset),  g = dy times the slope of the activation at scale * y + shift
//
// rounds it to the type of y, and sends it to the convolution's input and weights.
func convNormBackward(m *Machine, op *graph.Op) error {
	dy, w, x, y, coefficients := m.operand(op, 0), m.operand(op, 1), m.operand(op, 2), m.operand(op, 3), m.operand(op, 4)
	channels := len(coefficients) / graph.Coefficients
	gradient := make([]float64, len(y))
	for i := range y {
		of := func(row int) float64 { return coefficients[row*channels+i%channels] }
		g := 0.0
		if s := slope(op.Attr.Activation, of(graph.CoefficientScale)*y[i]+of(graph.CoefficientShift)); s != 0 {
			g = dy[i] * s
		}
		gradient[i] = of(graph.CoefficientScale)*g +
			(of(graph.CoefficientSlope)*(y[i]-of(graph.CoefficientMean)) + of(graph.CoefficientOffset))
	}
	roundTo(op.Operands[3].Type, gradient)
	g := newConvGeometry(op.Attr, op.Operands[2].Shape, op.Operands[1].Shape, op.Operands[3].Shape)
	g.backwardData(m.result(op, 0), gradient, w)
	g.backwardWeights(m.result(op, 1), gradient, x)
	return nil
}

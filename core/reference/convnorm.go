package reference

import (
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// normBackwardSums computes dgamma, dbeta and, where it is a result, dresidual as normBackward does, and the coefficients by the
// formulas of core/graph/convnorm.go.
func normBackwardSums(m *Machine, op *graph.Op) error {
	dgamma, dbeta, coefficients := m.result(op, 0), m.result(op, 1), m.result(op, graph.NormSumsCoefficients)
	n := normOf(m, op)
	g := normSums(m, op, n, dgamma, dbeta)
	n.coefficients(coefficients, dgamma, dbeta, float64(len(g)/len(dgamma)))
	return nil
}

// coefficients computes those of count elements a channel.
func (n norm) coefficients(coefficients, dgamma, dbeta []float64, count float64) {
	channels := len(dgamma)
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
}

// convNormBackward computes the gradient of the convolution's result y,
//
//	scale * g + (slope * (y - mean) + offset),  g = dy times the slope of the activation at scale * y + shift
//
// rounds it to the type of y, and sends it to the convolution's input and weights.
func convNormBackward(m *Machine, op *graph.Op) error {
	x, w, dy, y, coefficients := m.convInput(op), m.operand(op, 1), m.operand(op, 2), m.operand(op, 3), m.operand(op, 4)
	channels := len(coefficients) / graph.Coefficients
	gradient := make([]float64, len(y))
	for i := range y {
		of := func(row int) float64 { return coefficients[row*channels+i%channels] }
		g := 0.0
		if s := slope(op.Attr.Following, of(graph.CoefficientScale)*y[i]+of(graph.CoefficientShift)); s != 0 {
			g = dy[i] * s
		}
		gradient[i] = of(graph.CoefficientScale)*g +
			(of(graph.CoefficientSlope)*(y[i]-of(graph.CoefficientMean)) + of(graph.CoefficientOffset))
	}
	roundTo(op.Operands[3].Type, gradient)
	g := newConvGeometry(op.Attr, op.Operands[0].Shape, op.Operands[1].Shape, op.Operands[3].Shape)
	g.backwardData(m.result(op, 0), gradient, w)
	g.backwardWeights(m.result(op, 1), gradient, x)
	if op.Attr.InputSums {
		m.round(op.Results[0])
		m.inputSums(op)
	}
	return nil
}

// inputSums computes dgamma, dbeta and the coefficients of the normalisation of the input from dx, as it is stored.
func (m *Machine) inputSums(op *graph.Op) {
	x, g := m.operand(op, 0), slices.Clone(m.result(op, 0))
	n, dgamma, dbeta := normOf(m, op), m.result(op, 2), m.result(op, 3)
	for i := range g {
		if s := slope(op.Attr.Activation, n.affine(i, x[i])); s != 0 {
			g[i] *= s
		} else {
			g[i] = 0
		}
	}
	n.sums(g, x, dgamma, dbeta)
	n.coefficients(m.result(op, 4), dgamma, dbeta, float64(len(g)/len(dgamma)))
}

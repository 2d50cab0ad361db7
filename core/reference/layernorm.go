package reference

import (
	"math"

	"github.com/localbench/localbench/core/graph"
)

// rowStatistics returns the mean of a row and 1 / sqrt(variance + epsilon), with the biased variance.
func rowStatistics(row []float64, epsilon float64) (mean, inverse float64) {
	for _, x := range row {
		mean += x
	}
	mean /= float64(len(row))
	variance := 0.0
	for _, x := range row {
		variance += (x - mean) * (x - mean)
	}
	return mean, 1 / math.Sqrt(variance/float64(len(row))+epsilon)
}

// layerNorm computes y = gamma * (x - mean) / sqrt(variance + epsilon) + beta with the statistics of each row.
func layerNorm(m *Machine, op *graph.Op) error {
	x, gamma, beta, y := m.operand(op, 0), m.operand(op, 1), m.operand(op, 2), m.result(op, 0)
	c := len(gamma)
	for from := 0; from < len(x); from += c {
		mean, inverse := rowStatistics(x[from:from+c], op.Attr.Epsilon)
		for j := range c {
			y[from+j] = gamma[j]*(x[from+j]-mean)*inverse + beta[j]
		}
	}
	return nil
}

// layerNormBackward computes, with h = (x - mean) / sqrt(variance + epsilon) and means over the row,
//
//	dx = (dy*gamma - mean(dy*gamma) - h * mean(dy*gamma*h)) / sqrt(variance + epsilon)
//	dgamma = sum over rows of dy * h;  dbeta = sum over rows of dy
func layerNormBackward(m *Machine, op *graph.Op) error {
	dy, x, gamma := m.operand(op, 0), m.operand(op, 1), m.operand(op, 2)
	dx, dgamma, dbeta := m.result(op, 0), m.result(op, 1), m.result(op, 2)
	clear(dgamma)
	clear(dbeta)
	c := len(gamma)
	for from := 0; from < len(x); from += c {
		mean, inverse := rowStatistics(x[from:from+c], op.Attr.Epsilon)
		var sum, product float64
		for j := range c {
			h, g := (x[from+j]-mean)*inverse, dy[from+j]
			dgamma[j] += g * h
			dbeta[j] += g
			sum += g * gamma[j] / float64(c)
			product += g * gamma[j] * h / float64(c)
		}
		for j := range c {
			dx[from+j] = (dy[from+j]*gamma[j] - sum - (x[from+j]-mean)*inverse*product) * inverse
		}
	}
	return nil
}

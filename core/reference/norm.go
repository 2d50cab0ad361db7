package reference

import (
	"math"

	"github.com/localbench/localbench/core/graph"
)

// normStats computes the mean and the biased variance of each channel, and
// moves the running statistics, the variance by the unbiased one:
//
//	running = (1-momentum)*running + momentum*batch
func normStats(m *Machine, op *graph.Op) error {
	statistics{m.operand(op, 0), m.result(op, 0), m.result(op, 1), m.operand(op, 1), m.operand(op, 2)}.compute(op.Attr.Momentum)
	return nil
}

// statistics are the tensor x of norm_stats, its results, and the running statistics, nil if it updates none.
type statistics struct{ x, mean, variance, runningMean, runningVariance []float64 }

func (s statistics) compute(rate float64) {
	channels := len(s.mean)
	count := float64(len(s.x) / channels)
	clear(s.mean)
	clear(s.variance)
	for i := range s.x {
		s.mean[i%channels] += s.x[i] / count
	}
	for i := range s.x {
		d := s.x[i] - s.mean[i%channels]
		s.variance[i%channels] += d * d / count
	}
	if s.runningMean == nil {
		return
	}
	for c := range channels {
		s.runningMean[c] = (1-rate)*s.runningMean[c] + rate*s.mean[c]
		s.runningVariance[c] = (1-rate)*s.runningVariance[c] + rate*s.variance[c]*count/(count-1)
	}
}

// normApply computes
//
//	y = gamma * (x - mean) / sqrt(variance + epsilon) + beta [+ residual], followed by an activation
func normApply(m *Machine, op *graph.Op) error {
	x, residual, y := m.operand(op, 0), m.operand(op, 5), m.result(op, 0)
	n := normOf(m, op)
	for i := range y {
		y[i] = n.affine(i, x[i])
		if residual != nil {
			y[i] += residual[i]
		}
		y[i] = activate(op.Attr.Activation, y[i])
	}
	return nil
}

// normBackward computes the gradient of norm_apply, through the statistics of
// the batch as well. With g = dy [+ dy2] times the slope of the activation, h the
// normalised x and the means taken over a channel:
//
//	dgamma = sum g*h;  dbeta = sum g;  dresidual = g
//	dx = gamma / sqrt(variance + epsilon) * (g - mean(g) - h * mean(g*h))
//
// The slope is that at the result z; without z, at the normalised and scaled x.
func normBackward(m *Machine, op *graph.Op) error {
	x := m.operand(op, 1)
	dx, dgamma, dbeta := m.result(op, 0), m.result(op, 1), m.result(op, 2)
	n := normOf(m, op)
	g := normSums(m, op, n, dgamma, dbeta)
	channels := len(dgamma)
	count := float64(len(x) / channels)
	for i := range g {
		c := i % channels
		h := n.normalised(i, x[i])
		dx[i] = n.gamma[c] * n.inverse[c] * (g[i] - dbeta[c]/count - h*dgamma[c]/count)
	}
	return nil
}

// normSums computes the sums of norm_backward over a channel, and dresidual if it is a result, and returns g.
func normSums(m *Machine, op *graph.Op, n norm, dgamma, dbeta []float64) []float64 {
	x, g := m.operand(op, 1), normIncoming(m, op, n)
	if len(op.Results) == 4 {
		copy(m.result(op, 3), g)
		m.round(op.Results[3])
		g = m.result(op, 3)
	}
	n.sums(g, x, dgamma, dbeta)
	return g
}

// sums computes the sums of g times the normalised x, and of g, over each channel.
func (n norm) sums(g, x, dgamma, dbeta []float64) {
	clear(dgamma)
	clear(dbeta)
	for i := range g {
		dgamma[i%len(dgamma)] += g[i] * n.normalised(i, x[i])
		dbeta[i%len(dbeta)] += g[i]
	}
}

// normIncoming returns dy + dy2 times the slope of the activation.
func normIncoming(m *Machine, op *graph.Op, n norm) []float64 {
	dy, x, z, dy2 := m.operand(op, 0), m.operand(op, 1), m.operand(op, 6), m.operand(op, 7)
	g := make([]float64, len(dy))
	for i := range g {
		g[i] = dy[i]
		if dy2 != nil {
			g[i] += dy2[i]
		}
		at := n.affine(i, x[i])
		if z != nil {
			at = z[i]
		}
		if s := slope(op.Attr.Activation, at); s != 0 {
			g[i] *= s
		} else {
			g[i] = 0
		}
	}
	return g
}

// norm is the normalisation by channel that norm_apply and norm_backward share.
type norm struct {
	mean, gamma, beta []float64
	inverse           []float64 // 1 / sqrt(variance + epsilon)
}

// normOf reads the operands 1 to 4 of norm_apply, 2 to 5 of norm_backward and norm_backward_sums, and those of a convolution that
// normalises its input.
func normOf(m *Machine, op *graph.Op) norm {
	first, ok := op.Kind.NormInput()
	switch {
	case op.Kind == graph.KindNormBackward || op.Kind == graph.KindNormBackwardSums:
		first = 2
	case !ok:
		first = 1
	}
	variance := m.operand(op, first+1)
	n := norm{mean: m.operand(op, first), gamma: m.operand(op, first+2), beta: m.operand(op, first+3)}
	for _, v := range variance {
		n.inverse = append(n.inverse, 1/math.Sqrt(v+op.Attr.Epsilon))
	}
	return n
}

// normalised returns element i of the normalised x.
func (n norm) normalised(i int, x float64) float64 {
	c := i % len(n.mean)
	return (x - n.mean[c]) * n.inverse[c]
}

// affine returns element i of the normalised x, scaled and shifted.
func (n norm) affine(i int, x float64) float64 {
	c := i % len(n.mean)
	return n.gamma[c]*n.normalised(i, x) + n.beta[c]
}

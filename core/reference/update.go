package reference

import (
	"math"

	"github.com/localbench/localbench/core/graph"
)

// sgd updates w and v in place:
//
//	d = g + weightDecay*w;  v = momentum*v + d
//	w -= lr * (d + momentum*v)   with Nesterov, lr * v without
func sgd(m *Machine, op *graph.Op) error {
	w, g, v, rate := m.operand(op, 0), m.operand(op, 1), m.operand(op, 2), m.operand(op, 3)[0]
	a := op.Attr
	for i := range w {
		d := g[i] + a.WeightDecay*w[i]
		if v == nil {
			w[i] -= rate * d // without momentum
			continue
		}
		v[i] = a.Momentum*v[i] + d
		step := v[i]
		if a.Nesterov {
			step = d + a.Momentum*v[i]
		}
		w[i] -= rate * step
	}
	return nil
}

// adam updates w, m and v in place, with t the number of the step from 1:
//
//	w -= lr*weightDecay*w   if decoupled, else   d = g + weightDecay*w
//	m = beta1*m + (1-beta1)*d;  v = beta2*v + (1-beta2)*d*d
//	w -= lr/(1-beta1^t) * m / (sqrt(v)/sqrt(1-beta2^t) + epsilon)
func adam(m *Machine, op *graph.Op) error {
	w, g, mean, square, rate := m.operand(op, 0), m.operand(op, 1), m.operand(op, 2), m.operand(op, 3), m.operand(op, 4)[0]
	a, t := op.Attr, float64(uint32(int32(m.operand(op, 5)[2])))+1
	size, root := rate/(1-math.Pow(a.Beta1, t)), math.Sqrt(1-math.Pow(a.Beta2, t))
	for i := range w {
		d := g[i]
		if a.Decoupled {
			w[i] *= 1 - rate*a.WeightDecay
		} else {
			d += a.WeightDecay * w[i]
		}
		mean[i] = a.Beta1*mean[i] + (1-a.Beta1)*d
		square[i] = a.Beta2*square[i] + (1-a.Beta2)*d*d
		w[i] -= size * mean[i] / (math.Sqrt(square[i])/root + a.Epsilon)
	}
	return nil
}

// rmsprop updates w, v and, with momentum, the buffer in place:
//
//	d = g + weightDecay*w;  v = alpha*v + (1-alpha)*d*d;  step = d / (sqrt(v) + epsilon)
//	with momentum: buffer = momentum*buffer + step, which is the step
//	w -= lr * step
func rmsprop(m *Machine, op *graph.Op) error {
	w, g, v, rate, buffer := m.operand(op, 0), m.operand(op, 1), m.operand(op, 2), m.operand(op, 3)[0], m.operand(op, 4)
	a := op.Attr
	for i := range w {
		d := g[i] + a.WeightDecay*w[i]
		v[i] = a.Beta2*v[i] + (1-a.Beta2)*d*d
		step := d / (math.Sqrt(v[i]) + a.Epsilon)
		if buffer != nil {
			buffer[i] = a.Momentum*buffer[i] + step
			step = buffer[i]
		}
		w[i] -= rate * step
	}
	return nil
}

// adagrad updates w and the sum of squares in place:
//
//	d = g + weightDecay*w;  sum += d*d;  w -= lr * d / (sqrt(sum) + epsilon)
func adagrad(m *Machine, op *graph.Op) error {
	w, g, sum, rate := m.operand(op, 0), m.operand(op, 1), m.operand(op, 2), m.operand(op, 3)[0]
	for i := range w {
		d := g[i] + op.Attr.WeightDecay*w[i]
		sum[i] += d * d
		w[i] -= rate * d / (math.Sqrt(sum[i]) + op.Attr.Epsilon)
	}
	return nil
}

// average computes a = momentum*a + (1-momentum)*s in place.
func average(m *Machine, op *graph.Op) error {
	a, s := m.operand(op, 0), m.operand(op, 1)
	for i := range a {
		a[i] = op.Attr.Momentum*a[i] + (1-op.Attr.Momentum)*s[i]
	}
	return nil
}

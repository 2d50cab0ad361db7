package reference

import (
	"math"

	"github.com/localbench/localbench/core/graph"
)

// activate returns an activation of x.
func activate(a graph.Activation, x float64) float64 {
	switch a {
	case graph.ActivationReLU:
		return max(x, 0)
	case graph.ActivationReLU6:
		return min(max(x, 0), 6)
	case graph.ActivationSiLU:
		return x / (1 + math.Exp(-x))
	case graph.ActivationHardswish:
		return x * min(max(x+3, 0), 6) / 6
	case graph.ActivationHardsigmoid:
		return min(max(x+3, 0), 6) / 6
	case graph.ActivationSigmoid:
		return 1 / (1 + math.Exp(-x))
	case graph.ActivationGELU:
		return x * math.Erfc(-x/math.Sqrt2) / 2
	case graph.ActivationGELUTanh:
		return x * (1 + math.Tanh(geluInner(x))) / 2
	}
	return x
}

// geluInner is what the approximate GELU takes the tangent of.
func geluInner(x float64) float64 { return math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x) }

// slope returns the derivative of an activation from what its backward op reads: the operand x or, if it follows from that,
// the result (graph.Activation.FromResult); of one that rectifies either.
func slope(a graph.Activation, x float64) float64 {
	switch a {
	case graph.ActivationSiLU:
		s := 1 / (1 + math.Exp(-x))
		return s * (1 + x*(1-s))
	case graph.ActivationHardswish:
		if x <= -3 {
			return 0
		} else if x < 3 {
			return x/3 + 0.5
		}
		return 1
	case graph.ActivationHardsigmoid: // of the result
		if x > 0 && x < 1 {
			return 1.0 / 6
		}
		return 0
	case graph.ActivationSigmoid: // of the result
		return x * (1 - x)
	case graph.ActivationGELU:
		return math.Erfc(-x/math.Sqrt2)/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	case graph.ActivationGELUTanh:
		t := math.Tanh(geluInner(x))
		return (1+t)/2 + x/2*(1-t*t)*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)
	}
	if a.Rectifies() && !(x > 0) || a == graph.ActivationReLU6 && x >= 6 {
		return 0
	}
	return 1
}

// relu computes y = max(x, 0), or min(max(x, 0), 6); it also computes the activations of activate.
func relu(m *Machine, op *graph.Op) error { return each(m, op, op.Attr.Activation) }

// silu computes y = x / (1 + exp(-x)).
func silu(m *Machine, op *graph.Op) error { return each(m, op, graph.ActivationSiLU) }

// each computes an activation.
func each(m *Machine, op *graph.Op, a graph.Activation) error {
	x, y := m.operand(op, 0), m.result(op, 0)
	for i := range y {
		y[i] = activate(a, x[i])
	}
	return nil
}

// reluBackward computes dx = dy where y is above 0 and below the bound, else 0; of activate dx = dy * slope.
func reluBackward(m *Machine, op *graph.Op) error { return eachBackward(m, op, op.Attr.Activation) }

// siluBackward computes dx = dy * s * (1 + x*(1-s)), s = 1 / (1 + exp(-x)).
func siluBackward(m *Machine, op *graph.Op) error {
	return eachBackward(m, op, graph.ActivationSiLU)
}

// eachBackward computes the gradient of an activation from its operand or its result.
func eachBackward(m *Machine, op *graph.Op, a graph.Activation) error {
	dy, at, dx := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	for i := range dx {
		dx[i] = 0
		if s := slope(a, at[i]); s != 0 {
			dx[i] = dy[i] * s
		}
	}
	return nil
}

// add computes z = x + y.
func add(m *Machine, op *graph.Op) error {
	x, y, z := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	for i := range z {
		z[i] = x[i] + y[i]
	}
	return nil
}

// same copies: detach, and cast, whose result is rounded as every result is.
func same(m *Machine, op *graph.Op) error {
	copy(m.result(op, 0), m.operand(op, 0))
	return nil
}

// normalizeImage computes y = (x - mean[c]) / deviation[c].
func normalizeImage(m *Machine, op *graph.Op) error {
	x, y := m.operand(op, 0), m.result(op, 0)
	channels := int(op.Operands[0].Shape[3])
	for i := range y {
		c := i % channels
		y[i] = (x[i] - op.Attr.Mean[c]) / op.Attr.Deviation[c]
	}
	return nil
}

// augment pads the image into a larger one, and crops and mirrors that.
func augment(m *Machine, op *graph.Op) error {
	x, words, y := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	shape, pad := op.Operands[0].Shape, int(op.Attr.Padding[0])
	n, height, width, c := int(shape[0]), int(shape[1]), int(shape[2]), int(shape[3])
	across := width + 2*pad
	for i := range n {
		padded := make([]float64, (height+2*pad)*across*c)
		for row := range height + 2*pad {
			for column := range across {
				from, to := inside(row-pad, height, op.Attr.Reflect), inside(column-pad, width, op.Attr.Reflect)
				if from >= 0 && to >= 0 {
					copy(padded[(row*across+column)*c:][:c], x[((i*height+from)*width+to)*c:])
				}
			}
		}
		word := func(k int) uint32 { return uint32(int32(words[4*i+k])) }
		place := func(k int) int { return int(uint64(word(k)) * uint64(2*pad+1) >> 32) }
		for row := range height {
			for column := range width {
				from := column
				if op.Attr.Flip && word(2)>>31 == 1 {
					from = width - 1 - column
				}
				copy(y[((i*height+row)*width+column)*c:][:c], padded[((row+place(0))*across+from+place(1))*c:])
			}
		}
	}
	return nil
}

// inside is the place in an image of n of one on its padded axis; -1: the border is zero.
func inside(at, n int, reflect bool) int {
	switch {
	case at >= 0 && at < n:
		return at
	case !reflect:
		return -1
	case at < 0:
		return -at
	}
	return 2*(n-1) - at
}

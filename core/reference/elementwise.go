package reference

import "github.com/localbench/localbench/core/graph"

// relu computes y = max(x, 0).
func relu(m *Machine, op *graph.Op) error {
	x, y := m.operand(op, 0), m.result(op, 0)
	for i := range y {
		y[i] = max(x[i], 0)
	}
	return nil
}

// reluBackward computes dx = dy where y > 0, else 0.
func reluBackward(m *Machine, op *graph.Op) error {
	dy, y, dx := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	for i := range dx {
		dx[i] = 0
		if y[i] > 0 {
			dx[i] = dy[i]
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

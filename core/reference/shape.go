package reference

import "github.com/localbench/localbench/core/graph"

// index returns the coordinates of element i of a tensor of the given extents.
func index(shape graph.Shape, i int64) (at [4]int64) {
	for d := len(shape) - 1; d >= 0; d-- {
		at[d] = i % shape[d]
		i /= shape[d]
	}
	return at
}

// place is the inverse of index.
func place(shape graph.Shape, at [4]int64) (i int64) {
	for d, n := range shape {
		i = i*n + at[d]
	}
	return i
}

// concat joins its operands along an axis.
func concat(m *Machine, op *graph.Op) error {
	y, shape, axis, offset := m.result(op, 0), op.Results[0].Shape, op.Attr.Axis, int64(0)
	for i, v := range op.Operands {
		for k, x := range m.operand(op, i) {
			at := index(v.Shape, int64(k))
			at[axis] += offset
			y[place(shape, at)] = x
		}
		offset += v.Shape[axis]
	}
	return nil
}

// slice computes y[i] = x[i + offset along the axis] + sum[i].
func slice(m *Machine, op *graph.Op) error {
	x, sum, y := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	for i := range y {
		at := index(op.Results[0].Shape, int64(i))
		at[op.Attr.Axis] += op.Attr.Offset
		y[i] = x[place(op.Operands[0].Shape, at)]
		if sum != nil {
			y[i] += sum[i]
		}
	}
	return nil
}

// sliceBackward computes dx = sum, or zeros, and dy added to its slice.
func sliceBackward(m *Machine, op *graph.Op) error {
	dy, sum, dx := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	clear(dx)
	copy(dx, sum)
	for i, d := range dy {
		at := index(op.Operands[0].Shape, int64(i))
		at[op.Attr.Axis] += op.Attr.Offset
		dx[place(op.Results[0].Shape, at)] += d
	}
	return nil
}

// permute computes y[j] = x[i], where dimension d of j is dimension order[d] of i.
func permute(m *Machine, op *graph.Op) error {
	x, y, view := m.operand(op, 0), m.result(op, 0), op.Attr.View[:]
	var turned graph.Shape
	for _, from := range op.Attr.Order {
		turned = append(turned, view[from])
	}
	for i, element := range x {
		at := index(view, int64(i))
		var to [4]int64
		for d, from := range op.Attr.Order {
			to[d] = at[from]
		}
		y[place(turned, to)] = element
	}
	return nil
}

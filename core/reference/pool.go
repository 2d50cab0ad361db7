package reference

import (
	"fmt"
	"math"

	"github.com/localbench/localbench/core/graph"
)

// maxPool computes the maximum of every window and the place of the first
// maximum in the window, row by row; padding never wins.
func maxPool(m *Machine, op *graph.Op) error {
	x, y, index := m.operand(op, 0), m.result(op, 0), m.result(op, 1)
	newPoolGeometry(op, op.Operands[0].Shape).each(func(at int, w window) {
		y[at] = math.Inf(-1)
		found := false
		w.each(func(place, i int) {
			if !found || x[i] > y[at] {
				y[at], index[at], found = x[i], float64(place), true
			}
		})
	})
	return nil
}

// maxPoolBackward adds dy of every window to the element that was its maximum.
func maxPoolBackward(m *Machine, op *graph.Op) error {
	dy, index, dx := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	clear(dx)
	var err error
	newPoolGeometry(op, op.Results[0].Shape).each(func(at int, w window) {
		found := false
		w.each(func(place, i int) {
			if float64(place) == index[at] {
				dx[i] += dy[at]
				found = true
			}
		})
		if !found && err == nil {
			err = fmt.Errorf("index %g of element %d: outside of its window", index[at], at)
		}
	})
	return err
}

// averagePool computes the mean of every window, adaptive or not: the sum of
// its elements in the input over its divisor.
func averagePool(m *Machine, op *graph.Op) error {
	x, y := m.operand(op, 0), m.result(op, 0)
	newPoolGeometry(op, op.Operands[0].Shape).each(func(at int, w window) {
		y[at] = 0
		w.each(func(_, i int) { y[at] += x[i] / w.divisor })
	})
	return nil
}

// averagePoolBackward spreads dy of every window evenly over its elements.
func averagePoolBackward(m *Machine, op *graph.Op) error {
	dy, dx := m.operand(op, 0), m.result(op, 0)
	clear(dx)
	newPoolGeometry(op, op.Results[0].Shape).each(func(at int, w window) {
		w.each(func(_, i int) { dx[i] += dy[at] / w.divisor })
	})
	return nil
}

// poolGeometry is the windows of a pooling op.
type poolGeometry struct {
	x        [4]int // shape of the input
	a        graph.Attributes
	adaptive bool
}

func newPoolGeometry(op *graph.Op, x graph.Shape) poolGeometry {
	adaptive := op.Kind == graph.KindAdaptiveAveragePool || op.Kind == graph.KindAdaptiveAveragePoolBackward
	return poolGeometry{x: extents(x), a: op.Attr, adaptive: adaptive}
}

// span is the rows (or columns) of one window.
type span struct {
	begin, end int // as the window lies: may reach into the padding
	low, high  int // the part inside the input
	counted    int // rows that the divisor counts
}

// window is the elements of the input that one output element sees.
type window struct {
	rows, columns span
	base          int // place of x[n, 0, 0, c]
	width, step   int // columns of the input; distance of two of them
	divisor       float64
}

// each calls f for every window with the place of its output element.
func (g poolGeometry) each(f func(at int, w window)) {
	at := 0
	for n := range g.x[0] {
		for p := range int(g.a.Output[0]) {
			for q := range int(g.a.Output[1]) {
				rows, columns := g.span(0, p), g.span(1, q)
				for c := range g.x[3] {
					f(at, window{
						rows: rows, columns: columns,
						base:  n*g.x[1]*g.x[2]*g.x[3] + c,
						width: g.x[2], step: g.x[3],
						divisor: float64(rows.counted * columns.counted),
					})
					at++
				}
			}
		}
	}
}

// span returns window i of the vertical (0) or horizontal (1) direction. The
// divisor counts what lies in the input or, with CountPadding, in the padded
// input: a last window that hangs over the padding too is cut there.
func (g poolGeometry) span(direction, i int) span {
	size := g.x[1+direction]
	if g.adaptive {
		outputs := int(g.a.Output[direction])
		low, high := i*size/outputs, ((i+1)*size+outputs-1)/outputs
		return span{begin: low, end: high, low: low, high: high, counted: high - low}
	}
	padding := int(g.a.Padding[direction])
	s := span{begin: i*int(g.a.Stride[direction]) - padding}
	s.end = s.begin + int(g.a.Kernel[direction])
	s.low, s.high = max(s.begin, 0), min(s.end, size)
	s.counted = s.high - s.low
	if g.a.CountPadding {
		s.counted = min(s.end, size+padding) - s.begin
	}
	return s
}

// each calls f for every element of the window that lies in the input, with its
// place in the window, row by row, and its place in the input.
func (w window) each(f func(place, i int)) {
	for r := w.rows.low; r < w.rows.high; r++ {
		for s := w.columns.low; s < w.columns.high; s++ {
			place := (r-w.rows.begin)*(w.columns.end-w.columns.begin) + s - w.columns.begin
			f(place, w.base+(r*w.width+s)*w.step)
		}
	}
}

package reference

import "github.com/localbench/localbench/core/graph"

// conv computes
//
//	y[n,p,q,o] = bias[o] + sum over r,s,i of x[n, p*stride-pad+r*dilation, q*stride-pad+s*dilation, i] * w[o,r,s,i]
func conv(m *Machine, op *graph.Op) error {
	x, w, bias, y := m.convInput(op), m.operand(op, 1), m.operand(op, 2), m.result(op, 0)
	g := newConvGeometry(op.Attr, op.Operands[0].Shape, op.Operands[1].Shape, op.Results[0].Shape)
	clear(y)
	for i := range y {
		if bias != nil {
			y[i] = bias[i%g.outputs]
		}
	}
	g.each(func(atX, atY, atW, inputs int) {
		xs, ws := x[atX:atX+inputs], w[atW:atW+inputs]
		sum := 0.0
		for i := range xs {
			sum += xs[i] * ws[i]
		}
		y[atY] += sum
	})
	if op.ComputesStatistics() {
		m.round(op.Results[0])
		statistics{y, m.result(op, 1), m.result(op, 2), m.operand(op, graph.ConvRunning), m.operand(op, graph.ConvRunning+1)}.
			compute(op.Attr.Momentum)
	}
	return nil
}

// convInput returns the input of a convolution, normalised if the op says so.
func (m *Machine) convInput(op *graph.Op) []float64 {
	x := m.operand(op, 0)
	if !op.NormalisesInput() {
		return x
	}
	n, out := normOf(m, op), make([]float64, len(x))
	for i := range x {
		out[i] = activate(op.Attr.Activation, n.affine(i, x[i]))
	}
	roundTo(op.Operands[0].Type, out)
	return out
}

// convBackwardData sends every product of conv back to x: dx += dy * w.
func convBackwardData(m *Machine, op *graph.Op) error {
	g := newConvGeometry(op.Attr, op.Results[0].Shape, op.Operands[1].Shape, op.Operands[0].Shape)
	g.backwardData(m.result(op, 0), m.operand(op, 0), m.operand(op, 1))
	return nil
}

func (g convGeometry) backwardData(dx, dy, w []float64) {
	clear(dx)
	g.each(func(atX, atY, atW, inputs int) {
		dxs, ws := dx[atX:atX+inputs], w[atW:atW+inputs]
		for i := range dxs {
			dxs[i] += dy[atY] * ws[i]
		}
	})
}

// convBackwardWeights sends every product of conv back to w: dw += dy * x. The
// bias gradient is the sum of dy over all positions.
func convBackwardWeights(m *Machine, op *graph.Op) error {
	x, dy, dw := m.convInput(op), m.operand(op, 1), m.result(op, 0)
	newConvGeometry(op.Attr, op.Operands[0].Shape, op.Results[0].Shape, op.Operands[1].Shape).backwardWeights(dw, dy, x)
	if op.Attr.Bias {
		sumRows(m.result(op, 1), dy)
	}
	return nil
}

func (g convGeometry) backwardWeights(dw, dy, x []float64) {
	clear(dw)
	g.each(func(atX, atY, atW, inputs int) {
		xs, dws := x[atX:atX+inputs], dw[atW:atW+inputs]
		for i := range xs {
			dws[i] += dy[atY] * xs[i]
		}
	})
}

// sumRows sets sum[c] to the sum of column c of a matrix with rows as long as
// sum: the gradient of a bias.
func sumRows(sum, matrix []float64) {
	clear(sum)
	for i, v := range matrix {
		sum[i%len(sum)] += v
	}
}

// convGeometry is the places of a convolution's products.
type convGeometry struct {
	x, w, y  [4]int // shapes: [N H W C], [O R S C/groups], [N P Q O]
	stride   [2]int
	padding  [2]int
	dilation [2]int
	outputs  int // O
	groups   int
}

func newConvGeometry(a graph.Attributes, x, w, y graph.Shape) convGeometry {
	return convGeometry{
		x: extents(x), w: extents(w), y: extents(y),
		stride:   [2]int{int(a.Stride[0]), int(a.Stride[1])},
		padding:  [2]int{int(a.Padding[0]), int(a.Padding[1])},
		dilation: [2]int{int(a.Spacing(0)), int(a.Spacing(1))},
		outputs:  int(w[0]), groups: int(a.Groups),
	}
}

// each calls product for every output element and every tap of its window that
// lies in the input, with the places in x, y and w and the number of channels
// that follow at x and w. Taps in the padding are skipped: they are zero.
func (g convGeometry) each(product func(atX, atY, atW, inputs int)) {
	inputs, perGroup := g.w[3], g.outputs/g.groups
	for n := range g.y[0] {
		for p := range g.y[1] {
			top := p*g.stride[0] - g.padding[0]
			for q := range g.y[2] {
				left := q*g.stride[1] - g.padding[1]
				for r := range g.w[1] {
					for s := range g.w[2] {
						row, column := top+r*g.dilation[0], left+s*g.dilation[1]
						if row < 0 || row >= g.x[1] || column < 0 || column >= g.x[2] {
							continue
						}
						atX := ((n*g.x[1]+row)*g.x[2] + column) * g.x[3]
						atY := ((n*g.y[1]+p)*g.y[2] + q) * g.outputs
						for o := range g.outputs {
							atW := ((o*g.w[1]+r)*g.w[2] + s) * inputs
							product(atX+o/perGroup*inputs, atY+o, atW, inputs)
						}
					}
				}
			}
		}
	}
}

// extents returns the four extents of s as ints.
func extents(s graph.Shape) [4]int {
	return [4]int{int(s[0]), int(s[1]), int(s[2]), int(s[3])}
}

package reference

import "github.com/localbench/localbench/core/graph"

// upsample interpolates between the four neighbours of each result element:
//
//	y[n,i,j,c] = sum over rows r, columns s of (1-|v-r|)+ (1-|h-s|)+ x[n,r,s,c]
//
// with v = i*(H-1)/(P-1) and h = j*(W-1)/(Q-1), 0 where P or Q is 1.
func upsample(m *Machine, op *graph.Op) error {
	x, y := m.operand(op, 0), m.result(op, 0)
	clear(y)
	eachNeighbour(extents(op.Operands[0].Shape), extents(op.Results[0].Shape), func(from, to int, weight float64) {
		y[to] += weight * x[from]
	})
	return nil
}

// upsampleBackward is its transpose.
func upsampleBackward(m *Machine, op *graph.Op) error {
	dy, dx := m.operand(op, 0), m.result(op, 0)
	clear(dx)
	eachNeighbour(extents(op.Results[0].Shape), extents(op.Operands[0].Shape), func(from, to int, weight float64) {
		dx[from] += weight * dy[to]
	})
	return nil
}

// eachNeighbour calls f for every pair of elements of x and y that has a weight.
func eachNeighbour(x, y [4]int, f func(from, to int, weight float64)) {
	weight := func(i, r, in, out int) float64 {
		at := 0.0
		if out > 1 {
			at = float64(i) * float64(in-1) / float64(out-1)
		}
		return max(0, 1-max(at-float64(r), float64(r)-at))
	}
	for n := range x[0] {
		for i := range y[1] {
			for j := range y[2] {
				for r := range x[1] {
					for s := range x[2] {
						w := weight(i, r, x[1], y[1]) * weight(j, s, x[2], y[2])
						if w == 0 {
							continue
						}
						for c := range x[3] {
							f(((n*x[1]+r)*x[2]+s)*x[3]+c, ((n*y[1]+i)*y[2]+j)*y[3]+c, w)
						}
					}
				}
			}
		}
	}
}

package reference

import (
	"math"

	"github.com/localbench/localbench/core/graph"
)

// deviation computes y[n,c] = sqrt(sum over positions of (x - mean)^2 / (HW-1)).
func deviation(m *Machine, op *graph.Op) error {
	x, y := m.operand(op, 0), m.result(op, 0)
	eachMap(extents(op.Operands[0].Shape), func(at int, places []int) {
		mean, square := meanOf(x, places), 0.0
		for _, i := range places {
			square += (x[i] - mean) * (x[i] - mean)
		}
		y[at] = math.Sqrt(square / float64(len(places)-1))
	})
	return nil
}

// deviationBackward computes dx = dy * (x - mean) / ((HW-1) * y), 0 where y is 0.
func deviationBackward(m *Machine, op *graph.Op) error {
	dy, x, y, dx := m.operand(op, 0), m.operand(op, 1), m.operand(op, 2), m.result(op, 0)
	eachMap(extents(op.Operands[1].Shape), func(at int, places []int) {
		mean := meanOf(x, places)
		for _, i := range places {
			dx[i] = 0
			if y[at] != 0 {
				dx[i] = dy[at] * (x[i] - mean) / (float64(len(places)-1) * y[at])
			}
		}
	})
	return nil
}

// eachMap calls f for every sample and channel with the places of its map.
func eachMap(x [4]int, f func(at int, places []int)) {
	places := make([]int, x[1]*x[2])
	for n := range x[0] {
		for c := range x[3] {
			for p := range places {
				places[p] = (n*len(places)+p)*x[3] + c
			}
			f(n*x[3]+c, places)
		}
	}
}

func meanOf(x []float64, places []int) float64 {
	sum := 0.0
	for _, i := range places {
		sum += x[i]
	}
	return sum / float64(len(places))
}

// similarity computes the mean over all pairs of (S - T)^2.
func similarity(m *Machine, op *graph.Op) error {
	s, t, _, err := similarities(m, op)
	if err != nil {
		return err
	}
	loss := m.result(op, 0)
	loss[0] = 0
	for i := range s {
		for j := range s {
			d := clamp(s[i][j]) - t[i][j]
			loss[0] += d * d / float64(len(s)*len(s))
		}
	}
	return nil
}

// similarityBackward goes back through the difference, the clamp, the product,
// the norm and the centring, in that order.
func similarityBackward(m *Machine, op *graph.Op) error {
	s, t, x, err := similarities(m, op)
	if err != nil {
		return err
	}
	ds := zeros(len(s), len(s))
	for i := range s {
		for j := range s {
			if math.Abs(s[i][j]) <= 1 {
				ds[i][j] = op.Attr.Scale * 2 * (s[i][j] - t[i][j]) / float64(len(s)*len(s))
			}
		}
	}
	out := m.result(op, 0)
	for i, du := range gradientOfProducts(ds, unit(x, graph.SimilarityEpsilon)) {
		c, n := centred(x[i])
		inner, mean := 0.0, 0.0
		for k := range c {
			inner += c[k] * du[k]
		}
		for k := range c {
			below := n + graph.SimilarityEpsilon
			du[k] /= below
			if n > 0 {
				du[k] -= c[k] * inner / (n * below * below)
			}
			mean += du[k] / float64(len(c))
		}
		for k := range c {
			out[i*len(c)+k] = du[k] - mean
		}
	}
	return nil
}

// similarities returns the products of the features' rows, not clamped, those
// of the one-hot labels, clamped, and the features.
func similarities(m *Machine, op *graph.Op) (s, t, x [][]float64, err error) {
	labels := m.operand(op, 1)
	x = rowsOf(m.operand(op, 0), len(labels))
	hot := zeros(len(labels), int(op.Attr.Classes))
	for n := range labels {
		label, err := labelOf(labels, n, len(hot[n]))
		if err != nil {
			return nil, nil, nil, err
		}
		hot[n][label] = 1
	}
	t = products(unit(hot, graph.SimilarityEpsilon))
	for i := range t {
		for j := range t {
			t[i][j] = clamp(t[i][j])
		}
	}
	return products(unit(x, graph.SimilarityEpsilon)), t, x, nil
}

func clamp(x float64) float64 { return min(max(x, -1), 1) }

// unit returns the rows centred and divided by epsilon + their norm.
func unit(x [][]float64, epsilon float64) [][]float64 {
	out := make([][]float64, len(x))
	for i := range x {
		c, n := centred(x[i])
		for k := range c {
			c[k] /= epsilon + n
		}
		out[i] = c
	}
	return out
}

// centred returns a row less its mean, and the norm of that.
func centred(row []float64) (c []float64, norm float64) {
	mean := 0.0
	for _, x := range row {
		mean += x / float64(len(row))
	}
	for _, x := range row {
		c = append(c, x-mean)
	}
	return c, lengthOf(c)
}

func lengthOf(row []float64) float64 {
	square := 0.0
	for _, x := range row {
		square += x * x
	}
	return math.Sqrt(square)
}

// products returns the inner product of every pair of rows.
func products(x [][]float64) [][]float64 {
	out := zeros(len(x), len(x))
	for i := range x {
		for j := range x {
			for k := range x[i] {
				out[i][j] += x[i][k] * x[j][k]
			}
		}
	}
	return out
}

// gradientOfProducts returns the gradient of the rows u of products(u).
func gradientOfProducts(ds, u [][]float64) [][]float64 {
	du := zeros(len(u), len(u[0]))
	for i := range u {
		for j := range u {
			for k := range u[i] {
				du[i][k] += (ds[i][j] + ds[j][i]) * u[j][k]
			}
		}
	}
	return du
}

func zeros(rows, columns int) [][]float64 {
	out := make([][]float64, rows)
	for i := range out {
		out[i] = make([]float64, columns)
	}
	return out
}

func rowsOf(x []float64, rows int) [][]float64 {
	out := make([][]float64, rows)
	for i := range out {
		out[i] = x[i*len(x)/rows : (i+1)*len(x)/rows]
	}
	return out
}

// normFloor keeps a row of zeros from being divided by zero.
const normFloor = 1e-12

// contrast computes the supervised contrastive loss and the logarithms that
// its backward op reads.
func contrast(m *Machine, op *graph.Op) error {
	s, logSum, positives, _ := contrasts(m, op)
	loss := m.result(op, 0)
	loss[0] = 0
	for i, own := range positives {
		for _, j := range own {
			loss[0] += (logSum[i] - s[i][j]) / float64(len(own)*len(s))
		}
	}
	copy(m.result(op, 1), logSum)
	return nil
}

func contrastBackward(m *Machine, op *graph.Op) error {
	s, _, positives, f := contrasts(m, op)
	logSum := m.operand(op, 2)
	ds := zeros(len(s), len(s))
	for i, own := range positives {
		if len(own) == 0 {
			continue
		}
		for j := range s {
			if j != i {
				ds[i][j] = math.Exp(s[i][j] - logSum[i])
			}
		}
		for _, j := range own {
			ds[i][j] -= 1 / float64(len(own))
		}
		for j := range s {
			ds[i][j] *= op.Attr.Scale / (float64(len(s)) * op.Attr.Temperature)
		}
	}
	x, out := rowsOf(m.operand(op, 0), len(s)), m.result(op, 0)
	for i, df := range gradientOfProducts(ds, f) {
		inner := 0.0
		for k := range df {
			inner += f[i][k] * df[k]
		}
		for k := range df {
			out[i*len(df)+k] = (df[k] - f[i][k]*inner) / max(lengthOf(x[i]), normFloor)
		}
	}
	return nil
}

// contrasts returns the products of the normalised rows over the temperature,
// for each row the logarithm of the sum of their exponentials but its own, the
// other samples of its class, and the normalised rows.
func contrasts(m *Machine, op *graph.Op) (s [][]float64, logSum []float64, positives [][]int, f [][]float64) {
	labels := m.operand(op, 1)
	for _, row := range rowsOf(m.operand(op, 0), len(labels)) {
		n := max(lengthOf(row), normFloor)
		var unit []float64
		for _, x := range row {
			unit = append(unit, x/n)
		}
		f = append(f, unit)
	}
	s = products(f)
	logSum, positives = make([]float64, len(s)), make([][]int, len(s))
	for i := range s {
		sum, largest := 0.0, math.Inf(-1)
		for j := range s {
			if s[i][j] /= op.Attr.Temperature; j != i {
				largest = max(largest, s[i][j])
				if labels[j] == labels[i] {
					positives[i] = append(positives[i], j)
				}
			}
		}
		for j := range s {
			if j != i {
				sum += math.Exp(s[i][j] - largest)
			}
		}
		if len(s) > 1 { // the loss of a single sample is zero
			logSum[i] = largest + math.Log(sum)
		}
	}
	return s, logSum, positives, f
}

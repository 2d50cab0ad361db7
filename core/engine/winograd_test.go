package engine_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
	"github.com/localbench/localbench/core/plan"
	"github.com/localbench/localbench/core/reference"
	"github.com/localbench/localbench/core/rng"
)

// TestWinogradRounding: gradients of weights of 128 channels from two tiles, by F(4x4, 3x3), differ from the reference by more
// than the op table allows (up to 1.3 times, a few of 147,456 elements, with ReLU6, ReLU and without an activation). It is
// rounding. The algorithm in float64 agrees with the reference, so neither the transforms nor the mask of the activation are
// at fault, and in float32, in plain Go, it errs as much as the kernel. What the table's tolerance lacks is that what is added
// differs in size: roundings are of about u = 2^-24 of each term, so an element errs by a few u times the square root of the sum
// of the squares of its terms. The largest of 1.3 million elements errs by 8.6 of these in plain Go; the limit is 12.
func TestWinogradRounding(t *testing.T) {
	enginetest.NeedsCPU(t)
	d := enginetest.Open(t, "cpu", engine.Options{Threads: 1, PlanBook: "winograd F(4x4, 3x3)"})
	if d.Facts()["isa"] == "default" {
		t.Skip("the processor has no such kernel, and it was not tested")
	}
	for _, c := range optest.FewTiles() {
		t.Run(c.String(), func(t *testing.T) {
			for seed := range uint64(3) {
				testWinogradRounding(t, d, c, seed+1)
			}
		})
	}
}

func testWinogradRounding(t *testing.T, d engine.Device, c optest.Case, seed uint64) {
	g, err := c.Graph()
	if err != nil {
		t.Fatal(err)
	}
	p, m := runBoth(t, d, g, plan.Options{}, c.Values(g, seed))
	if kernel := p.Kernels()[0]; !strings.HasPrefix(kernel, "winograd F(4x4, 3x3)") {
		t.Fatalf("kernel %s runs", kernel)
	}
	op := c.Op(g)
	result := op.Results[0]
	want, got := m.Get(result), read(t, p, result)
	x, dy := normalised(op, m), m.Get(op.Operands[1])
	shape := [5]int{int(op.Operands[0].Shape[0]), int(op.Operands[0].Shape[1]), int(op.Operands[0].Shape[2]),
		int(op.Operands[0].Shape[3]), int(op.Operands[1].Shape[3])}
	exact := winogradWeights[float64](x, dy, shape)
	single := winogradWeights[float32](x, dy, shape)
	squares := winogradSquares(x, dy, shape)
	scale := 0.0
	for _, w := range want {
		scale += w * w / float64(len(want))
	}
	const most = 12
	var kernel, plain rounding
	for i, w := range want {
		of := 0x1p-24 * math.Sqrt(squares[i])
		kernel.add(float64(got[i])-w, of)
		plain.add(single[i]-w, of)
		if off := math.Abs(exact[i]-w) / math.Sqrt(scale); off > 1e-13 {
			t.Fatalf("seed %d, element %d: the algorithm in float64 gives %g, want %g", seed, i, exact[i], w)
		}
	}
	text := fmt.Sprintf("seed %d: the kernel errs by up to %.2f, root mean square %.3f, plain Go by up to %.2f, %.3f", seed,
		kernel.most, kernel.mean(), plain.most, plain.mean())
	if t.Log(text); kernel.most > most || plain.most > most || kernel.mean() > 1.1*plain.mean() {
		t.Errorf("%s: want at most %d, and a root mean square as in Go", text, most)
	}
}

// rounding collects errors in units of what is expected of an element.
type rounding struct{ most, squares, n float64 }

func (r *rounding) add(off, of float64) {
	r.most, r.squares, r.n = max(r.most, math.Abs(off)/of), r.squares+off*off/(of*of), r.n+1
}

// mean is the root mean square.
func (r *rounding) mean() float64 { return math.Sqrt(r.squares / r.n) }

// normalised is the input of a gradient of weights, normalised in double precision if the op does that.
func normalised(op *graph.Op, m *reference.Machine) []float64 {
	x := m.Get(op.Operands[0])
	if !op.NormalisesInput() {
		return x
	}
	mean, variance, gamma, beta := m.Get(op.Operands[2]), m.Get(op.Operands[3]), m.Get(op.Operands[4]), m.Get(op.Operands[5])
	y := make([]float64, len(x))
	for i, v := range x {
		c := i % len(mean)
		y[i] = gamma[c]*(v-mean[c])/math.Sqrt(variance[c]+op.Attr.Epsilon) + beta[c]
		if op.Attr.Activation.Rectifies() {
			y[i] = max(y[i], 0)
		}
		if op.Attr.Activation == graph.ActivationReLU6 {
			y[i] = min(y[i], 6)
		}
	}
	return y
}

// The matrices of F(4x4, 3x3) with the points 0, +-2/3, +-3/2 and infinity (native/winograd4.cc): a tile d of 6x6 elements of x
// and a tile e of 4x4 elements of dy give Gt ((A e At) * (Bt d B)) G, summed over the tiles.
var (
	winogradBt = [6][6]float64{{1, 0, -97. / 36, 0, 1, 0}, {0, -3. / 2, -9. / 4, 2. / 3, 1, 0}, {0, 3. / 2, -9. / 4, -2. / 3, 1, 0},
		{0, -2. / 3, -4. / 9, 3. / 2, 1, 0}, {0, 2. / 3, -4. / 9, -3. / 2, 1, 0}, {0, 1, 0, -97. / 36, 0, 1}}
	winogradA = [6][4]float64{{1, 0, 0, 0}, {1, 2. / 3, 4. / 9, 8. / 27}, {1, -2. / 3, 4. / 9, -8. / 27},
		{1, 3. / 2, 9. / 4, 27. / 8}, {1, -3. / 2, 9. / 4, -27. / 8}, {0, 0, 0, 1}}
	winogradG = func() (g [6][3]float64) {
		const near, far = 1 / (2 * 4. / 9 * (4./9 - 9./4)), 1 / (2 * 9. / 4 * (9./4 - 4./9))
		g[0], g[5] = [3]float64{1, 0, 0}, [3]float64{0, 0, 1}
		for i, p := range []float64{2. / 3, -2. / 3} {
			g[1+i] = [3]float64{near, near * p, near * p * p}
		}
		for i, p := range []float64{3. / 2, -3. / 2} {
			g[3+i] = [3]float64{far, far * p, far * p * p}
		}
		return g
	}()
)

// sandwich is l d r, with the transposed of r, each operation rounded to T: l is [a b], d [b b], and the result [a a].
func sandwich[T float32 | float64](l [][]float64, d [][]T) [][]T {
	half := make([][]T, len(l))
	for i, row := range l {
		half[i] = make([]T, len(d[0]))
		for j := range half[i] {
			for k, x := range row {
				half[i][j] += T(T(x) * d[k][j])
			}
		}
	}
	out := make([][]T, len(l))
	for i := range out {
		out[i] = make([]T, len(l))
		for j, row := range l {
			for k, x := range row {
				out[i][j] += T(T(x) * half[i][k])
			}
		}
	}
	return out
}

// rows are those of a matrix, or with transposed its columns.
func rows[R [3]float64 | [4]float64 | [6]float64](m [6]R, transposed bool) (out [][]float64) {
	for _, r := range m {
		switch r := any(r).(type) {
		case [3]float64:
			out = append(out, r[:])
		case [4]float64:
			out = append(out, r[:])
		case [6]float64:
			out = append(out, r[:])
		}
	}
	if !transposed {
		return out
	}
	turned := make([][]float64, len(out[0]))
	for i := range turned {
		for _, r := range out {
			turned[i] = append(turned[i], r[i])
		}
	}
	return turned
}

// tile is the elements of image n of a tensor [n h w c] from row y and column x on, zeros outside of the image.
func tile[T float32 | float64](v []float64, s [5]int, channels, c, n, y, x, side int) [][]T {
	out := make([][]T, side)
	for i := range out {
		out[i] = make([]T, side)
		for j := range out[i] {
			if r, q := y+i, x+j; r >= 0 && r < s[1] && q >= 0 && q < s[2] {
				out[i][j] = T(v[((n*s[1]+r)*s[2]+q)*channels+c])
			}
		}
	}
	return out
}

// winogradSums are the gradients of weights [o 3 3 c] by F(4x4, 3x3) of x [n h w c] and dy [n h w o], padding 1, with these
// transforms; s is n, h, w, c and o.
func winogradSums[T float32 | float64](x, dy []float64, s [5]int, bt, a, gt [][]float64) []float64 {
	c, o := s[3], s[4]
	sums := make([][][]T, o*c)
	for i := range sums {
		sums[i] = make([][]T, 6)
		for j := range sums[i] {
			sums[i][j] = make([]T, 6)
		}
	}
	for n := range s[0] {
		for y := 0; y < s[1]; y += 4 {
			for q := 0; q < s[2]; q += 4 {
				var ofX, ofDy [][][]T
				for k := range c {
					ofX = append(ofX, sandwich(bt, tile[T](x, s, c, k, n, y-1, q-1, 6)))
				}
				for k := range o {
					ofDy = append(ofDy, sandwich(a, tile[T](dy, s, o, k, n, y, q, 4)))
				}
				for i := range sums {
					for j := range 6 {
						for k := range 6 {
							sums[i][j][k] += T(ofDy[i/c][j][k] * ofX[i%c][j][k])
						}
					}
				}
			}
		}
	}
	out := make([]float64, o*9*c)
	for i := range sums {
		w := sandwich(gt, sums[i])
		for r := range 3 {
			for q := range 3 {
				out[((i/c*3+r)*3+q)*c+i%c] = float64(w[r][q])
			}
		}
	}
	return out
}

func winogradWeights[T float32 | float64](x, dy []float64, s [5]int) []float64 {
	return winogradSums[T](x, dy, s, rows(winogradBt, false), rows(winogradA, false), rows(winogradG, true))
}

// winogradSquares are, by element, the sums of squares of all that is added for it.
func winogradSquares(x, dy []float64, s [5]int) []float64 {
	squared := func(m [][]float64) [][]float64 {
		out := make([][]float64, len(m))
		for i, r := range m {
			for _, v := range r {
				out[i] = append(out[i], v*v)
			}
		}
		return out
	}
	square := func(v []float64) []float64 {
		out := make([]float64, len(v))
		for i, e := range v {
			out[i] = e * e
		}
		return out
	}
	return winogradSums[float64](square(x), square(dy), s, squared(rows(winogradBt, false)), squared(rows(winogradA, false)),
		squared(rows(winogradG, true)))
}

// roundBF16 is x rounded to bf16.
func roundBF16(x float64) float64 { return float64(graph.FromBF16(graph.BF16(float32(x)))) }

// TestWinogradProductsInBF16 is how far results err if transformed operands are rounded to bf16, for instructions that multiply
// it, relative to the results: by the products of F(4x4, 3x3) about 1.1 %, so that kernel multiplies f32; by those of F(4, 3)
// along rows less than 0.5 %, three times as much as by the rounding of a result. Normal numbers, 64 channels; without that
// rounding the algorithms give the direct convolution.
func TestWinogradProductsInBF16(t *testing.T) {
	const channels, tiles = 64, 40
	stream, at := rng.Stream{Seed: 1, Purpose: rng.PurposeGolden}, uint64(0)
	random := func(side int) [][]float64 {
		m := make([][]float64, side)
		for i := range m {
			for range side {
				m[i], at = append(m[i], roundBF16(stream.Normal(at))), at+1
			}
		}
		return m
	}
	bt, g, at4 := rows(winogradBt, false), rows(winogradG, false), rows(winogradA, true)
	filters := make([][][]float64, channels)
	for c := range filters {
		filters[c] = random(3)
	}
	sum := func() [][]float64 {
		m := make([][]float64, 6)
		for i := range m {
			m[i] = make([]float64, 6)
		}
		return m
	}
	var size, exact, products, inRows, result float64
	for range tiles {
		m, rounded, direct, lines := sum(), sum(), [4][4]float64{}, [4][4]float64{}
		for _, w := range filters {
			x := random(6)
			u, v := sandwich(g, w), sandwich(bt, x)
			for i := range 6 {
				for j := range 6 {
					m[i][j] += u[i][j] * v[i][j]
					rounded[i][j] += roundBF16(u[i][j]) * roundBF16(v[i][j])
				}
			}
			for i := range 16 {
				for k := range 9 {
					direct[i/4][i%4] += x[i/4+k/3][i%4+k%3] * w[k/3][k%3]
				}
				for r := range 3 {
					u, v := times(g, w[r]), times(bt, x[i/4+r])
					for p := range u {
						lines[i/4][i%4] += at4[i%4][p] * roundBF16(u[p]) * roundBF16(v[p])
					}
				}
			}
		}
		y, z := sandwich(at4, m), sandwich(at4, rounded)
		for i := range 16 {
			want := direct[i/4][i%4]
			size += want * want
			exact += math.Pow(y[i/4][i%4]-want, 2)
			products += math.Pow(z[i/4][i%4]-want, 2)
			inRows += math.Pow(lines[i/4][i%4]-want, 2)
			result += math.Pow(roundBF16(want)-want, 2)
		}
	}
	relative := func(squares float64) float64 { return math.Sqrt(squares / size) }
	t.Logf("root mean squares, relative: the algorithm %.1g; with products in bf16 F(4x4, 3x3) %.2g, F(4, 3) %.2g; a result in "+
		"bf16 %.2g", relative(exact), relative(products), relative(inRows), relative(result))
	if relative(exact) > 1e-13 {
		t.Errorf("the algorithm in float64 errs by %g", relative(exact))
	}
	if relative(products) < 4*relative(result) {
		t.Errorf("products of F(4x4, 3x3) in bf16 err by %g, a result in bf16 by %g: they may be used", relative(products),
			relative(result))
	}
	if relative(inRows) > rowsRoundoff || relative(inRows) < rowsRoundoff/2 {
		t.Errorf("products of F(4, 3) in bf16 err by %g, want at most %g and not much less", relative(inRows), rowsRoundoff)
	}
}

// times is a matrix times a vector.
func times(m [][]float64, v []float64) []float64 {
	out := make([]float64, len(m))
	for i, row := range m {
		for j, x := range row {
			out[i] += x * v[j]
		}
	}
	return out
}

// TestWinogradRowsRounding compares the kernel F(4, 3) with the algorithm in float64 that rounds transformed operands to bf16,
// within one and a half times the tolerance of the op table: an operand close to a tie may be rounded to the other neighbour.
// TestParityOfConvolutions, where that rounding is an error, has to allow more.
func TestWinogradRowsRounding(t *testing.T) {
	enginetest.NeedsCPU(t)
	d := enginetest.Open(t, "cpu", engine.Options{Threads: 2, PlanBook: rowsKernel})
	if d.Facts()["isa"] == "default" {
		t.Skip("the processor has no such kernel, and it was not tested")
	}
	served := map[graph.Kind]int{}
	for _, c := range append(optest.Cases(), optest.ManyChannels()...) {
		if c.Element != graph.TypeBF16 || c.Kind != graph.KindConv && c.Kind != graph.KindConvBackwardData &&
			c.Kind != graph.KindConvBackwardWeights || !serves(t, d, rowsKernel, c) {
			continue
		}
		served[c.Kind]++
		t.Run(c.String(), func(t *testing.T) {
			g, err := c.Graph()
			if err != nil {
				t.Fatal(err)
			}
			p, m := runBoth(t, d, g, plan.Options{}, c.Values(g, 1))
			op := c.Op(g)
			result := op.Results[0]
			want := rowsResult(op, m)
			if err := optest.Compare(read(t, p, result), want, 1.5*optest.Tolerance(op, result)); err != nil {
				t.Error(err)
			}
		})
	}
	if len(served) != 3 {
		t.Errorf("the kernel computes cases of the kinds %v, want all three", served)
	}
}

// rowsResult is the first result of a 3x3 convolution of stride 1 and padding 1, or of a gradient of it, by F(4, 3) along rows.
func rowsResult(op *graph.Op, m *reference.Machine) []float64 {
	first, second := m.Get(op.Operands[0]), m.Get(op.Operands[1])
	of := op.Operands[0].Shape
	n, h, w := int(of[0]), int(of[1]), int(of[2])
	in, out := int(of[3]), int(op.Results[0].Shape[3])
	if op.Kind == graph.KindConvBackwardWeights {
		return rowsWeights(first, second, n, h, w, in, int(op.Operands[1].Shape[3]))
	}
	filter := func(o, r, s, i int) float64 { return second[((o*3+r)*3+s)*in+i] }
	if op.Kind == graph.KindConvBackwardData { // in: channels of dy
		filter = func(o, r, s, i int) float64 { return second[((i*3+2-r)*3+2-s)*out+o] }
	}
	y := rowsConv(first, filter, n, h, w, in, out)
	if op.Kind == graph.KindConv && op.Operands[2] != nil {
		for i, b := range m.Get(op.Operands[2]) {
			for ; i < len(y); i += out {
				y[i] += b
			}
		}
	}
	return y
}

// pixels are count elements of channel c of a row from column x on, zeros outside of the image of the row.
func pixels(v []float64, image, y, x, count, h, w, channels, c int) []float64 {
	out := make([]float64, count)
	for i := range out {
		if y >= 0 && y < h && x+i >= 0 && x+i < w {
			out[i] = v[((image*h+y)*w+x+i)*channels+c]
		}
	}
	return out
}

func rounded(v []float64) []float64 {
	for i := range v {
		v[i] = roundBF16(v[i])
	}
	return v
}

func rowsConv(x []float64, filter func(o, r, s, i int) float64, n, h, w, in, out int) []float64 {
	bt, g, at := rows(winogradBt, false), rows(winogradG, false), rows(winogradA, true)
	var u [][]float64 // out, r, in
	for o := range out {
		for r := range 3 {
			for i := range in {
				u = append(u, rounded(times(g, []float64{filter(o, r, 0, i), filter(o, r, 1, i), filter(o, r, 2, i)})))
			}
		}
	}
	y := make([]float64, n*h*w*out)
	for line := range n * h {
		for q := 0; q < w; q += 4 {
			var v [][]float64 // r, in
			for r := range 3 {
				for i := range in {
					v = append(v, rounded(times(bt, pixels(x, line/h, line%h+r-1, q-1, 6, h, w, in, i))))
				}
			}
			for o := range out {
				sums := make([]float64, 6)
				for k := range v {
					for p := range sums {
						sums[p] += u[o*3*in+k][p] * v[k][p]
					}
				}
				for i, e := range times(at, sums)[:min(4, w-q)] {
					y[(line*w+q+i)*out+o] = e
				}
			}
		}
	}
	return y
}

func rowsWeights(x, dy []float64, n, h, w, in, out int) []float64 {
	bt, a, gt := rows(winogradBt, false), rows(winogradA, false), rows(winogradG, true)
	sums := make([][]float64, out*3*in)
	for i := range sums {
		sums[i] = make([]float64, 6)
	}
	for line := range n * h {
		for q := 0; q < w; q += 4 {
			for r := range 3 {
				var v [][]float64
				for i := range in {
					v = append(v, rounded(times(bt, pixels(x, line/h, line%h+r-1, q-1, 6, h, w, in, i))))
				}
				for o := range out {
					z := rounded(times(a, pixels(dy, line/h, line%h, q, 4, h, w, out, o)))
					for i := range v {
						for p, e := range z {
							sums[(o*3+r)*in+i][p] += e * v[i][p]
						}
					}
				}
			}
		}
	}
	dw := make([]float64, out*9*in)
	for k, s := range sums {
		for i, e := range times(gt, s) {
			dw[(k/in*3+i)*in+k%in] = e
		}
	}
	return dw
}

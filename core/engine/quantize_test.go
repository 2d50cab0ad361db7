package engine_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/rng"
)

// storedProgram stores x in 8 or 4 bits and expands it.
type storedProgram struct {
	engine.Program
	ops               int
	x, stream, ranges *graph.Value
	y                 *graph.Value
}

func newStored(t *testing.T, d engine.Device, bits int64, shape ...int64) storedProgram {
	t.Helper()
	b := graph.NewBuilder(true)
	p := storedProgram{x: b.Input("x", shape, graph.TypeF32), stream: b.Stream()}
	packed, ranges := b.Quantize(p.x, p.stream, bits)
	p.ranges, p.y = ranges, b.Dequantize(packed, ranges, bits, shape, graph.TypeF32)
	b.Output(ranges)
	b.Output(p.y)
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	p.Program, p.ops = bind(t, d, g), len(g.Ops)
	return p
}

// run stores x at a step of seed 5 and returns what is expanded.
func (p storedProgram) run(t *testing.T, x []float32, step int32) []float32 {
	t.Helper()
	for _, err := range []error{p.Write(p.x, x), p.Write(p.stream, []int32{5, 0, step}), p.Run(0, p.ops)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return read(t, p, p.y)
}

// storedNumbers are groups of normal numbers, of results of a ReLU, and of numbers far from zero; the last group is not whole.
func storedNumbers() []float32 {
	x := make([]float32, 5*graph.QuantizedGroup+77)
	for i := range x {
		n := rng.Stream{Seed: 1, Purpose: rng.PurposeGolden}.Normal(uint64(i))
		switch i / graph.QuantizedGroup % 3 {
		case 1:
			n = max(n, 0)
		case 2:
			n = 100 + n
		}
		x[i] = float32(n)
	}
	return x
}

// storedOn are the backends and numbers of bits that the tests go through.
func storedOn(t *testing.T, test func(t *testing.T, d engine.Device, bits int64)) {
	for _, backend := range append(enginetest.Backends(), "reference") {
		for _, bits := range []int64{8, 4} {
			t.Run(fmt.Sprintf("%s, %d bits", backend, bits), func(t *testing.T) {
				test(t, enginetest.Open(t, backend, engine.Options{Threads: 2}), bits)
			})
		}
	}
}

// levelSizes returns, for each element of x, the size of a level of its group, from the definition.
func levelSizes(x []float32, bits int64) []float64 {
	out := make([]float64, len(x))
	for first := 0; first < len(x); first += graph.QuantizedGroup {
		part := x[first:min(first+graph.QuantizedGroup, len(x))]
		least, most := part[0], part[0]
		for _, v := range part {
			least, most = min(least, v), max(most, v)
		}
		for i := range part {
			out[first+i] = float64(most-least) / float64(int(1)<<bits-1)
		}
	}
	return out
}

// TestStoredErrorIsBounded: what is stored and expanded differs by less than a level, and zeros of a ReLU stay zeros.
func TestStoredErrorIsBounded(t *testing.T) {
	storedOn(t, func(t *testing.T, d engine.Device, bits int64) {
		x := storedNumbers()
		y, size := newStored(t, d, bits, int64(len(x))).run(t, x, 0), levelSizes(x, bits)
		moved := 0
		for i := range x {
			// m + q * (r / L) is rounded three times.
			rounding := 4.0 / (1 << 24) * (math.Abs(float64(x[i])) + size[i]*float64(int(1)<<bits))
			if off := math.Abs(float64(y[i] - x[i])); off > size[i]+rounding {
				t.Fatalf("element %d: got %g of %g, want an error of at most %g", i, y[i], x[i], size[i])
			}
			if x[i] == 0 && y[i] != 0 {
				t.Fatalf("element %d: got %g of 0", i, y[i])
			}
			if y[i] != x[i] {
				moved++
			}
		}
		if moved < len(x)/2 {
			t.Errorf("%d of %d elements differ: the test tests little", moved, len(x))
		}
	})
}

// TestLargestLevel: the maximum of a group stays the largest level, though its product with the number of levels per range is
// rounded to more than that and each of 2^19 random roundings can raise it.
func TestLargestLevel(t *testing.T) {
	storedOn(t, func(t *testing.T, d engine.Device, bits int64) {
		levels := float32((int(1)<<bits - 1) << 16)
		maximum := float32(1)
		for maximum*(levels/maximum) <= levels {
			maximum += 1.0 / 1024
		}
		x := make([]float32, 1<<20)
		for i := range x {
			x[i] = float32(i%2) * maximum
		}
		for i, y := range newStored(t, d, bits, int64(len(x))).run(t, x, 0) {
			if off := math.Abs(float64(y - x[i])); off > 1e-6 {
				t.Fatalf("element %d: got %g of %g", i, y, x[i])
			}
		}
	})
}

// TestStochasticRounding takes the mean of an element over many steps. Each time it is the level below, or the level above with
// probability f, the part of a level by which it exceeds the lower one: so the mean is x, with a variance of f (1-f) / steps
// levels squared. The random bits have 16 places, so that the mean is up to 2^-16 of a level too low. Seeds are fixed: either the
// test passes always, or never.
func TestStochasticRounding(t *testing.T) {
	storedOn(t, func(t *testing.T, d engine.Device, bits int64) {
		const steps = 1000
		x := storedNumbers()
		p, size := newStored(t, d, bits, int64(len(x))), levelSizes(x, bits)
		sum := make([]float64, len(x))
		for step := range steps {
			for i, y := range p.run(t, x, int32(step)) {
				sum[i] += float64(y-x[i]) / size[i]
			}
		}
		ranges := read(t, p, p.ranges)
		squares, count := 0.0, 0
		for i := range x {
			mean := sum[i] / steps
			level := float64(x[i]-ranges[i/graph.QuantizedGroup*2]) / size[i]
			f := level - math.Floor(level)
			deviation := math.Sqrt(f * (1 - f) / steps)
			rounding := 1.0/(1<<16) + 1.0/steps + 4.0/(1<<24)*(math.Abs(float64(x[i]))/size[i]+float64(int(1)<<bits))
			if math.Abs(mean) > 5*deviation+rounding {
				t.Errorf("element %d, %.3f of a level above one: mean error %.4f levels, want at most %.4f", i, f, mean, 5*deviation+rounding)
			}
			if f > 0.1 && f < 0.9 {
				squares += mean * mean / (deviation * deviation)
				count++
			}
		}
		// The squares of count nearly normal numbers: their mean is 1, with a deviation of sqrt(2 / count).
		if spread := squares / float64(count); math.Abs(spread-1) > 5*math.Sqrt(2/float64(count)) {
			t.Errorf("the variance of the means is %.3f of that of independent roundings, want 1 within %.3f", spread,
				5*math.Sqrt(2/float64(count)))
		}
	})
}

// TestStoredNotFinite: an element that is no finite number makes its whole group not a number, and no other one, as does a range
// that overflows. Training that diverges is not hidden.
func TestStoredNotFinite(t *testing.T) {
	inf := float32(math.Inf(1))
	storedOn(t, func(t *testing.T, d engine.Device, bits int64) {
		for name, bad := range map[string][]float32{"NaN": {float32(math.NaN())}, "infinity": {inf}, "minus infinity": {-inf},
			"overflow": {math.MaxFloat32, -math.MaxFloat32}} {
			x := make([]float32, 3*graph.QuantizedGroup+9)
			for i := range x {
				x[i] = float32(i)
			}
			copy(x[graph.QuantizedGroup+100:], bad)
			x[3*graph.QuantizedGroup+8] = bad[0]
			x[3*graph.QuantizedGroup] = bad[len(bad)-1]
			for i, y := range newStored(t, d, bits, int64(len(x))).run(t, x, 0) {
				group := i / graph.QuantizedGroup
				if isNaN := y != y; isNaN != (group == 1 || group == 3) {
					t.Fatalf("%s: element %d of group %d: got %g of %g", name, i, group, y, x[i])
				}
			}
		}
	})
}

// TestStoredStepsDiffer: another step rounds differently, the same step does not.
func TestStoredStepsDiffer(t *testing.T) {
	storedOn(t, func(t *testing.T, d engine.Device, bits int64) {
		x := storedNumbers()
		p := newStored(t, d, bits, int64(len(x)))
		first, again, other := p.run(t, x, 7), p.run(t, x, 7), p.run(t, x, 8)
		differ := 0
		for i := range first {
			if first[i] != again[i] {
				t.Fatalf("element %d: got %g, then %g in the same step", i, first[i], again[i])
			}
			if first[i] != other[i] {
				differ++
			}
		}
		if differ < len(x)/8 {
			t.Errorf("%d of %d elements differ in another step", differ, len(x))
		}
	})
}

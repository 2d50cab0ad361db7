package reference

import (
	"math"
	"math/bits"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/rng"
)

// The ops of quantization are defined in f32, to the bit, so that is what they are computed in here, too. A conversion to
// float32 after each operation forbids a fused multiply-add.

// quantize writes the levels of x and the minimum and range of each group, or with one bit where x passes the gradient.
func quantize(m *Machine, op *graph.Op) error {
	x, packed, a := m.operand(op, 0), m.result(op, 0), op.Attr
	clear(packed)
	set := func(i int, q uint32) { // of element i
		group, e, period := i/graph.QuantizedGroup, i%graph.QuantizedGroup, 32*int(a.Bits)
		packed[group*period+e%period] += float64(q << (e / period * int(a.Bits)))
	}
	if a.Bits == 1 {
		top := math.Inf(1)
		if a.Activation == graph.ActivationReLU6 {
			top = 6
		}
		for i, v := range x {
			if v > 0 && v < top {
				set(i, 1)
			}
		}
		return nil
	}
	words, ranges := m.operand(op, 1), m.result(op, 1)
	word := func(i int) uint32 { return uint32(int32(words[i])) }
	seed, salt := uint64(word(1))<<32|uint64(word(0)), uint64(a.Salt)<<32
	most := float32(int(1)<<a.Bits-1) * (1 << 16)
	for first := 0; first < len(x); first += graph.QuantizedGroup {
		group := first / graph.QuantizedGroup
		part := x[first:min(first+graph.QuantizedGroup, len(x))]
		least, width := extent(part)
		ranges[2*group], ranges[2*group+1] = float64(least), float64(width)
		if !(width > 0) {
			continue
		}
		scale := most / width
		for e, v := range part {
			t := uint32(min(float32(float32(v)-least)*scale, most))
			w := rng.Block(seed, rng.PurposeRounding, word(2), salt|uint64(16*group+e%16))[e/16%4]
			set(first+e, (t+bits.RotateLeft32(w, -8*(e/64))&0xffff)>>16)
		}
	}
	return nil
}

// extent is the minimum and the range of a group of numbers.
func extent(part []float64) (least, width float32) {
	least, most := float32(part[0]), float32(part[0])
	for _, x := range part {
		if v := float32(x); v-v != 0 { // not finite
			return 0, float32(math.NaN())
		}
		least, most = min(least, float32(x)), max(most, float32(x))
	}
	if math.Abs(float64(least)) < 0x1p-126 {
		least = 0
	}
	switch width = most - least; {
	case math.IsInf(float64(width), 0):
		return 0, float32(math.NaN())
	case width < 1e-30:
		width = 0
	}
	return least, width
}

// dequantize expands the levels.
func dequantize(m *Machine, op *graph.Op) error {
	packed, ranges, y, a := m.operand(op, 0), m.operand(op, 1), m.result(op, 0), op.Attr
	period, levels := 32*int(a.Bits), uint32(1)<<a.Bits-1
	for i := range y {
		group, e := i/graph.QuantizedGroup, i%graph.QuantizedGroup
		q := uint32(packed[group*period+e%period]) >> (e / period * int(a.Bits)) & levels
		if y[i] = float64(q); a.Bits > 1 {
			least, width := float32(ranges[2*group]), float32(ranges[2*group+1])
			y[i] = float64(least + float32(float32(q)*(width/float32(levels))))
		}
	}
	return nil
}

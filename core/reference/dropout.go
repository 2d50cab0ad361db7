package reference

import (
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/rng"
)

// dropout computes y = x / (1 - rate) where the number of the element, or of its sample, is at
// least the rate, else 0.
func dropout(m *Machine, op *graph.Op) error {
	x, words, y := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	word := func(i int) uint32 { return uint32(int32(words[i])) }
	seed, salt := uint64(word(1))<<32|uint64(word(0)), uint64(op.Attr.Salt)<<32
	sample := len(x) / int(op.Operands[0].Shape[0])
	for i := range y {
		k := i
		if op.Attr.Rows {
			k = i / sample
		}
		y[i] = 0
		drawn := rng.Block(seed, rng.PurposeDropout, word(2), salt|uint64(k/4))[k%4]
		if float64(drawn)/(1<<32) >= op.Attr.Rate {
			y[i] = x[i] / (1 - op.Attr.Rate)
		}
	}
	return nil
}

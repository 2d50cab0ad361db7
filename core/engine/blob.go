package engine

import (
	"encoding/binary"
	"math"

	"github.com/localbench/localbench/core/engine/native"
	"github.com/localbench/localbench/core/graph"
)

// blobMagic is "PROG" as a little-endian word.
const blobMagic = 0x474f5250

// blob is the encoding of a program for a backend: little-endian fields, in the order
// in which native/blob.cc reads them.
type blob []byte

// encode writes the graph as a program: a header, the values, the ops.
func encode(g *graph.Graph) []byte {
	b := blob{}
	b.u32(blobMagic)
	b.u32(native.BlobVersion)
	b.i64(int64(len(g.Values)))
	b.i64(int64(len(g.Ops)))
	for _, v := range g.Values {
		b.u32(uint32(v.Type))
		b.u32(uint32(len(v.Shape)))
		for i := range 4 {
			if i < len(v.Shape) {
				b.i64(v.Shape[i])
			} else {
				b.i64(1)
			}
		}
	}
	for _, op := range g.Ops {
		b.u32(uint32(op.Kind))
		b.ids(op.Operands)
		b.ids(op.Results)
		b.attributes(op.Attr)
		b.u32(uint32(op.Stream))
		b.u32(uint32(len(op.Waits)))
		for _, w := range op.Waits {
			b.i64(int64(w))
		}
	}
	return b
}

func (b *blob) u32(x uint32)  { *b = binary.LittleEndian.AppendUint32(*b, x) }
func (b *blob) i64(x int64)   { *b = binary.LittleEndian.AppendUint64(*b, uint64(x)) }
func (b *blob) f64(x float64) { *b = binary.LittleEndian.AppendUint64(*b, math.Float64bits(x)) }
func (b *blob) flag(x bool) {
	if x {
		b.i64(1)
	} else {
		b.i64(0)
	}
}

func (b *blob) ids(values []*graph.Value) {
	b.u32(uint32(len(values)))
	for _, v := range values {
		if v == nil {
			b.i64(-1)
		} else {
			b.i64(int64(v.ID))
		}
	}
}

func (b *blob) attributes(a graph.Attributes) {
	for _, pair := range [][2]int64{a.Kernel, a.Stride, a.Padding, a.Output, {a.Spacing(0), a.Spacing(1)}} {
		b.i64(pair[0])
		b.i64(pair[1])
	}
	for _, x := range a.Input {
		b.i64(x)
	}
	b.i64(a.Groups)
	b.i64(int64(a.Activation))
	for _, x := range []bool{a.Bias, a.CountPadding, a.Nesterov, a.Reflect, a.Flip} {
		b.flag(x)
	}
	b.i64(a.Classes)
	b.flag(a.Rows)
	b.i64(a.Salt)
	b.i64(a.Axis)
	b.i64(a.Offset)
	for _, list := range [][4]int64{a.View, a.Order} {
		for _, x := range list {
			b.i64(x)
		}
	}
	b.flag(a.Decoupled)
	b.i64(a.Bits)
	b.i64(int64(a.Following))
	b.flag(a.InputSums)
	for _, x := range []float64{a.Epsilon, a.Momentum, a.WeightDecay, a.Scale, a.Temperature, a.Rate, a.Beta1, a.Beta2} {
		b.f64(x)
	}
	for _, list := range [][4]float64{a.Mean, a.Deviation} {
		for _, x := range list {
			b.f64(x)
		}
	}
}

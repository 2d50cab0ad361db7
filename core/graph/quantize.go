package graph

import (
	"fmt"
	"hash/fnv"
)

// Quantization stores an activation in fewer bits between its last use in the forward pass and its first use in the backward
// pass (passes.Store):
//
//	quantize    packed, ranges from x and the stream
//	dequantize  y from packed, ranges
//
// The elements of x, in the program's order, are in groups of 256; the last group may have fewer. A group has two numbers in
// ranges, f32 [groups 2]: its minimum m and its range r, the maximum minus m. An element is one of 2^bits levels
// from 0 to L = 2^bits - 1, in bits = 8 or 4 bits. All arithmetic is in f32, each operation rounded on its own, and the same to
// the bit on every backend:
//
//	t = int(min((x - m) * (L * 2^16 / r), L * 2^16))    in units of 2^-16 of a level, rounded down
//	q = (t + u) >> 16                                   u: 16 random bits
//	y = m + q * (r / L)
//
// So q is one of the two levels next to x, and its expectation is x up to 2^-16 of a level: stochastic rounding. The error of
// an element is less than r / L. Zeros of a tensor without negative elements stay zeros.
//
// Magnitudes of m below 2^-126 are 0. A range below 1e-30 is 0: all elements of the group are then m. In a group with an
// element that is not finite, or with a range that overflows, r is NaN, and so are all elements of y.
//
// The random bits are those of core/rng: with e the place of an element in group g, its bits are the lower 16 of
//
//	stream k of the block (seed, rounding, step, salt << 32 | 16 g + e%16), rotated right by 8 (e / 64)    k = e/16 % 4
//
// Two elements of a group share 8 of their 16 bits, the upper ones of one and the lower ones of the other. Seed and
// step are the run-time input stream, as for dropout; the salt is the 32-bit FNV-1a hash of the name of x.
//
// With one bit, only whether the activation passes the gradient is stored: bit 1 where 0 < x and, for ReLU6, x < 6. There are no
// ranges and no random numbers, and y is 1 or 0, which passes the gradient exactly where x does.
//
// Packed is u8, 32 bits bytes a group: element e of a group is in byte e % (32 bits), in the bits from (e / (32 bits)) * bits
// on. Bits of elements that the last group does not have are 0. x and y are f32 or bf16, of at most 2^34 elements.

// QuantizedGroup is the number of elements that share a minimum and a range.
const QuantizedGroup = 256

// QuantizedGroups is the number of groups of n elements.
func QuantizedGroups(n int64) int64 { return (n + QuantizedGroup - 1) / QuantizedGroup }

// QuantizedShapes are the shapes of packed and, with more than one bit an element, of ranges for x; ranges is nil for one bit.
func QuantizedShapes(x Shape, bits int64) (packed, ranges Shape) {
	groups := QuantizedGroups(x.Elements())
	packed = Shape{groups * QuantizedGroup / 8 * bits}
	if bits > 1 {
		ranges = Shape{groups, 2}
	}
	return packed, ranges
}

// Quantize adds the quantization of x in 8 or 4 bits. The salt is that of the name of x, NameSalt.
func (b *Builder) Quantize(x, stream *Value, bits int64) (packed, ranges *Value) {
	r := b.add(KindQuantize, Attributes{Bits: bits, Salt: NameSalt(x.Name)}, x, stream)
	return r[0], r[1]
}

// QuantizeMask adds where x, the result of a ReLU or ReLU6, passes the gradient: one bit an element.
func (b *Builder) QuantizeMask(x *Value, a Activation) *Value {
	return b.first(KindQuantize, Attributes{Bits: 1, Activation: a}, x, nil)
}

// Dequantize adds a tensor of this shape and type, f32 or bf16, from its quantized form. Ranges is nil for one bit.
func (b *Builder) Dequantize(packed, ranges *Value, bits int64, s Shape, t ElementType) *Value {
	return b.first(KindDequantize, Attributes{Bits: bits, Shape: dims4(s), Element: t}, packed, ranges)
}

// NameSalt is the FNV-1a hash of a name in 32 bits: an attribute Salt.
func NameSalt(name string) int64 {
	hash := fnv.New32a()
	hash.Write([]byte(name))
	return int64(hash.Sum32())
}

// mostQuantized is how many elements have random numbers: 2^32 blocks of 16.
const mostQuantized = 1 << 34

func quantizeRule(k Kind) rule {
	if k == KindQuantize {
		return rule{operands: []string{"x", "stream?"}, results: quantizeShape}
	}
	return rule{operands: []string{"packed", "ranges?"}, results: dequantizeShape}
}

func quantizeShape(op *Op) ([]resultType, error) {
	x, stream, a := op.Operands[0], op.Operands[1], op.Attr
	if len(x.Shape) == 0 || len(x.Shape) > 4 || x.Shape.Elements() > mostQuantized {
		return nil, fmt.Errorf("quantization of %s: must have one to four dimensions and at most 2^34 elements", x)
	}
	if err := checkQuantized(a.Bits, stream, "stream"); err != nil {
		return nil, err
	}
	packed, ranges := QuantizedShapes(x.Shape, a.Bits)
	out := []resultType{{"packed", packed, TypeU8, CategoryCompressed}}
	if a.Bits == 1 {
		if !a.Activation.Rectifies() {
			return nil, fmt.Errorf("one bit an element of the result of activation %s: must be %s or %s", a.Activation, ActivationReLU,
				ActivationReLU6)
		}
		return out, nil
	}
	return append(out, resultType{"ranges", ranges, TypeF32, CategoryCompressed}), wantShape(Shape{3}, stream)
}

func dequantizeShape(op *Op) ([]resultType, error) {
	y, a := extents(op.Attr.Shape), op.Attr
	if err := checkExtent(y, TypeF32); err != nil {
		return nil, err
	}
	if err := checkQuantized(a.Bits, op.Operands[1], "ranges"); err != nil {
		return nil, err
	}
	if len(y) == 0 || y.Elements() > mostQuantized {
		return nil, fmt.Errorf("dequantization to %s: must have one to four dimensions and at most 2^34 elements", y)
	}
	packed, ranges := QuantizedShapes(y, a.Bits)
	if err := wantShape(packed, op.Operands[0]); err != nil {
		return nil, err
	}
	return []resultType{{"y", y, a.Element, CategoryActivation}}, wantShape(ranges, op.Operands[1])
}

// checkQuantized checks the number of bits, and that an operand is there for more than one and absent for one.
func checkQuantized(bits int64, operand *Value, role string) error {
	switch {
	case bits != 1 && bits != 4 && bits != 8:
		return fmt.Errorf("%d bits an element: must be 1, 4 or 8", bits)
	case (bits > 1) != (operand != nil):
		return fmt.Errorf("%d bits an element: operand %s must be there for 4 and 8 bits, and absent for 1", bits, role)
	}
	return nil
}

// StoreFormat is how the step stores what the backward pass reads of the forward pass.
type StoreFormat uint8

// The formats.
const (
	StoreF32  StoreFormat = iota // as the forward pass computed it, in f32, or bf16 in mixed precision
	StoreBF16                    // in bf16, rounded to nearest
	StoreInt8                    // in 8 bits and a minimum and range for 256 elements
	StoreInt4                    // in 4 bits, likewise
)

// StoreFormats lists the formats.
func StoreFormats() []StoreFormat { return []StoreFormat{StoreF32, StoreBF16, StoreInt8, StoreInt4} }

// String is the format's name on the command line and in records.
func (f StoreFormat) String() string { return [...]string{"f32", "bf16", "int8", "int4"}[f] }

// Bits are those of an element of a quantized format; 0 for the others.
func (f StoreFormat) Bits() int64 { return [...]int64{0, 0, 8, 4}[f] }

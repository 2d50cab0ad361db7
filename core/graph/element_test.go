package graph

import (
	"math"
	"strings"
	"testing"
)

// TestBF16 holds the rounding against its definition: no number of bf16 is nearer, and of
// two that are as near the one with an even last bit is taken.
func TestBF16(t *testing.T) {
	for _, exponent := range []uint32{0, 1, 100, 127, 200, 253} {
		for low := range uint32(1 << 17) {
			x := math.Float32frombits(exponent<<23 | low*63)
			bits := BF16(x)
			off := math.Abs(float64(FromBF16(bits)) - float64(x))
			for _, other := range []uint16{bits + 1, max(bits, 1) - 1} {
				distance := math.Abs(float64(FromBF16(other)) - float64(x))
				if distance < off || distance == off && bits != 0 && bits%2 == 1 {
					t.Fatalf("%g: got %#x, off by %g; %#x is off by %g", x, bits, off, other, distance)
				}
			}
			if negative := BF16(-x); negative != bits|0x8000 {
				t.Fatalf("-%g: got %#x, want the sign alone to differ from %#x", x, negative, bits)
			}
		}
	}
	for _, row := range []struct{ x, want float32 }{
		{1, 1}, {1 + 1.0/256, 1}, {1 + 3.0/256, 1 + 4.0/256}, {float32(math.Inf(1)), float32(math.Inf(1))},
		{math.MaxFloat32, float32(math.Inf(1))},
	} {
		if got := FromBF16(BF16(row.x)); got != row.want {
			t.Errorf("%g: got %g, want %g", row.x, got, row.want)
		}
	}
	if nan := FromBF16(BF16(math.Float32frombits(0x7f800001))); nan == nan {
		t.Errorf("not a number became %g", nan)
	}
}

// TestElements is an op of wrong element types a row.
func TestElements(t *testing.T) {
	for _, c := range []struct {
		name, want string
		build      func(b *Builder, f32, bf16 *Value)
	}{
		{"tensors of two types", "operand y is bf16 bf16[2x3]: must be f32, as f32 is",
			func(b *Builder, f32, bf16 *Value) { b.Add(f32, bf16) }},
		{"a weight of another type than its input", "operand weight is w f32[4x3]: must be bf16", func(b *Builder, _, bf16 *Value) {
			b.Linear(bf16, b.Parameter("w", Shape{4, 3}, Weight{}), nil)
		}},
		{"logits in bf16", "operand logits is bf16 bf16[2x3]: must be f32", func(b *Builder, _, bf16 *Value) {
			b.CrossEntropy(bf16, b.Input("labels", Shape{2}, TypeS32))
		}},
		{"an image as a tensor", "must be f32 or bf16",
			func(b *Builder, _, _ *Value) { b.ReLU(b.Input("image", Shape{2, 3}, TypeU8)) }},
		{"a cast to the same type", "must be between f32 and bf16", func(b *Builder, f32, _ *Value) { b.Cast(f32, TypeF32) }},
		{"a cast to whole numbers", "result of type s32", func(b *Builder, f32, _ *Value) { b.Cast(f32, TypeS32) }},
	} {
		b := NewBuilder(true)
		c.build(b, b.Input("f32", Shape{2, 3}, TypeF32), b.Input("bf16", Shape{2, 3}, TypeBF16))
		if _, err := b.Graph(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
}

package graph

import (
	"math"
	"strings"
	"testing"
)

func TestShapeOpsRefuse(t *testing.T) {
	for name, c := range map[string]struct {
		write func(b *Builder, x *Value)
		want  string
	}{
		"concat, other height": {func(b *Builder, x *Value) {
			b.Concat(3, x, b.Input("y", Shape{2, 5, 4, 6}, TypeF32))
		}, "dimension 1 differs"},
		"concat, other rank": {func(b *Builder, x *Value) {
			b.Concat(1, x, b.Input("y", Shape{2, 4}, TypeF32))
		}, "different numbers of dimensions"},
		"concat, other type": {func(b *Builder, x *Value) {
			b.Concat(3, x, b.Input("y", Shape{2, 4, 4, 6}, TypeBF16))
		}, "must be f32, as x is"},
		"concat of nothing": {func(b *Builder, _ *Value) {
			b.Concat(3)
		}, "0 operands"},
		"concat, axis": {func(b *Builder, x *Value) {
			b.Concat(4, x, x)
		}, "axis 4 of 2x4x4x6"},
		"concat, negative": {func(b *Builder, x *Value) {
			b.Concat(-1, x, x)
		}, "axis -1 of 2x4x4x6"},
		"slice beyond the end": {func(b *Builder, x *Value) {
			b.Slice(x, 3, 4, 3, nil)
		}, "slice of 3 from 4 on along axis 3 of 2x4x4x6: must lie in the value"},
		"slice of nothing": {func(b *Builder, x *Value) {
			b.Slice(x, 3, 4, 0, nil)
		}, "must lie in the value"},
		"slice before": {func(b *Builder, x *Value) {
			b.Slice(x, 3, -1, 2, nil)
		}, "must lie in the value"},
		"slice, overflow": {func(b *Builder, x *Value) {
			b.Slice(x, 3, math.MaxInt64, math.MaxInt64, nil)
		}, "must lie in the value"},
		"slice, sum": {func(b *Builder, x *Value) {
			b.Slice(x, 3, 0, 2, x)
		}, "2x4x4x6"},
		"permute, order": {func(b *Builder, x *Value) {
			b.Permute(x, [4]int64{2, 4, 4, 6}, [4]int64{0, 1, 1, 2}, x.Shape)
		}, "must have each of 0, 1, 2 and 3 once"},
		"permute, view": {func(b *Builder, x *Value) {
			b.Permute(x, [4]int64{2, 4, 4, 5}, [4]int64{0, 1, 3, 2}, x.Shape)
		}, "same number of elements"},
		"permute, overflow": {func(b *Builder, x *Value) {
			b.Permute(x, [4]int64{math.MaxInt64, math.MaxInt64, 4, 5}, [4]int64{0, 1, 3, 2}, x.Shape)
		}, "more than 2^63 bytes"},
		"permute, five": {func(b *Builder, x *Value) {
			b.Permute(x, [4]int64{2, 4, 4, 6}, [4]int64{0, 1, 3, 2}, Shape{2, 2, 2, 4, 6})
		}, "at most four dimensions"},
		"reshape": {func(b *Builder, x *Value) {
			b.Reshape(x, Shape{2, 95})
		}, "same number of elements"},
		"reshape, five": {func(b *Builder, x *Value) {
			b.Reshape(x, Shape{2, 2, 2, 4, 6})
		}, "at most four dimensions"},
		"reshape, zero": {func(b *Builder, x *Value) {
			b.Reshape(x, Shape{0, 192})
		}, "must be at least 1"},
	} {
		b := NewBuilder(true)
		c.write(b, b.Input("x", Shape{2, 4, 4, 6}, TypeF32))
		if _, err := b.Graph(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// A slice reads as many bytes as it writes, and those of what is added to it.
func TestSliceBytes(t *testing.T) {
	b := NewBuilder(true)
	x := b.Input("x", Shape{2, 4, 4, 6}, TypeF32)
	b.Slice(x, 3, 1, 2, b.Input("sum", Shape{2, 4, 4, 2}, TypeF32))
	if got := b.Ops()[0].Bytes(); got != 3*2*4*4*2*4 {
		t.Errorf("got %d bytes, want %d", got, 3*2*4*4*2*4)
	}
}

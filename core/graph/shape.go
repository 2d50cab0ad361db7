package graph

import (
	"fmt"
	"slices"
)

// Ops that move elements. Axes are those of the program's order: of an activation [N H W C], channels are axis 3.
//
//	concat          y is x1, x2, ... one after the other along an axis
//	slice           y[i] = x[i, from the offset along an axis] + sum[i]; no sum: 0
//	slice_backward  dx[i] = dy[i] in the slice, 0 elsewhere, + sum[i]
//	permute         y[j] = x[i], x read with other extents, whose dimensions are put into another order
//	reshape         y is x with other extents
//
// The sums are for gradients: the slices of one value add to one gradient, and a value that several ops join has one
// gradient. Each sum may be computed in place, so neither needs a temporary value.

// Concat adds the values joined along an axis; they have the same extents along all others.
func (b *Builder) Concat(axis int, values ...*Value) *Value {
	return b.first(KindConcat, Attributes{Axis: int64(axis)}, values...)
}

// Slice adds the part of x from offset on that has the given length along an axis. Sum, a value of the shape of the result or
// nil, is added to it.
func (b *Builder) Slice(x *Value, axis int, offset, length int64, sum *Value) *Value {
	return b.first(KindSlice, Attributes{Axis: int64(axis), Offset: offset, Length: length}, x, sum)
}

// SliceBackward adds the gradient of the op slice with respect to x. Sum, a value of the shape of x or nil, is added to it.
func (b *Builder) SliceBackward(slice *Op, dy, sum *Value) *Value {
	a := slice.Attr
	a.Shape = dims4(slice.Operands[0].Shape)
	return b.first(KindSliceBackward, a, dy, sum)
}

// Permute adds x read as a tensor of the extents of view, whose dimension order[i] becomes dimension i; the result has the
// given shape.
func (b *Builder) Permute(x *Value, view [4]int64, order [4]int64, shape Shape) *Value {
	if len(shape) > 4 {
		b.Fail(fmt.Errorf("permute to %s: at most four dimensions are supported", shape))
		return x
	}
	return b.first(KindPermute, Attributes{View: view, Order: order, Shape: dims4(shape)}, x)
}

// PermuteBackward adds the gradient of the op permute: the permutation back.
func (b *Builder) PermuteBackward(permute *Op, dy *Value) *Value {
	var view, order [4]int64
	for i, from := range permute.Attr.Order {
		view[i], order[from] = permute.Attr.View[from], int64(i)
	}
	return b.Permute(dy, view, order, permute.Operands[0].Shape)
}

// Reshape adds x with another shape of as many elements, in the same order.
func (b *Builder) Reshape(x *Value, shape Shape) *Value {
	if len(shape) > 4 {
		b.Fail(fmt.Errorf("reshape to %s: at most four dimensions are supported", shape))
		return x
	}
	return b.first(KindReshape, Attributes{Shape: dims4(shape)}, x)
}

// ReshapeBackward adds the gradient of the op reshape.
func (b *Builder) ReshapeBackward(reshape *Op, dy *Value) *Value {
	return b.Reshape(dy, reshape.Operands[0].Shape)
}

func shapeRule(k Kind) rule {
	switch k {
	case KindConcat:
		return rule{operands: []string{"x+"}, results: concatShape}
	case KindSlice:
		return rule{operands: []string{"x", "sum?"}, inPlace: []Pair{{0, 1}}, results: sliceShape}
	case KindSliceBackward:
		return rule{operands: []string{"dy", "sum?"}, inPlace: []Pair{{0, 1}}, results: sliceBackwardShape}
	case KindPermute:
		return rule{operands: []string{"x"}, results: permuteShape}
	}
	return rule{operands: []string{"x"}, inPlace: []Pair{{0, 0}}, results: reshapeShape}
}

// moved is the result of an op that only moves elements: forward an activation, else a gradient.
func moved(op *Op, shape Shape) []resultType {
	if op.Phase == PhaseBackward {
		return []resultType{{"dx", shape, op.Operands[0].Type, CategoryGradient}}
	}
	return []resultType{{"y", shape, op.Operands[0].Type, CategoryActivation}}
}

// extents is the shape that an attribute holds: zeros are no dimensions.
func extents(dims [4]int64) Shape {
	s := Shape(dims[:])
	for len(s) > 0 && s[len(s)-1] == 0 {
		s = s[:len(s)-1]
	}
	return s
}

// wantAxis checks that a shape of at most four dimensions has the axis of the op.
func (op *Op) wantAxis(s Shape) error {
	if len(s) > 4 || op.Attr.Axis < 0 || op.Attr.Axis >= int64(len(s)) {
		return fmt.Errorf("axis %d of %s: must be one of the dimensions, of which there are at most four", op.Attr.Axis, s)
	}
	return nil
}

func concatShape(op *Op) ([]resultType, error) {
	first := op.Operands[0].Shape
	if err := op.wantAxis(first); err != nil {
		return nil, err
	}
	y := slices.Clone(first)
	y[op.Attr.Axis] = 0
	for _, x := range op.Operands {
		if len(x.Shape) != len(first) {
			return nil, fmt.Errorf("%s and %s can't be joined: they have different numbers of dimensions", first, x.Shape)
		}
		for i, d := range x.Shape {
			if int64(i) != op.Attr.Axis && d != first[i] {
				return nil, fmt.Errorf("%s and %s can't be joined along axis %d: dimension %d differs", first, x.Shape, op.Attr.Axis, i)
			}
		}
		if y[op.Attr.Axis] += x.Shape[op.Attr.Axis]; y[op.Attr.Axis] < 0 {
			return nil, fmt.Errorf("the values to be joined have more than 2^63 elements along axis %d", op.Attr.Axis)
		}
	}
	return moved(op, y), nil
}

// sliceOf checks that the op's slice lies in x, and returns its shape.
func sliceOf(op *Op, x Shape) (Shape, error) {
	if err := op.wantAxis(x); err != nil {
		return nil, err
	}
	a, all := op.Attr, x[op.Attr.Axis]
	if a.Offset < 0 || a.Length < 1 || a.Length > all || a.Offset > all-a.Length {
		return nil, fmt.Errorf("slice of %d from %d on along axis %d of %s: must lie in the value", a.Length, a.Offset, a.Axis, x)
	}
	y := slices.Clone(x)
	y[a.Axis] = a.Length
	return y, nil
}

func sliceShape(op *Op) ([]resultType, error) {
	y, err := sliceOf(op, op.Operands[0].Shape)
	if err == nil && op.Operands[1] != nil {
		err = wantShape(y, op.Operands[1])
	}
	if err != nil {
		return nil, err
	}
	return moved(op, y), nil
}

func sliceBackwardShape(op *Op) ([]resultType, error) {
	x := extents(op.Attr.Shape)
	y, err := sliceOf(op, x)
	if err == nil {
		err = wantShape(y, op.Operands[0])
	}
	if err == nil && op.Operands[1] != nil {
		err = wantShape(x, op.Operands[1])
	}
	if err != nil {
		return nil, err
	}
	return []resultType{{"dx", x, op.Operands[0].Type, CategoryGradient}}, nil
}

func permuteShape(op *Op) ([]resultType, error) {
	a, y := op.Attr, extents(op.Attr.Shape)
	var seen [4]bool
	for _, from := range a.Order {
		if from < 0 || from > 3 || seen[from] {
			return nil, fmt.Errorf("order %v: must have each of 0, 1, 2 and 3 once", a.Order)
		}
		seen[from] = true
	}
	for _, s := range []Shape{a.View[:], y} {
		if err := wantElements(op.Operands[0].Shape, s); err != nil {
			return nil, err
		}
	}
	return moved(op, y), nil
}

func reshapeShape(op *Op) ([]resultType, error) {
	y := extents(op.Attr.Shape)
	return moved(op, y), wantElements(op.Operands[0].Shape, y)
}

// wantElements checks that x may be read as a tensor of other extents.
func wantElements(x, as Shape) error {
	if err := checkExtent(as, TypeF32); err != nil {
		return err
	}
	if len(as) == 0 || x.Elements() != as.Elements() {
		return fmt.Errorf("%s as %s: must have the same number of elements", x, as)
	}
	return nil
}

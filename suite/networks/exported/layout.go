package exported

import (
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// A tensor of the file is stored as a value of the step program: a map [N, C, H, W] as [N H W C], any other tensor in its own
// order. Permutations and views move nothing: they give the tensor that results a layout, which says where its elements are in
// the value that is stored. Ops that compute each element by itself keep the layout; before all others, the elements are moved
// to where the shape of the tensor has them (op kindPermute), unless they are there already.

// part is a part of a dimension of a stored tensor: the dimension is [..., size, stride], with the part in the middle.
type part struct {
	dim          int // 0 is the first dimension after the batch, the channels of a map
	stride, size int64
}

// layout is where the elements of a tensor are stored.
type layout struct {
	stored []int64  // the shape that is stored, without the batch and with channels first
	axes   [][]part // of each dimension of the tensor after the batch, the outermost part first
}

// plainLayout is that of a tensor that is stored in its own shape.
func plainLayout(sizes []int64) *layout {
	l := &layout{stored: sizes}
	for i, n := range sizes {
		l.axes = append(l.axes, []part{{i, 1, n}})
	}
	return l
}

// plain reports whether the tensor is stored in its own shape.
func (l *layout) plain() bool {
	if len(l.axes) != len(l.stored) {
		return false
	}
	for i, axis := range l.axes {
		if len(axis) != 1 || axis[0] != (part{i, 1, l.stored[i]}) {
			return false
		}
	}
	return true
}

// flattened reports whether the tensor is the stored one with its dimensions joined to one.
func (l *layout) flattened() bool {
	return len(l.axes) == 1 && slices.Equal(l.axes[0], slices.Concat(plainLayout(l.stored).axes...))
}

// inner is the dimension whose elements lie next to each other: the channels of a map.
func (l *layout) inner() int {
	if len(l.stored) == 3 {
		return 0
	}
	return len(l.stored) - 1
}

// along reports whether a dimension of the tensor is the innermost one that is stored, all of it and nothing else.
func (l *layout) along(dim int) bool {
	for i, axis := range l.axes {
		for _, p := range axis {
			if p.size > 1 && (p.dim == l.inner()) != (i == dim) {
				return false
			}
		}
	}
	return true
}

// rows reports whether the last dimension of the tensor is stored as rows.
func (l *layout) rows() bool { return l.along(len(l.axes) - 1) }

// resized is the layout, of which the last dimension is stored as rows, for rows of n elements.
func (l *layout) resized(n int64) *layout {
	r := &layout{stored: slices.Clone(l.stored), axes: slices.Clone(l.axes)}
	r.stored[l.inner()] = n
	for i, axis := range r.axes {
		r.axes[i] = slices.DeleteFunc(slices.Clone(axis), func(p part) bool { return p.dim == l.inner() })
	}
	last := len(r.axes) - 1
	r.axes[last] = append(r.axes[last], part{l.inner(), 1, n})
	return r
}

// copied reports whether PyTorch has to copy to give elements that are stored like this the shape of the tensor: a dimension is
// made of parts that are stored the other way round, as those of shuffled channels.
func (l *layout) copied() bool {
	for _, axis := range l.axes {
		for i := range axis[:max(len(axis)-1, 0)] {
			p, q := axis[i], axis[i+1]
			if q.dim < p.dim || q.dim == p.dim && q.stride > p.stride {
				return true
			}
		}
	}
	return false
}

func (l *layout) equal(m *layout) bool {
	return slices.Equal(l.stored, m.stored) && slices.EqualFunc(l.axes, m.axes, slices.Equal)
}

// viewed is the layout of the tensor read with other sizes, without the batch; ok is false where a size cuts through what is
// not stored evenly.
func (l *layout) viewed(sizes []int64) (v *layout, ok bool) {
	v, left := &layout{stored: l.stored}, slices.Concat(l.axes...)
	for _, size := range sizes {
		axis := []part{}
		for need := size; len(left) > 0 && (need > 1 || size == 1 && left[0].size == 1 && len(axis) == 0); {
			p := left[0]
			switch {
			case need%p.size == 0:
				left, need = left[1:], need/p.size
			case p.size%need == 0: // the outer piece of it
				inner := p.size / need
				left = append([]part{{p.dim, p.stride, inner}}, left[1:]...)
				p = part{p.dim, p.stride * inner, need}
				need = 1
			default:
				return nil, false
			}
			axis = join(axis, p)
		}
		if product(axis) != size {
			return nil, false
		}
		v.axes = append(v.axes, axis)
	}
	for _, p := range left {
		if p.size != 1 || len(v.axes) == 0 {
			return nil, false
		}
		v.axes[len(v.axes)-1] = join(v.axes[len(v.axes)-1], p)
	}
	return v, true
}

// join appends a part to an axis; it becomes one with the last part if it is the inner piece of the same.
func join(axis []part, p part) []part {
	if n := len(axis) - 1; n >= 0 && axis[n].dim == p.dim && axis[n].stride == p.stride*p.size {
		axis[n] = part{p.dim, p.stride, axis[n].size * p.size}
		return axis
	}
	return append(axis, p)
}

func product(axis []part) int64 {
	n := int64(1)
	for _, p := range axis {
		n *= p.size
	}
	return n
}

// permuted is the layout of the tensor whose dimension i is dimension order[i]; the batch does not count.
func (l *layout) permuted(order []int) *layout {
	v := &layout{stored: l.stored}
	for _, from := range order {
		v.axes = append(v.axes, slices.Clone(l.axes[from]))
	}
	return v
}

// storedOrder returns the numbers 0 to n-1 of the dimensions in the order in which a tensor of n dimensions after the batch is
// stored.
func storedOrder(n int) []int {
	if n == 3 {
		return []int{1, 2, 0}
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return order
}

// axisOf is the axis of the step program for a dimension after the batch of a tensor with n of them.
func axisOf(dim, n int) int { return slices.Index(storedOrder(n), dim) + 1 }

// extentsOf returns the extents of a stored tensor of n dimensions after the batch, channels first.
func extentsOf(x *graph.Value, n int) ([]int64, bool) {
	if len(x.Shape) != n+1 {
		return nil, false
	}
	extents := make([]int64, n)
	for i, d := range storedOrder(n) {
		extents[d] = x.Shape[1+i]
	}
	return extents, true
}

// fitted is the layout for a stored tensor of other extents than those of the file. Dimensions that are not split have any
// extent. Where channels says so, as in an auxiliary network of AugLocal, a split of the first dimension into groups keeps the
// number of groups, or takes the largest divisor of it that divides the channels.
func (l *layout) fitted(extents []int64, channels bool) (*layout, error) {
	v := &layout{stored: extents}
	for _, axis := range l.axes {
		fitted := make([]part, 0, len(axis))
		for _, p := range axis {
			was, is := l.stored[p.dim], extents[p.dim]
			switch {
			case was == is:
			case p.size == was:
				p.size = is
			case p.dim > 0 || !channels:
				return nil, fmt.Errorf("a dimension of %d, which is %d here, is split: export the network for images of this size", was, is)
			case p.stride*p.size == was: // the groups
				p.size = gcd(p.size, is)
				p.stride = is / p.size
			case p.stride == 1: // what is in a group
				p.size = is / gcd(was/p.size, is)
			default:
				return nil, fmt.Errorf("%d channels, which are %d here, are split into more than two parts", was, is)
			}
			fitted = append(fitted, p)
		}
		v.axes = append(v.axes, fitted)
	}
	return v, nil
}

// writePermute writes the op that stores a tensor in its own shape.
func (o *op) writePermute(b *graph.Builder, x *graph.Value) *graph.Value {
	extents, ok := extentsOf(x, len(o.layout.stored))
	if !ok {
		b.Fail(fmt.Errorf("a tensor %s in module %q has another number of dimensions than in the file", x.Shape, o.path()))
		return x
	}
	l, err := o.layout.fitted(extents, o.rebuilt)
	if err != nil {
		b.Fail(fmt.Errorf("the view in module %q: %w", o.path(), err))
		return x
	}
	shape, batch := graph.Shape{x.Shape[0]}, part{-1, 1, x.Shape[0]}
	to := []part{batch} // in the order of the result
	for _, d := range storedOrder(len(l.axes)) {
		shape = append(shape, product(l.axes[d]))
		to = append(to, l.axes[d]...)
	}
	if shape.Elements() != x.Shape.Elements() {
		b.Fail(fmt.Errorf("the view in module %q of a tensor %s doesn't have all of its elements", o.path(), x.Shape))
		return x
	}
	to = slices.DeleteFunc(to, func(p part) bool { return p.size == 1 })
	from := slices.Clone(to) // in the order in which x is stored
	place := func(p part) int { return slices.Index(storedOrder(len(l.stored)), p.dim) }
	slices.SortStableFunc(from, func(p, q part) int {
		if p.dim != q.dim {
			return place(p) - place(q)
		}
		return int(min(max(q.stride-p.stride, -1), 1))
	})
	var view []int64 // extents in the order in which x is stored
	var order []int  // of each dimension of the result, the position in view
	for _, p := range from {
		view = append(view, p.size)
	}
	for _, p := range to {
		order = append(order, slices.Index(from, p))
	}
	view, order = coalesce(view, order)
	for len(view) > 4 { // an op permutes four dimensions: the first one out of place is put in its place
		at := 0
		for order[at] == at {
			at++
		}
		part := order[at]
		four := [4]int64{elements(view[:at]), elements(view[at:part]), view[part], elements(view[part+1:])}
		x = b.Permute(x, four, [4]int64{0, 2, 1, 3}, graph.Shape{shape[0], shape.Elements() / shape[0]})
		view = slices.Insert(slices.Delete(slices.Clone(view), part, part+1), at, view[part])
		for i, from := range order {
			switch {
			case from == part:
				order[i] = at
			case from >= at && from < part:
				order[i]++
			}
		}
		view, order = coalesce(view, order)
	}
	switch {
	case len(view) <= 1 && shape.Equal(x.Shape):
		return x
	case len(view) <= 1:
		return b.Reshape(x, shape)
	}
	view4, order4 := [4]int64{1, 1, 1, 1}, [4]int64{0, 1, 2, 3}
	unused := 4 - len(view)
	for i := range view {
		view4[unused+i], order4[unused+i] = view[i], int64(unused+order[i])
	}
	return b.Permute(x, view4, order4, shape)
}

// elements is the product of extents.
func elements(extents []int64) int64 { return graph.Shape(extents).Elements() }

// coalesce joins dimensions that follow each other in both orders.
func coalesce(view []int64, order []int) (joined []int64, joinedOrder []int) {
	group := make([]int, len(view)) // of each dimension, its number among the joined ones
	for i, n := range view {
		if at := slices.Index(order, i); i > 0 && at > 0 && order[at-1] == i-1 {
			group[i] = group[i-1]
			joined[group[i]] *= n
			continue
		}
		group[i] = len(joined)
		joined = append(joined, n)
	}
	for _, from := range order {
		if g := group[from]; len(joinedOrder) == 0 || joinedOrder[len(joinedOrder)-1] != g {
			joinedOrder = append(joinedOrder, g)
		}
	}
	return joined, joinedOrder
}

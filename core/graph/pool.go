package graph

import "fmt"

// PoolOptions are the constants of a sliding window.
type PoolOptions struct {
	Kernel, Stride, Padding [2]int64 // vertical, horizontal; Stride 0 means the kernel
	CeilSize                bool     // a last window may extend past the lower and right edge
	CountPadding            bool     // average: divide by the part of the window within the padded input
}

// MaxPool adds the maximum over windows of x [N H W C], and for each the position
// of the (first) maximum in its window, row by row, as a byte: windows hold at
// most 255 elements.
func (b *Builder) MaxPool(x *Value, o PoolOptions) (y, index *Value) {
	r := b.add(KindMaxPool, o.attributes(x), x)
	return r[0], r[1]
}

// MaxPoolBackward adds the gradient of the max-pooling op pool.
func (b *Builder) MaxPoolBackward(pool *Op, dy *Value) *Value {
	a := pool.Attr
	a.Input = dims4(pool.Operands[0].Shape)
	return b.first(KindMaxPoolBackward, a, dy, pool.Results[1])
}

// AveragePool adds the mean over windows of x [N H W C].
func (b *Builder) AveragePool(x *Value, o PoolOptions) *Value {
	return b.first(KindAveragePool, o.attributes(x), x)
}

// AdaptiveAveragePool adds the mean over height x width windows that cover
// x [N H W C]: window i spans floor(i*H/height) to ceil((i+1)*H/height).
// Height and width 1 make it the global average pool.
func (b *Builder) AdaptiveAveragePool(x *Value, height, width int64) *Value {
	return b.first(KindAdaptiveAveragePool, Attributes{Output: [2]int64{height, width}}, x)
}

// AveragePoolBackward adds the gradient of an average-pooling op, adaptive or
// not.
func (b *Builder) AveragePoolBackward(pool *Op, dy *Value) *Value {
	a := pool.Attr
	a.Input = dims4(pool.Operands[0].Shape)
	if pool.Kind == KindAdaptiveAveragePool {
		return b.first(KindAdaptiveAveragePoolBackward, a, dy)
	}
	return b.first(KindAveragePoolBackward, a, dy)
}

func (o PoolOptions) attributes(x *Value) Attributes {
	a := Attributes{Kernel: o.Kernel, Stride: o.Stride, Padding: o.Padding, CountPadding: o.CountPadding}
	for i := range 2 {
		if a.Stride[i] == 0 {
			a.Stride[i] = a.Kernel[i]
		}
		if len(x.Shape) == 4 && a.Stride[i] > 0 {
			span := x.Shape[1+i] + 2*a.Padding[i] - a.Kernel[i]
			if span < 0 {
				continue // an output of 0: the shape check refuses it
			}
			a.Output[i] = span/a.Stride[i] + 1
			// A window that would begin in the padding below the input is dropped.
			if o.CeilSize && span%a.Stride[i] != 0 && a.Output[i]*a.Stride[i] < x.Shape[1+i]+a.Padding[i] {
				a.Output[i]++
			}
		}
	}
	return a
}

func poolRule(k Kind) rule {
	switch k {
	case KindMaxPool:
		return rule{operands: []string{"x"}, results: poolShape}
	case KindMaxPoolBackward:
		return rule{operands: []string{"dy", "index"}, results: poolBackwardShape}
	case KindAveragePool:
		return rule{operands: []string{"x"}, results: poolShape}
	case KindAveragePoolBackward:
		return rule{operands: []string{"dy"}, results: poolBackwardShape}
	case KindAdaptiveAveragePool:
		return rule{operands: []string{"x"}, results: poolShape}
	default:
		return rule{operands: []string{"dy"}, results: poolBackwardShape}
	}
}

func poolShape(op *Op) ([]resultType, error) {
	x := op.Operands[0]
	if err := wantRank(4, x); err != nil {
		return nil, err
	}
	y := Shape{x.Shape[0], op.Attr.Output[0], op.Attr.Output[1], x.Shape[3]}
	if err := checkPool(op.Kind, op.Attr, x.Shape); err != nil {
		return nil, err
	}
	out := []resultType{{"y", y, x.Type, CategoryActivation}}
	if op.Kind == KindMaxPool {
		out = append(out, resultType{"index", y, TypeU8, CategoryActivation})
	}
	return out, nil
}

func poolBackwardShape(op *Op) ([]resultType, error) {
	x := Shape(op.Attr.Input[:])
	if err := checkPool(op.Kind, op.Attr, x); err != nil {
		return nil, err
	}
	dy := Shape{x[0], op.Attr.Output[0], op.Attr.Output[1], x[3]}
	return []resultType{{"dx", x, op.Operands[0].Type, CategoryGradient}}, wantShape(dy, op.Operands...)
}

func checkPool(k Kind, a Attributes, x Shape) error {
	for i := range 2 {
		if a.Output[i] < 1 {
			return fmt.Errorf("input %s gives an output of %dx%d: must be at least 1x1", x, a.Output[0], a.Output[1])
		}
		if k == KindAdaptiveAveragePool || k == KindAdaptiveAveragePoolBackward {
			continue
		}
		if a.Kernel[i] < 1 || a.Stride[i] < 1 || a.Padding[i] < 0 || 2*a.Padding[i] > a.Kernel[i] {
			return fmt.Errorf("kernel %d, stride %d, padding %d: must be at least 1, 1 and 0, and padding at most half the kernel",
				a.Kernel[i], a.Stride[i], a.Padding[i])
		}
		// Every window must hold at least one element of the input.
		if (a.Output[i]-1)*a.Stride[i]-a.Padding[i] >= x[1+i] {
			return fmt.Errorf("output %d has windows beyond the input of %d", a.Output[i], x[1+i])
		}
	}
	if k == KindMaxPool && a.Kernel[0]*a.Kernel[1] > 255 {
		return fmt.Errorf("window %dx%d: must have at most 255 elements", a.Kernel[0], a.Kernel[1])
	}
	return nil
}

package graph

import "fmt"

// ReLU adds y = max(x, 0).
func (b *Builder) ReLU(x *Value) *Value {
	return b.first(KindReLU, Attributes{Activation: ActivationReLU}, x)
}

// ReLU6 adds y = min(max(x, 0), 6).
func (b *Builder) ReLU6(x *Value) *Value {
	return b.first(KindReLU, Attributes{Activation: ActivationReLU6}, x)
}

// ReLUBackward adds dx = dy where the result of relu, a ReLU or a ReLU6, is above 0 and below
// its bound, else 0.
func (b *Builder) ReLUBackward(relu *Op, dy *Value) *Value {
	return b.first(KindReLUBackward, Attributes{Activation: relu.Attr.Activation}, dy, relu.Results[0])
}

// SiLU adds y = x / (1 + exp(-x)).
func (b *Builder) SiLU(x *Value) *Value { return b.first(KindSiLU, Attributes{}, x) }

// SiLUBackward adds dx = dy * s * (1 + x*(1-s)) with s = 1 / (1 + exp(-x)), from the operand
// of silu: its result need not be saved.
func (b *Builder) SiLUBackward(silu *Op, dy *Value) *Value {
	return b.first(KindSiLUBackward, Attributes{}, dy, silu.Operands[0])
}

// Activate adds an activation of x, by whichever kind of op computes it.
func (b *Builder) Activate(x *Value, a Activation) *Value {
	switch {
	case a == ActivationSiLU:
		return b.SiLU(x)
	case a.Rectifies():
		return b.first(KindReLU, Attributes{Activation: a}, x)
	}
	return b.first(KindActivate, Attributes{Activation: a}, x)
}

// ActivateBackward adds dx = dy times the derivative of the op activate. It reads the result where the derivative follows from
// that (sigmoid, hardsigmoid), since what comes next often saves it, too; else the operand.
func (b *Builder) ActivateBackward(activate *Op, dy *Value) *Value {
	a := activate.Attr.Activation
	saved := activate.Operands[0]
	if a.FromResult() {
		saved = activate.Results[0]
	}
	return b.first(KindActivateBackward, Attributes{Activation: a}, dy, saved)
}

// Add adds the elementwise sum of two values of one shape.
func (b *Builder) Add(x, y *Value) *Value { return b.first(KindAdd, Attributes{}, x, y) }

// Detach marks the boundary of a module: the result is x, and no gradient passes. Once
// gradients exist it is dropped (passes.DropDetach); it costs nothing.
func (b *Builder) Detach(x *Value) *Value { return b.first(KindDetach, Attributes{}, x) }

// Cast adds the same numbers in the other of the types f32 and bf16, rounded to
// nearest, ties to even. That of a persistent value is a copy that one kernel
// reads: workspace.
func (b *Builder) Cast(x *Value, to ElementType) *Value {
	return b.first(KindCast, Attributes{Element: to}, x)
}

// NormalizeImage adds y = (x - mean) / deviation by channel, from bytes
// [N H W C] with C at most 4 to f32. Mean and deviation are in 0..255.
func (b *Builder) NormalizeImage(x *Value, mean, deviation [4]float64) *Value {
	return b.first(KindNormalizeImage, Attributes{Mean: mean, Deviation: deviation}, x)
}

// Augment adds the random change of training images [N H W C], bytes: a border of pad pixels on all
// sides, a crop of the old size at a random place, and a mirrored row for half of the images.
// Words [N 4], s32, are random bits: of the first two words of a sample, as unsigned, word *
// (2 pad + 1) >> 32 is the row and the column of the crop; the top bit of the third says
// whether to mirror.
func (b *Builder) Augment(images, words *Value, pad int64, reflect, flip bool) *Value {
	return b.first(KindAugment, Attributes{Padding: [2]int64{pad, pad}, Reflect: reflect, Flip: flip}, images, words)
}

func augmentShape(op *Op) ([]resultType, error) {
	x, words, pad := op.Operands[0], op.Operands[1], op.Attr.Padding[0]
	if err := wantRank(4, x); err != nil {
		return nil, err
	}
	if len(words.Shape) != 2 || words.Shape[0] != x.Shape[0] || words.Shape[1] != 4 {
		return nil, fmt.Errorf("words %s: must be [%d 4]", words, x.Shape[0])
	}
	if pad < 0 || op.Attr.Reflect && pad >= min(x.Shape[1], x.Shape[2]) {
		return nil, fmt.Errorf("padding %d of images %s: must be less than their height and width", pad, x)
	}
	return []resultType{{"y", x.Shape, TypeU8, CategoryActivation}}, nil
}

func elementwiseRule(k Kind) rule {
	same := func(op *Op) ([]resultType, error) {
		x := op.Operands[0]
		category := CategoryActivation
		if op.Phase == PhaseBackward {
			category = CategoryGradient
		}
		return []resultType{{"y", x.Shape, x.Type, category}}, wantShape(x.Shape, op.Operands[1:]...)
	}
	rectified := func(op *Op) ([]resultType, error) {
		if !op.Attr.Activation.Rectifies() {
			return nil, fmt.Errorf("activation %d: must be %d or %d, which rectify",
				op.Attr.Activation, ActivationReLU, ActivationReLU6)
		}
		return same(op)
	}
	activated := func(op *Op) ([]resultType, error) {
		if a := op.Attr.Activation; a <= ActivationSiLU || a >= activationCount {
			return nil, fmt.Errorf("activation %s: must be %s to %s", a, ActivationHardswish, activationCount-1)
		}
		return same(op)
	}
	switch k {
	case KindActivate:
		return rule{operands: []string{"x"}, results: activated, inPlace: []Pair{{0, 0}}}
	case KindActivateBackward:
		return rule{operands: []string{"dy", "saved"}, results: activated, inPlace: []Pair{{0, 0}, {0, 1}}}
	case KindReLU:
		return rule{operands: []string{"x"}, results: rectified, inPlace: []Pair{{0, 0}}}
	case KindReLUBackward:
		return rule{operands: []string{"dy", "y"}, results: rectified, inPlace: []Pair{{0, 0}, {0, 1}}}
	case KindSiLU:
		return rule{operands: []string{"x"}, results: same, inPlace: []Pair{{0, 0}}}
	case KindSiLUBackward:
		return rule{operands: []string{"dy", "x"}, results: same, inPlace: []Pair{{0, 0}, {0, 1}}}
	case KindAdd:
		return rule{operands: []string{"x", "y"}, results: same, inPlace: []Pair{{0, 0}, {0, 1}}}
	case KindDetach:
		return rule{operands: []string{"x"}, results: same, inPlace: []Pair{{0, 0}}}
	case KindCast:
		return rule{operands: []string{"from"}, results: castShape}
	case KindAugment:
		return rule{operands: []string{"images", "words"}, results: augmentShape}
	default:
		return rule{operands: []string{"x"}, results: normalizeImageShape}
	}
}

// CastCategory is the category of a cast of v.
func CastCategory(v *Value) Category {
	switch {
	case v.Category.Persistent():
		return CategoryWorkspace
	case v.Category == CategoryGradient:
		return CategoryGradient
	}
	return CategoryActivation
}

func castShape(op *Op) ([]resultType, error) {
	x := op.Operands[0]
	if x.Type == op.Attr.Element {
		return nil, fmt.Errorf("cast of %s to %s: must be between f32 and bf16", x, op.Attr.Element)
	}
	return []resultType{{"y", x.Shape, op.Attr.Element, CastCategory(x)}}, nil
}

func normalizeImageShape(op *Op) ([]resultType, error) {
	x := op.Operands[0]
	if err := wantRank(4, x); err != nil {
		return nil, err
	}
	c := x.Shape[3]
	if x.Type != TypeU8 || c > 4 {
		return nil, fmt.Errorf("image %s: must be u8 with at most 4 channels", x)
	}
	for i := range c {
		if !(op.Attr.Deviation[i] > 0) {
			return nil, fmt.Errorf("deviation of channel %d is %g: must be more than 0", i, op.Attr.Deviation[i])
		}
	}
	return []resultType{{"y", x.Shape, op.Attr.Element, CategoryActivation}}, nil
}

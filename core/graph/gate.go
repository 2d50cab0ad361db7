package graph

import "fmt"

// A gate scales each channel of each sample, as squeeze-and-excitation does, and a scale each channel of all samples by a
// parameter:
//
//	gate            y[n,p,q,c] = x[n,p,q,c] * s[n,c], s = a(z): a is the sigmoid, the hardsigmoid or none
//	gate_backward   dx = dy * s; dz[n,c] = a'(z) * sum over p, q of dy * x
//	scale           y[...,c] = x[...,c] * s[c]
//	scale_backward  dx = dy * s; ds[c] = sum of dy * x over all but the channels
//
// x, y and their gradients are [N H W C], z and dz are [N 1 1 C]. Those of a scale have any shape with C last; s and ds are
// [C] and f32.

// Gate adds x scaled by the activation a of z: ActivationSigmoid, ActivationHardsigmoid or ActivationNone.
func (b *Builder) Gate(x, z *Value, a Activation) *Value {
	return b.first(KindGate, Attributes{Activation: a}, x, z)
}

// GateBackward adds the gradients of the op gate with respect to x and z.
func (b *Builder) GateBackward(gate *Op, dy *Value) (dx, dz *Value) {
	r := b.add(KindGateBackward, Attributes{Activation: gate.Attr.Activation}, dy, gate.Operands[0], gate.Operands[1])
	return r[0], r[1]
}

// Scale adds x with channel c multiplied by s[c].
func (b *Builder) Scale(x, s *Value) *Value { return b.first(KindScale, Attributes{}, x, s) }

// ScaleBackward adds the gradients of the op scale with respect to x and s.
func (b *Builder) ScaleBackward(scale *Op, dy *Value) (dx, ds *Value) {
	r := b.add(KindScaleBackward, Attributes{}, dy, scale.Operands[0], scale.Operands[1])
	return r[0], r[1]
}

func gateRule(k Kind) rule {
	// Element i of dy and x is read before element i of a result is written.
	forward, backward := []Pair{{0, 0}}, []Pair{{0, 0}, {0, 1}}
	switch k {
	case KindGate:
		return rule{operands: []string{"x", "z"}, inPlace: forward, results: func(op *Op) ([]resultType, error) {
			x := op.Operands[0]
			return []resultType{{"y", x.Shape, x.Type, CategoryActivation}}, op.wantGate(x, op.Operands[1])
		}}
	case KindGateBackward:
		return rule{operands: []string{"dy", "x", "z"}, inPlace: backward, results: func(op *Op) ([]resultType, error) {
			dy, x, z := op.Operands[0], op.Operands[1], op.Operands[2]
			if err := op.wantGate(x, z); err != nil {
				return nil, err
			}
			return []resultType{{"dx", x.Shape, x.Type, CategoryGradient}, {"dz", z.Shape, z.Type, CategoryGradient}},
				wantShape(x.Shape, dy)
		}}
	case KindScale:
		return rule{operands: []string{"x", "s"}, inPlace: forward, results: func(op *Op) ([]resultType, error) {
			x := op.Operands[0]
			return []resultType{{"y", x.Shape, x.Type, CategoryActivation}}, wantRows(x, op.Operands[1])
		}}
	}
	return rule{operands: []string{"dy", "x", "s"}, inPlace: backward, results: func(op *Op) ([]resultType, error) {
		dy, x, s := op.Operands[0], op.Operands[1], op.Operands[2]
		if err := wantRows(x, s); err != nil {
			return nil, err
		}
		return []resultType{{"dx", x.Shape, x.Type, CategoryGradient}, {"ds", s.Shape, TypeF32, CategoryGradient}},
			wantShape(x.Shape, dy)
	}}
}

func (op *Op) wantGate(x, z *Value) error {
	if a := op.Attr.Activation; a != ActivationNone && a != ActivationSigmoid && a != ActivationHardsigmoid {
		return fmt.Errorf("activation %s: must be %s, %s or %s", a, ActivationNone, ActivationSigmoid, ActivationHardsigmoid)
	}
	if err := wantRank(4, x, z); err != nil {
		return err
	}
	if want := (Shape{x.Shape[0], 1, 1, x.Shape[3]}); !z.Shape.Equal(want) {
		return fmt.Errorf("gate %s of %s: must be %s", z.Shape, x.Shape, want)
	}
	return nil
}

// wantRows checks that x has rows of channels, and the vectors an element for each of them.
func wantRows(x *Value, vectors ...*Value) error {
	if len(x.Shape) < 2 {
		return fmt.Errorf("shape %s: must have at least 2 dimensions, channels last", x.Shape)
	}
	return wantVectors(x.Shape[len(x.Shape)-1], vectors...)
}

package graph

import "fmt"

// A gate scales each channel of each sample, as squeeze-and-excitation does:
//
//	gate           y[n,p,q,c] = x[n,p,q,c] * s[n,c], s = 1 / (1 + exp(-z))
//	gate_backward  dx = dy * s; dz[n,c] = s * (1-s) * sum over p, q of dy * x
//
// x, y and their gradients are [N H W C], z and dz are [N 1 1 C].

// Gate adds x scaled by the sigmoid of z.
func (b *Builder) Gate(x, z *Value) *Value { return b.first(KindGate, Attributes{}, x, z) }

// GateBackward adds the gradients of the op gate with respect to x and z.
func (b *Builder) GateBackward(gate *Op, dy *Value) (dx, dz *Value) {
	r := b.add(KindGateBackward, Attributes{}, dy, gate.Operands[0], gate.Operands[1])
	return r[0], r[1]
}

func gateRule(k Kind) rule {
	if k == KindGate {
		return rule{operands: []string{"x", "z"}, inPlace: []Pair{{0, 0}}, results: func(op *Op) ([]resultType, error) {
			x, z := op.Operands[0], op.Operands[1]
			return []resultType{{"y", x.Shape, x.Type, CategoryActivation}}, wantGate(x, z)
		}}
	}
	// Element i of dy and x is read before element i of dx is written.
	return rule{operands: []string{"dy", "x", "z"}, inPlace: []Pair{{0, 0}, {0, 1}}, results: func(op *Op) ([]resultType, error) {
		dy, x, z := op.Operands[0], op.Operands[1], op.Operands[2]
		if err := wantGate(x, z); err != nil {
			return nil, err
		}
		return []resultType{{"dx", x.Shape, x.Type, CategoryGradient}, {"dz", z.Shape, z.Type, CategoryGradient}}, wantShape(x.Shape, dy)
	}}
}

func wantGate(x, z *Value) error {
	if err := wantRank(4, x, z); err != nil {
		return err
	}
	if want := (Shape{x.Shape[0], 1, 1, x.Shape[3]}); !z.Shape.Equal(want) {
		return fmt.Errorf("gate %s of %s: must be %s", z.Shape, x.Shape, want)
	}
	return nil
}

package graph

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// The element types of operands are in the table of kinds. Activations, their
// gradients and the weights of convolutions and linear layers are tensors: f32 or
// bf16, all of an op the same. What sums or decides is f32: statistics, the vectors
// of normalisations, biases, logits, probabilities, losses, and all that outlives a
// step.

// OperandTypes lists the element types that operand i may have on its own: the tensors
// of one op must also agree.
func (op *Op) OperandTypes(i int) []ElementType {
	switch op.letter(i) {
	case 's':
		return []ElementType{TypeS32}
	case 'u':
		return []ElementType{TypeU8}
	case 'e', 't':
		return []ElementType{TypeF32, TypeBF16}
	}
	return []ElementType{TypeF32}
}

// Tensor reports whether operand i is one of those that share the op's element type.
func (op *Op) Tensor(i int) bool { return op.letter(i) == 't' }

// letter is the element type of operand i in the table of kinds, in lower case.
func (op *Op) letter(i int) byte {
	letters := strings.TrimSuffix(op.Kind.row().operands, "+")
	return letters[min(i, len(letters)-1)] | 0x20
}

// role names operand i.
func (op *Op) role(i int) string {
	roles := op.Kind.Roles()
	return roles[min(i, len(roles)-1)]
}

// checkElements tests the element types of the operands.
func (op *Op) checkElements() error {
	var first *Value
	for i, v := range op.Operands {
		if v == nil {
			continue
		}
		if types := op.OperandTypes(i); !slices.Contains(types, v.Type) {
			return fmt.Errorf("operand %s is %s: must be %s",
				op.role(i), v, strings.ReplaceAll(strings.Trim(fmt.Sprint(types), "[]"), " ", " or "))
		}
		if !op.Tensor(i) {
			continue
		}
		if first == nil {
			first = v
		}
		if v.Type != first.Type {
			return fmt.Errorf("operand %s is %s: must be %s, as %s is", op.role(i), v, first.Type, first.Name)
		}
	}
	if e := op.Attr.Element; e != TypeF32 && e != TypeBF16 {
		return fmt.Errorf("result of type %s: must be f32 or bf16", e)
	}
	return nil
}

// Retype gives the results the element types that follow from the operands and the
// attributes, after those have changed.
func (op *Op) Retype() error {
	types, err := op.infer()
	if err != nil {
		return err
	}
	for i, t := range types {
		op.Results[i].Type = t.element
	}
	return nil
}

// BF16 rounds x to bf16, to the nearest and in a tie to the even one: its bits.
func BF16(x float32) uint16 {
	u := math.Float32bits(x)
	if x != x {
		return uint16(u>>16) | 0x40 // NaN stays NaN
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

// FromBF16 returns the number with the given bits in bf16.
func FromBF16(bits uint16) float32 { return math.Float32frombits(uint32(bits) << 16) }

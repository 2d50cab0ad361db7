package optest

import (
	"fmt"
	"math"
	"slices"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/rng"
)

// mostNarrowed bounds the elements of the first operand of a case in bf16: enough
// for several blocks of any kernel.
const mostNarrowed = 1 << 14

// narrowed returns the smaller cases in bf16, where the kind allows it: the tensors of the op are
// bf16, and so are results whose type does not follow from the operands. As in f32, there are
// channels that do not fill 16 bytes (3, 10, 12, 17).
func narrowed(cases []Case) []Case {
	var out []Case
	for _, c := range cases {
		c.Element, c.Name = graph.TypeBF16, c.Name+", bf16"
		g, err := c.Graph()
		if err != nil && c.Shares != nil {
			continue // a result in place of an operand of another size
		}
		if err != nil {
			out = append(out, c) // Graph returns the error
			continue
		}
		op := g.Ops[0]
		all := slices.Concat(op.Operands, op.Results)
		isNarrow := func(v *graph.Value) bool { return v != nil && v.Type == graph.TypeBF16 }
		if op.Operands[0].Shape.Elements() <= mostNarrowed && slices.ContainsFunc(all, isNarrow) {
			out = append(out, c)
		}
	}
	return out
}

// retype gives the operands and results of op the types that they have in the case.
func (c Case) retype(op *graph.Op) error {
	if c.Element == graph.TypeF32 {
		return nil
	}
	if c.Kind != graph.KindCast {
		for i, v := range op.Operands {
			if v != nil && slices.Contains(op.OperandTypes(i), c.Element) {
				v.Type = c.Element
			}
		}
		op.Attr.Element = c.Element
	}
	return op.Retype()
}

// castCases round numbers of many sizes: a quarter of ten bits are ties.
func castCases() []Case {
	ties := each(func(s rng.Stream, i uint64) float64 {
		return math.Ldexp(float64(1<<9|s.Uint32(i)%(1<<9)), int(i%200)-100)
	})
	var out []Case
	for _, s := range []struct {
		name  string
		shape []int64
		fill  fill
	}{
		{"one element", []int64{1}, normal(0, 1)},
		{"7 elements", []int64{7}, normal(0, 1)},
		{"a weight of 3 channels", []int64{10, 3, 3, 3}, normal(0, 0.1)},
		{"3x5x7x12", []int64{3, 5, 7, 12}, normal(0, 1)},
		{"ties, of many sizes", []int64{257, 17}, ties},
		{"70000 elements", []int64{70000}, normal(0, 1)},
	} {
		for _, to := range []graph.ElementType{graph.TypeBF16, graph.TypeF32} {
			from := graph.TypeBF16
			if to == graph.TypeBF16 {
				from = graph.TypeF32
			}
			name := fmt.Sprintf("%s, %s to %s", s.name, from, to)
			out = append(out, Case{Name: name, Kind: graph.KindCast, Element: graph.TypeBF16, build: func(p *program) {
				p.Cast(p.typed("from", from, s.fill, s.shape...), to)
			}})
		}
	}
	return out
}

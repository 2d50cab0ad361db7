package passes

import (
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// Mixed rewrites an f32 step into one of mixed precision: the tensors of every op
// (graph.Op.Tensor) are bf16, so activations, their gradients and the gradients of
// their weights take half the bytes. By their role these stay f32: master
// weights and all other state, statistics, the vectors of normalisations and their
// gradients, biases, logits, probabilities, losses. bf16 has the exponent range of f32, so
// no loss scaling is needed.
//
// Casts are inserted before ops that read the other type:
//   - Of a weight, before each op that reads it: the bf16 copy is alive for that op only,
//     rather than from the forward to the backward pass, at the cost of one more read
//     of the weight, which is small compared with the activations.
//   - Of an activation (logits), once in the forward and once in the backward pass:
//     the bf16 value is saved in between.
//   - Of a gradient, once.
//
// It runs when the list of ops and the categories are final, and before InPlace: values that
// alias have the same type.
func Mixed(g *graph.Graph) error {
	m := mixer{graph: g, casts: map[castKey]*graph.Value{}, names: map[string]int{}}
	for _, op := range g.Ops {
		if err := m.rewrite(op); err != nil {
			return fmt.Errorf("mixed: %s at %s: %w", op.Kind, op.Scope, err)
		}
	}
	g.Ops = m.ops
	return nil
}

// castKey identifies a cast that later ops may read, too.
type castKey struct {
	value    *graph.Value
	backward bool
}

// mixer is the state of Mixed.
type mixer struct {
	graph *graph.Graph
	ops   []*graph.Op
	casts map[castKey]*graph.Value
	names map[string]int
}

// rewrite gives op its operands in the types that it reads, and its results their types.
func (m *mixer) rewrite(op *graph.Op) error {
	for i, v := range op.Operands {
		switch {
		case v == nil:
		case op.Tensor(i) && v.Type == graph.TypeF32:
			op.Operands[i] = m.cast(v, graph.TypeBF16, op)
		case v.Type == graph.TypeBF16 && !slices.Contains(op.OperandTypes(i), v.Type):
			op.Operands[i] = m.cast(v, graph.TypeF32, op)
		}
	}
	switch op.Kind {
	case graph.KindNormalizeImage, graph.KindCrossEntropyBackward, graph.KindBinaryCrossEntropyBackward:
		op.Attr.Element = graph.TypeBF16
	}
	m.ops = append(m.ops, op)
	return op.Retype()
}

// cast returns v in the type that op reads: an existing cast, or a new one.
func (m *mixer) cast(v *graph.Value, to graph.ElementType, op *graph.Op) *graph.Value {
	key := castKey{v, op.Phase == graph.PhaseBackward}
	if c := m.casts[key]; c != nil {
		return c
	}
	c := &graph.Value{ID: len(m.graph.Values), Name: m.name(v, to), Scope: op.Scope, Module: op.Module,
		Shape: v.Shape, Type: to, Category: graph.CastCategory(v)}
	m.graph.Values = append(m.graph.Values, c)
	m.ops = append(m.ops, &graph.Op{Kind: graph.KindCast, Operands: []*graph.Value{v}, Results: []*graph.Value{c},
		Attr: graph.Attributes{Element: to}, Scope: op.Scope, Module: op.Module, Phase: op.Phase})
	if !v.Category.Persistent() {
		m.casts[key] = c
	}
	return c
}

// name names a cast; those of one value are numbered from the second.
func (m *mixer) name(v *graph.Value, to graph.ElementType) string {
	if m.names[v.Name]++; m.names[v.Name] > 1 {
		return fmt.Sprintf("%s as %s#%d", v.Name, to, m.names[v.Name])
	}
	return fmt.Sprintf("%s as %s", v.Name, to)
}

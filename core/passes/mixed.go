package passes

import (
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// Mixed rewrites an f32 step into one of mixed precision: the tensors of every op
// (graph.Op.Tensor) are bf16, so activations, their gradients and the gradients of
// the weights they meet take half the bytes. What is f32 by its role stays so: master
// weights and all other state, statistics, the vectors of normalisations and their
// gradients, biases, logits, probabilities, losses. bf16 has the range of f32, so
// gradients need no scaling.
//
// Where an op reads the other type, a cast stands before it:
//   - Of a weight, before each op that reads it: the copy lives for that op alone,
//     rather than from the forward to the backward pass, and costs one more pass
//     over the weight, which is small beside the activations.
//   - Of an activation (logits), once in the forward and once in the backward pass:
//     what is saved in between is the bf16 value.
//   - Of a gradient, once.
//
// It runs when the list of ops and the categories stand, and before InPlace: what
// shares storage must agree in type.
func Mixed(g *graph.Graph) error {
	m := mixer{graph: g, copies: map[copyOf]*graph.Value{}, names: map[string]int{}}
	for _, op := range g.Ops {
		if err := m.rewrite(op); err != nil {
			return fmt.Errorf("mixed: %s at %s: %w", op.Kind, op.Scope, err)
		}
	}
	g.Ops = m.ops
	return nil
}

// copyOf names a cast that later ops may read, too.
type copyOf struct {
	value    *graph.Value
	backward bool
}

type mixer struct {
	graph  *graph.Graph
	ops    []*graph.Op
	copies map[copyOf]*graph.Value
	names  map[string]int
}

// rewrite gives op its operands in the types that it reads and its results theirs.
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

// cast returns v in the type that op reads: a copy that is there, or a new one.
func (m *mixer) cast(v *graph.Value, to graph.ElementType, op *graph.Op) *graph.Value {
	key := copyOf{v, op.Phase == graph.PhaseBackward}
	if c := m.copies[key]; c != nil {
		return c
	}
	c := &graph.Value{ID: len(m.graph.Values), Name: m.name(v, to), Scope: op.Scope, Module: op.Module,
		Shape: v.Shape, Type: to, Category: graph.CastCategory(v)}
	m.graph.Values = append(m.graph.Values, c)
	m.ops = append(m.ops, &graph.Op{Kind: graph.KindCast, Operands: []*graph.Value{v}, Results: []*graph.Value{c},
		Attr: graph.Attributes{Element: to}, Scope: op.Scope, Module: op.Module, Phase: op.Phase})
	if !v.Category.Persistent() {
		m.copies[key] = c
	}
	return c
}

// name names a copy; those of one value are numbered from the second.
func (m *mixer) name(v *graph.Value, to graph.ElementType) string {
	if m.names[v.Name]++; m.names[v.Name] > 1 {
		return fmt.Sprintf("%s as %s#%d", v.Name, to, m.names[v.Name])
	}
	return fmt.Sprintf("%s as %s", v.Name, to)
}

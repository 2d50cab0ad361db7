package graph

import "fmt"

// Verify checks every invariant that later stages rely on and returns the first
// violation: ids are positions, operands are defined before use, shapes are
// what the kind infers, values are written once, updated state is not read
// again, a result aliases an operand only where the kind allows it and no later op
// reads the operand.
func (g *Graph) Verify() error {
	for i, v := range g.Values {
		if v.ID != i {
			return fmt.Errorf("value %q has id %d at position %d", v.Name, v.ID, i)
		}
	}
	defined := map[*Value]bool{}
	for _, v := range g.Values {
		if v.Category.Persistent() || v.Category == CategoryInput {
			defined[v] = true
		}
	}
	updated := map[*Value]int{}
	for i, op := range g.Ops {
		if err := g.verifyOp(op, defined, updated); err != nil {
			return fmt.Errorf("op %d %s at %s: %w", i, op.Kind, op.Scope, err)
		}
		for _, v := range op.Mutates() {
			updated[v] = i
		}
	}
	for _, v := range g.Outputs {
		if !defined[v] {
			return fmt.Errorf("output %q is made by no op", v.Name)
		}
	}
	if err := g.verifySharing(); err != nil {
		return err
	}
	return g.verifyStreams()
}

func (g *Graph) verifyOp(op *Op, defined map[*Value]bool, updated map[*Value]int) error {
	for _, v := range op.Operands {
		if v == nil {
			continue
		}
		if v.ID >= len(g.Values) || g.Values[v.ID] != v {
			return fmt.Errorf("operand %q is not a value of this graph", v.Name)
		}
		if !defined[v] {
			return fmt.Errorf("operand %q is read before it is made", v.Name)
		}
		if at, ok := updated[v]; ok {
			return fmt.Errorf("operand %q is read after op %d updated it", v.Name, at)
		}
	}
	types, err := op.infer()
	if err != nil {
		return err
	}
	if len(types) != len(op.Results) {
		return fmt.Errorf("%d results: must be %d", len(op.Results), len(types))
	}
	for i, v := range op.Results {
		if defined[v] {
			return fmt.Errorf("result %q is made twice", v.Name)
		}
		if !v.Shape.Equal(types[i].shape) || v.Type != types[i].element {
			return fmt.Errorf("result %s: must be %s[%s]", v, types[i].element, types[i].shape)
		}
		defined[v] = true
	}
	for _, v := range op.Mutates() {
		if !v.Category.Persistent() {
			return fmt.Errorf("updates %q, which is %s and does not outlive the step", v.Name, v.Category)
		}
	}
	return nil
}

// verifySharing checks every in-place decision.
func (g *Graph) verifySharing() error {
	last := g.LastUse()
	for i, op := range g.Ops {
		taken := map[*Value]bool{}
		for r, v := range op.Results {
			if v.Shares == nil {
				continue
			}
			if !op.allows(r, v.Shares) {
				return fmt.Errorf("op %d %s at %s: result %q may not alias %q", i, op.Kind, op.Scope, v.Name, v.Shares.Name)
			}
			if v.Shares.Category.Persistent() || last[v.Shares.ID] != i {
				return fmt.Errorf("op %d %s at %s: result %q aliases %q, which is read later",
					i, op.Kind, op.Scope, v.Name, v.Shares.Name)
			}
			if taken[v.Shares] {
				return fmt.Errorf("op %d %s at %s: two results alias %q", i, op.Kind, op.Scope, v.Shares.Name)
			}
			taken[v.Shares] = true
		}
	}
	return nil
}

func (op *Op) allows(result int, operand *Value) bool {
	for _, p := range op.InPlace() {
		if p.Result == result && op.Operands[p.Operand] == operand {
			return true
		}
	}
	return false
}

// LastUse returns, by value id, the index of the last op that reads the value
// (or makes it, if none reads it). Outputs and persistent values are used by
// the end: len(Ops).
func (g *Graph) LastUse() []int {
	last := make([]int, len(g.Values))
	for i, op := range g.Ops {
		for _, v := range op.Operands {
			if v != nil {
				last[v.ID] = i
			}
		}
		for _, v := range op.Results {
			last[v.ID] = i
		}
	}
	for _, v := range g.Values {
		if v.Category.Persistent() {
			last[v.ID] = len(g.Ops)
		}
	}
	for _, v := range g.Outputs {
		last[v.ID] = len(g.Ops)
	}
	return last
}

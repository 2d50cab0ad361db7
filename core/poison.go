package core

import (
	"math"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
)

// Poison makes a program run op by op and overwrite each value after the last op that uses
// it: f32 and bf16 with NaN, bytes with a pattern. If the plan ends a lifetime
// too early, or a kernel reads a dead value, the result changes; otherwise it stays the
// same to the bit. It is slow, and tests the plan on any backend.
func Poison(p *Program) {
	g := p.Graph
	dead := make([][]*graph.Value, len(g.Ops))
	last, aliased := g.LastUse(), map[*graph.Value]bool{}
	for _, v := range g.Values {
		if v.Shares != nil {
			aliased[v.Shares] = true // its bytes stay in use
		}
	}
	for _, v := range g.Values {
		// Labels are not overwritten: backends refuse invalid classes.
		if !v.Category.Persistent() && !aliased[v] && v.Type != graph.TypeS32 && last[v.ID] < len(g.Ops) && p.Layout.Offset[v.ID] >= 0 {
			dead[last[v.ID]] = append(dead[last[v.ID]], v)
		}
	}
	p.Program = &poisoned{p.Program, dead}
}

// poisoned is a program whose values are overwritten when they die.
type poisoned struct {
	engine.Program
	dead [][]*graph.Value // by op
}

// Run runs the ops one by one.
func (p *poisoned) Run(first, last int) error {
	for i := first; i < last; i++ {
		if err := p.Program.Run(i, i+1); err != nil {
			return err
		}
		for _, v := range p.dead[i] {
			if err := p.Write(v, poison(v)); err != nil {
				return err
			}
		}
	}
	return nil
}

// poison is content that changes every result computed from it.
func poison(v *graph.Value) any {
	n := v.Shape.Elements()
	if v.Type == graph.TypeU8 {
		octets := make([]byte, n)
		for i := range octets {
			octets[i] = 0xa5
		}
		return octets
	}
	if v.Type == graph.TypeBF16 {
		bits := make([]uint16, n)
		for i := range bits {
			bits[i] = 0xffff
		}
		return bits
	}
	numbers := make([]float32, n)
	for i := range numbers {
		numbers[i] = float32(math.NaN())
	}
	return numbers
}

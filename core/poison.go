package core

import (
	"math"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
)

// Poison makes a program run op by op and overwrite each value behind the last op that uses
// it: f32 and bf16 with what is not a number, bytes with a pattern. A step whose plan ends a lifetime
// too early, or whose kernel reads what is dead, then gives another result; any other gives the
// same bits. It is slow, and proves the plan on any backend.
func Poison(p *Program) {
	g := p.Graph
	dead := make([][]*graph.Value, len(g.Ops))
	last, taken := g.LastUse(), map[*graph.Value]bool{}
	for _, v := range g.Values {
		if v.Shares != nil {
			taken[v.Shares] = true // its storage lives on
		}
	}
	for _, v := range g.Values {
		// Labels are left alone: backends refuse what is no class.
		if !v.Category.Persistent() && !taken[v] && v.Type != graph.TypeS32 && last[v.ID] < len(g.Ops) && p.Layout.Offset[v.ID] >= 0 {
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

// poison is content that shows in whatever it flows into.
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

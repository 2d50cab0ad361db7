// Package core is the way of the data from stages to a program that runs: one
// function, one line a stage. What goes in is what a method made of a network
// (model.Stage); what comes out has every byte placed and every kernel chosen,
// and has allocated nothing yet.
package core

import (
	"fmt"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/plan"
)

// Program is a step program that is ready to be bound to an arena.
type Program struct {
	*Step
	engine.Program
	Layout  *plan.Layout
	Profile *plan.Profile
}

// Compile chooses kernels on the device, gives every value and every scratch
// buffer an offset, and measures the profile. Programs of one model share an
// arena: pass the training program as base, and parameters, running
// statistics and optimizer state lie where base has them. A program with a base is
// planned no smaller than base, because the arena has to hold both.
func Compile(d engine.Device, s *Step, base *Program) (*Program, error) {
	prepared, err := d.Prepare(s.Graph)
	if err != nil {
		return nil, err
	}
	p := &Program{Step: s, Program: prepared}
	if err := p.place(base); err != nil {
		prepared.Close()
		return nil, err
	}
	return p, nil
}

// place plans the arena and checks the plan with code that is not the planner's.
func (p *Program) place(base *Program) error {
	o := plan.Options{Scatter: p.Scatter}
	if base != nil {
		o.Persistent, o.Enough = base.Layout.Persistent(), base.Layout.ArenaBytes()
	}
	scratch := p.Scratch()
	layout, err := plan.New(p.Graph, scratch, o)
	if err != nil {
		return err
	}
	if err := layout.Check(p.Graph, scratch); err != nil {
		return err
	}
	p.Layout, p.Profile = layout, plan.Measure(p.Graph, scratch, layout)
	return nil
}

// ArenaBytes is the size of the one arena that is large enough for each of the programs.
func ArenaBytes(programs ...*Program) (bytes int64) {
	for _, p := range programs {
		bytes = max(bytes, p.Layout.ArenaBytes())
	}
	return bytes
}

// Arena allocates one arena of ArenaBytes and binds all programs to it.
func Arena(d engine.Device, programs ...*Program) (engine.Arena, error) {
	arena, err := d.NewArena(ArenaBytes(programs...))
	if err != nil {
		return nil, err
	}
	for _, p := range programs {
		if err := p.Bind(arena, p.Layout.Offset, p.Layout.WorkspaceOffset); err != nil {
			arena.Close()
			return nil, fmt.Errorf("compile: %w", err)
		}
	}
	return arena, nil
}

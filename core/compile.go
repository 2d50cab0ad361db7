// Package core compiles the stages that a method made of a network into a program that can run:
//
//  1. TrainingStep and EvaluationStep write the step program: forward, losses, backward (core/autodiff), updates.
//  2. Passes rewrite it (core/passes); the verifier checks it after each one (graph.Verify).
//  3. Compile has the device choose a kernel, and its workspace, for each op.
//  4. core/plan gives every byte its offset in one arena, and independent code checks that layout.
//  5. Arena allocates, once, and binds programs to the arena.
//
// Until step 5 nothing is allocated: the memory of a program is known before it runs.
package core

import (
	"fmt"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/plan"
)

// Program is a compiled step program that can be bound to an arena.
type Program struct {
	*Step
	engine.Program
	Layout  *plan.Layout
	Profile *plan.Profile
}

// Compile chooses kernels on the device, gives every value and every workspace
// an offset, and measures the profile. Programs of one model share an
// arena: pass the training program as base, and parameters, running
// statistics and optimizer state get the same offsets as in base. The search for a small layout ends at
// the size of base, because the arena has to hold both.
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

// place plans the arena, and checks the plan with code that is independent of the planner.
func (p *Program) place(base *Program) error {
	o := plan.Options{Scatter: p.Scatter}
	if base != nil {
		o.Persistent, o.Enough = base.Layout.Persistent(), base.Layout.ArenaBytes()
	}
	workspaces := p.Scratch()
	layout, err := plan.New(p.Graph, workspaces, o)
	if err != nil {
		return err
	}
	if err := layout.Check(p.Graph, workspaces); err != nil {
		return err
	}
	p.Layout, p.Profile = layout, plan.Measure(p.Graph, workspaces, layout)
	return nil
}

// ArenaBytes is the size of an arena that is large enough for each of the programs.
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

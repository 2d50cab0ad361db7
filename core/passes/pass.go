package passes

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
)

// Pass is a named rewriting of a whole program. It leaves a program that graph.Verify accepts, or fails.
type Pass struct {
	Name string // as `benchctl plan --dump` takes it: "mark-saved"
	Run  func(*graph.Graph) error
}

// Apply runs the passes in order. After is called with the program after each pass; its error, like that of a pass,
// ends Apply and is reported with the name of the pass.
func Apply(g *graph.Graph, list []Pass, after func(p Pass, g *graph.Graph) error) error {
	for _, p := range list {
		if err := p.Run(g); err != nil {
			return fmt.Errorf("pass %s: %w", p.Name, err)
		}
		if err := after(p, g); err != nil {
			return fmt.Errorf("after pass %s: %w", p.Name, err)
		}
	}
	return nil
}

// Always makes a pass of a rewriting that can't fail.
func Always(name string, rewrite func(*graph.Graph)) Pass {
	return Pass{name, func(g *graph.Graph) error {
		rewrite(g)
		return nil
	}}
}

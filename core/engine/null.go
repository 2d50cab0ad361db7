package engine

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
)

// nullDevice can plan, but has no memory: its ops need no workspace and cannot
// run. It serves to look at programs of any size on any machine.
type nullDevice struct{}

func openNull(Options) (Device, error) { return nullDevice{}, nil }

// Name is "null".
func (nullDevice) Name() string { return "null" }

// Facts is empty.
func (nullDevice) Facts() map[string]string { return map[string]string{} }

// Close does nothing.
func (nullDevice) Close() error { return nil }

// Prepare accepts every graph.
func (nullDevice) Prepare(g *graph.Graph) (Program, error) { return nullProgram{len(g.Ops)}, nil }

// NewArena fails: there is no memory here.
func (nullDevice) NewArena(bytes int64) (Arena, error) { return nil, errNull("hold an arena") }

type nullProgram struct{ ops int }

func errNull(what string) error {
	return fmt.Errorf("the null backend can only plan: it cannot %s", what)
}

// Scratch is zero for every op.
func (p nullProgram) Scratch() []int64 { return make([]int64, p.ops) }

// Kernels are empty names.
func (p nullProgram) Kernels() []string { return make([]string, p.ops) }

// Bind fails.
func (nullProgram) Bind(Arena, []int64, []int64) error { return errNull("bind a program") }

// Write fails.
func (nullProgram) Write(*graph.Value, any) error { return errNull("hold values") }

// Read fails.
func (nullProgram) Read(*graph.Value, any) error { return errNull("hold values") }

// WriteAt fails.
func (nullProgram) WriteAt(*graph.Value, int64, any) error { return errNull("hold values") }

// ReadAt fails.
func (nullProgram) ReadAt(*graph.Value, int64, any) error { return errNull("hold values") }

// Run fails.
func (nullProgram) Run(int, int) error { return errNull("run") }

// Trace is zero for every op.
func (p nullProgram) Trace(bool) []float64 { return make([]float64, p.ops) }

// Close does nothing.
func (nullProgram) Close() error { return nil }

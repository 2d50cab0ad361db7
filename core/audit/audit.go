// Package audit proves of a training step that its local modules are what they
// claim to be: no gradient crosses a border, and nothing of a module is alive when
// the next one has its peak. Where that does not hold it names the tensor. It reads
// the program and the plan and shares no code with what wrote them. Where modules run
// side by side it looks at the order of the program: what has to be kept, not what
// is kept to gain time.
package audit

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/plan"
)

// Finding is one breach of the isolation of modules.
type Finding struct {
	Module int    // whose isolation is broken
	Tensor string // the value that breaks it
	Bytes  int64  // its size; 0 where size is not the point
	What   string // a sentence
}

// Step audits a step. Allocations and timeline are its plan's.
func Step(g *graph.Graph, allocations []plan.Allocation, timeline []plan.Sample) []Finding {
	return append(crossings(g), leftovers(g, allocations, timeline)...)
}

// crossings finds ops that read a gradient of another module, and backward ops that
// read what a later module made.
func crossings(g *graph.Graph) []Finding {
	var found []Finding
	for i, op := range g.Ops {
		if op.Phase != graph.PhaseBackward && op.Phase != graph.PhaseUpdate {
			continue
		}
		for _, v := range op.Operands {
			if v == nil || v.Module == op.Module || v.Module == graph.NoModule {
				continue
			}
			switch {
			case v.Category == graph.CategoryGradient:
				found = append(found, Finding{op.Module, v.Name, 0, fmt.Sprintf(
					"a gradient of module %d reaches module %d: op %d, %s at %s, reads it", v.Module, op.Module, i, op.Kind, op.Scope)})
			case op.Phase == graph.PhaseBackward && v.Module > op.Module:
				found = append(found, Finding{op.Module, v.Name, 0, fmt.Sprintf(
					"the backward pass of module %d reads what module %d made: op %d, %s at %s", op.Module, v.Module, i, op.Kind, op.Scope)})
			}
		}
	}
	return found
}

// leftovers finds activations and gradients of a module that are alive at the peak of
// the next one. The module's result, which the next one reads, may be.
func leftovers(g *graph.Graph, allocations []plan.Allocation, timeline []plan.Sample) []Finding {
	peaks := map[int]int{} // op at the peak, by module
	for i, op := range g.Ops {
		if at, ok := peaks[op.Module]; !ok || timeline[i].Total() > timeline[at].Total() {
			peaks[op.Module] = i
		}
	}
	// The result of a module is what a later one reads first; if it reads more, that
	// is a finding.
	passed, reader := map[string]bool{}, map[int]bool{}
	for _, op := range g.Ops {
		for _, v := range op.Operands {
			if v != nil && op.Phase == graph.PhaseForward && v.Module >= 0 && v.Module < op.Module && !reader[op.Module] {
				passed[v.Name], reader[op.Module] = true, true
			}
		}
	}
	var found []Finding
	for _, a := range allocations {
		if a.Category.Persistent() || a.Category == graph.CategoryInput || a.Module < 0 || passed[a.Name] || output(g, a.Name) {
			continue
		}
		next, ok := peaks[a.Module+1]
		if ok && a.From <= next && next <= a.To {
			found = append(found, Finding{a.Module, a.Name, a.Bytes, fmt.Sprintf(
				"%d bytes of module %d are alive at the peak of module %d, op %d", a.Bytes, a.Module, a.Module+1, next)})
		}
	}
	return found
}

// output says whether the value is kept to be read after the step: losses and counts.
func output(g *graph.Graph, name string) bool {
	for _, v := range g.Outputs {
		if v.Name == name {
			return true
		}
	}
	return false
}

// Package audit proves that the local modules of a training step are isolated: no gradient crosses
// from one to another, and nothing of a module is alive at the peak of
// the next one. It names the tensors that break this. It reads
// the program and the plan, and shares no code with the packages that wrote them. For modules that
// overlap it checks program order: what has to be kept alive, not what overlapping keeps in addition.
package audit

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/plan"
)

// Finding is one violation of the isolation of modules.
type Finding struct {
	Module int    // whose isolation is broken
	Tensor string // the value that breaks it
	Bytes  int64  // its size; 0 where the finding is not about bytes
	What   string // a sentence
}

// Step audits a step. Allocations and timeline are those of its plan.
func Step(g *graph.Graph, allocations []plan.Allocation, timeline []plan.Sample) []Finding {
	return append(crossings(g), leftovers(g, allocations, timeline)...)
}

// crossings finds ops that read a gradient of another module, and backward ops that
// read a value of a later module.
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
	// The result of a module is the first value that a later one reads; any further value
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

// output reports whether the value is kept to be read after the step: losses and counts.
func output(g *graph.Graph, name string) bool {
	for _, v := range g.Outputs {
		if v.Name == name {
			return true
		}
	}
	return false
}

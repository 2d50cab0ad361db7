package suite

import (
	"fmt"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/planbook"
	"github.com/localbench/localbench/suite/datasets"
)

// Plan is the compiled run as plain data, for reports.
func (c *Compiled) Plan() results.Plan {
	p := results.Plan{Spec: c.Spec, Settings: c.Settings, LocalModules: int64(ModuleCount(c.Spec)), Model: c.Model, Memory: c.Memory,
		FragmentationBytes: c.Profile.FragmentationBytes, Timeline: map[string][]int64{}, Recomputed: int64(c.Again),
		UnknownWorkspaces: int64(c.UnknownWorkspaces)}
	for _, s := range c.Profile.ByScope {
		p.ByScope = append(p.ByScope, results.ScopeBytes(s))
	}
	for _, category := range graph.Categories() {
		line := make([]int64, len(c.Profile.Timeline))
		for op, sample := range c.Profile.Timeline {
			line[op] = sample[category]
		}
		p.Timeline[category.String()] = line
	}
	for i, op := range c.Step.Graph.Ops {
		switch op.Kind {
		case graph.KindConv, graph.KindConvBackwardData, graph.KindConvBackwardWeights,
			graph.KindLinear, graph.KindLinearBackwardData, graph.KindLinearBackwardWeights:
			p.Kernels = append(p.Kernels, results.Kernel{Op: i, Kind: op.Kind.String(), Name: c.Kernels[i], WorkspaceBytes: c.Scratch[i],
				Operands: fmt.Sprintf("%s, %s", op.Operands[0].Shape, op.Operands[1].Shape)})
		}
	}
	return p
}

// Plans compiles specs on a device, and with them the runs that they are compared with: without overlapping modules and
// without a budget.
func Plans(d engine.Device, specs []results.Spec, job JobOptions) (plans []results.Plan, compiled []*Compiled, err error) {
	of := func(s results.Spec, job JobOptions) (*Compiled, error) {
		c, err := CompileJob(d, s, job)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", results.SpecID(s), err)
		}
		return c, nil
	}
	for _, s := range specs {
		c, err := of(s, job)
		if err != nil {
			return nil, nil, err
		}
		p := c.Plan()
		if c.Settings.Overlap > 1 {
			alone := c.Settings
			alone.Overlap = 1
			other, err := of(s.WithSettings(alone), JobOptions{})
			if err != nil {
				return nil, nil, err
			}
			p.Alone = new(other.Plan())
		}
		if c.Settings.Budget > 0 {
			free := c.Settings
			free.Budget = 0
			other, err := of(s.WithSettings(free), JobOptions{})
			if err != nil {
				return nil, nil, err
			}
			p.Unbounded = new(other.Plan())
		}
		plans, compiled = append(plans, p), append(compiled, c)
	}
	return plans, compiled, nil
}

// KnownGPU is what the plan book has of the GPU of that whole name; nil if it does not know it.
func KnownGPU(name string) (*planbook.GPU, error) {
	book, err := planbook.Current()
	if err != nil || name == "" {
		return nil, err
	}
	kind, err := book.Find(name)
	if err != nil || kind.Name != name {
		return nil, nil
	}
	return &kind, nil
}

// AddRooflines adds to plans what their steps take at the rates of a GPU. Plans whose steps have no roofline there stay
// without one: those of other precisions, and those with overlapping modules, whose ops do not follow each other.
func AddRooflines(plans []results.Plan, compiled []*Compiled, r planbook.Rates) error {
	for i := range plans {
		f, err := compiled[i].Roofline(r)
		if err != nil {
			continue
		}
		entry, err := datasets.Find(plans[i].Spec.Dataset)
		if err != nil {
			return err
		}
		batch := plans[i].Spec.Batch
		f.Steps = (int64(entry.TrainSamples) + batch - 1) / batch
		plans[i].Roofline = &f
	}
	return nil
}

// AuditOn compiles a spec on a device and proves the isolation of its modules, or names what breaks it.
func AuditOn(d engine.Device, s results.Spec) (results.Audit, error) {
	c, err := CompileOn(d, s)
	if err != nil {
		return results.Audit{}, fmt.Errorf("%s: %w", results.SpecID(s), err)
	}
	a := results.Audit{Spec: s, LocalModules: int64(ModuleCount(s)), Stages: int64(len(c.Stages))}
	for _, f := range c.Audit() {
		a.Findings = append(a.Findings, results.Finding{Module: int64(f.Module), Tensor: f.Tensor, What: f.What})
	}
	return a, nil
}

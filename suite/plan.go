package suite

import (
	"errors"
	"fmt"

	"github.com/localbench/localbench/core/budget"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/planbook"
)

// Plan is the compiled run as plain data, for reports.
func (c *Compiled) Plan() results.Plan {
	p := results.Plan{Spec: c.Spec, Settings: c.Settings, LocalModules: int64(c.ModuleCount()), Model: c.Model, Memory: c.Memory,
		FragmentationBytes: c.Profile.FragmentationBytes, Timeline: map[string][]int64{}, Recomputed: int64(c.Again),
		UnknownWorkspaces: int64(c.UnknownWorkspaces)}
	for _, s := range c.Profile.ByScope {
		p.ByScope = append(p.ByScope, results.ScopeBytes(s))
	}
	for _, v := range c.Profile.Alive {
		p.Alive = append(p.Alive, results.Value{Name: v.Name, Scope: v.Scope, Category: v.Category.String(), Bytes: v.Bytes})
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
		case graph.KindConv, graph.KindConvBackwardData, graph.KindConvBackwardWeights, graph.KindConvNormBackward,
			graph.KindLinear, graph.KindLinearBackwardData, graph.KindLinearBackwardWeights:
			p.Kernels = append(p.Kernels, results.Kernel{Op: i, Kind: op.Kind.String(), Name: c.Kernels[i], WorkspaceBytes: c.Scratch[i],
				Operands: fmt.Sprintf("%s, %s", op.Operands[0].Shape, op.Operands[1].Shape)})
		}
	}
	return p
}

// Plans compiles runs on a device, and with them those that they are compared with (results.Settings.Compared): nil where that
// one does not fit into the budget of the run.
func Plans(d engine.Device, runs []*Run, job JobOptions) (plans []results.Plan, compiled []*Compiled, err error) {
	for _, r := range runs {
		c, err := r.Compile(d, job)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", r.ID(), err)
		}
		p := c.Plan()
		p.Without = map[string]*results.Plan{}
		for option, settings := range r.Settings.Compared() {
			var small *budget.TooSmall
			if p.Without[option], err = r.planWith(d, settings); err != nil && !errors.As(err, &small) {
				return nil, nil, err
			}
		}
		plans, compiled = append(plans, p), append(compiled, c)
	}
	return plans, compiled, nil
}

// planWith plans the same run with other settings.
func (r *Run) planWith(d engine.Device, settings results.Settings) (*results.Plan, error) {
	other, err := r.WithSettings(settings)
	if err != nil {
		return nil, err
	}
	c, err := other.Compile(d, JobOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", other.ID(), err)
	}
	return new(c.Plan()), nil
}

// KnownGPU returns the tuning cache's entry of the GPU with that exact name; nil if it is unknown.
func KnownGPU(h Host, name string) (*planbook.GPU, error) {
	book, err := h.Book()
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
func AddRooflines(plans []results.Plan, compiled []*Compiled, r planbook.Rates) {
	for i := range plans {
		f, err := compiled[i].Roofline(r)
		if err != nil {
			continue
		}
		batch := plans[i].Spec.Batch
		f.Steps = (int64(compiled[i].Dataset.TrainSamples) + batch - 1) / batch
		plans[i].Roofline = &f
	}
}

// Audit compiles the run on a device and proves the isolation of its modules, or names what breaks it.
func (r *Run) Audit(d engine.Device) (results.Audit, error) {
	c, err := r.Compile(d, JobOptions{})
	if err != nil {
		return results.Audit{}, fmt.Errorf("%s: %w", r.ID(), err)
	}
	a := results.Audit{Spec: r.Spec, LocalModules: int64(r.ModuleCount()), Stages: int64(len(c.Stages))}
	for _, f := range c.Findings() {
		a.Findings = append(a.Findings, results.Finding{Module: int64(f.Module), Tensor: f.Tensor, What: f.What})
	}
	return a, nil
}

package suite

import (
	"errors"
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/budget"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/planbook"
)

// Curves are the curves of several runs, each as Run.Curve has it.
func Curves(d engine.Device, runs []*Run, points int, rates *planbook.Rates) (all []results.Curve, err error) {
	for _, r := range runs {
		c, err := r.Curve(d, points, rates)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.ID(), err)
		}
		all = append(all, c)
	}
	return all, nil
}

// Curve plans the run on a device for budgets from everything saved to the smallest one that was found, evenly spaced in
// the arena, at most this many points (at least 2), less those that another one beats. The budget of every
// point can be given to `run`. Points have a roofline if there are rates for the run's precision. The run must have no budget and
// no overlapping modules.
func (r *Run) Curve(d engine.Device, points int, rates *planbook.Rates) (c results.Curve, err error) {
	if points < 2 {
		return c, fmt.Errorf("--curve %d: must be at least 2 points", points)
	}
	if r.Settings.Budget > 0 {
		return c, errors.New("--budget and --curve can't be combined: the curve is of many budgets")
	}
	c = results.Curve{Spec: r.Spec, LocalModules: int64(r.ModuleCount())}
	all, err := r.curvePoint(d, 0, rates)
	if err != nil {
		return c, err
	}
	least, err := r.leastArena(d)
	if err != nil {
		return c, err
	}
	c.Points = append(c.Points, all)
	for i := 1; i < points && least < all.ArenaBytes; i++ {
		bytes := all.ArenaBytes - (all.ArenaBytes-least)*int64(i)/int64(points-1)
		p, err := r.curvePoint(d, bytes, rates)
		if err != nil {
			return c, err
		}
		c.Points = append(c.Points, p)
	}
	c.Points = undominated(c.Points)
	return c, nil
}

// undominated leaves out each point, except the first, for which another one takes no more memory, operations and bytes
// moved: the search is a heuristic, and a smaller budget may find a better answer. Of equal points the first one stays.
func undominated(points []results.CurvePoint) (kept []results.CurvePoint) {
	for i, p := range points {
		if i == 0 || !slices.ContainsFunc(points, func(q results.CurvePoint) bool {
			better := q.StepArenaBytes < p.StepArenaBytes || q.FLOPsPerSample < p.FLOPsPerSample || q.StepBytes < p.StepBytes
			return q.StepArenaBytes <= p.StepArenaBytes && q.FLOPsPerSample <= p.FLOPsPerSample && q.StepBytes <= p.StepBytes && better
		}) && !slices.ContainsFunc(points[:i], func(q results.CurvePoint) bool {
			return q.StepArenaBytes == p.StepArenaBytes && q.FLOPsPerSample == p.FLOPsPerSample && q.StepBytes == p.StepBytes
		}) {
			kept = append(kept, p)
		}
	}
	return kept
}

// leastArena is the smallest arena that the search of --budget finds for the run. What a search names as its smallest may be
// missed by the search for that, because layouts have gaps: then a little more is tried.
func (r *Run) leastArena(d engine.Device) (int64, error) {
	least := int64(1)
	for {
		_, err := r.withBudget(d, least)
		var small *budget.TooSmall
		switch {
		case err == nil:
			return least, nil
		case !errors.As(err, &small):
			return 0, err
		}
		// Of the training step; the next error may be that of the evaluation, which needs more.
		least = max(small.LeastBytes, least+least/256+1)
	}
}

// withBudget compiles the run with a budget; 0: without.
func (r *Run) withBudget(d engine.Device, bytes int64) (*Compiled, error) {
	settings := r.Settings
	settings.Budget = bytes
	other, err := r.WithSettings(settings)
	if err != nil {
		return nil, err
	}
	return other.Compile(d, JobOptions{})
}

func (r *Run) curvePoint(d engine.Device, bytes int64, rates *planbook.Rates) (p results.CurvePoint, err error) {
	c, err := r.withBudget(d, bytes)
	if err != nil {
		return p, err
	}
	m := c.Memory
	p = results.CurvePoint{BudgetBytes: bytes, StepArenaBytes: *m.StepArenaBytes, ArenaBytes: *m.ArenaBytes,
		LowerBoundBytes: *m.LowerBoundBytes, FLOPsPerSample: *c.Model.FLOPsPerSample.Step, Recomputed: int64(c.Again)}
	for _, op := range c.Step.Graph.Ops {
		p.StepBytes += op.Bytes()
	}
	if rates != nil {
		if f, err := c.Roofline(*rates); err == nil { // none for this precision: the point stays without
			p.Roofline = &f
		}
	}
	return p, nil
}

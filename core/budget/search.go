package budget

import (
	"cmp"
	"maps"
	"slices"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/core/plan"
)

// search is the state of a search. A set of results that are recomputed is a map from their names.
type search struct {
	device  engine.Device
	stages  []model.Stage
	options core.StepOptions

	workspaces  map[string]int64 // in bytes, by identity of the op
	candidates  []candidate      // the cheapest first
	moduleOf    map[string]int   // by result of a candidate
	checkpoints map[int][]string // by module
	target      int64            // bytes that may be alive at any op
	aim         int64            // what the search steers by: the target, or less
	least       int64            // the smallest peak seen
	best        map[int]choice   // by module, of all that was tried
	recomputed  map[string]bool  // the current set
	rejected    map[string]bool  // first results of candidates that did not help
	unreached   bool             // the target was not reached
}

// begin compiles the step without recomputation, and returns its arena.
func (s *search) begin(budget int64) (int64, error) {
	plain, err := core.TrainingStep(s.stages, s.options)
	if err != nil {
		return 0, err
	}
	p, err := core.Compile(s.device, plain, nil)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	for i, op := range plain.Graph.Ops {
		s.workspaces[identity(op)] = p.Scratch()[i]
	}
	s.candidates, s.checkpoints = candidatesOf(plain.Graph, budget), checkpointsOf(plain.Graph)
	for _, c := range s.candidates {
		for _, name := range c.results {
			s.moduleOf[name] = c.module
		}
	}
	s.least = p.Layout.ArenaBytes()
	return s.least, nil
}

// mostGaps bounds the sets for a slightly lower target that are tried because a layout has gaps.
const mostGaps = 8

// fit searches for options whose arena has at most that many bytes, from a step whose arena has more.
// It returns them and their arena, which is above the budget if there are no such options.
func (s *search) fit(arena, budget int64) (core.StepOptions, int64, error) {
	o := s.options
	s.target, s.aim, s.unreached = budget, budget, false
	s.best, s.rejected = map[int]choice{}, map[string]bool{}
	s.recomputed = maps.Clone(o.Recompute)
	if s.recomputed == nil {
		s.recomputed = map[string]bool{}
	}
	for tries := 1; arena > budget; tries++ {
		clear(s.best)
		if err := s.reach(); err != nil || s.unreached {
			return o, arena, err
		}
		o.Recompute = s.recomputed
		step, err := core.TrainingStep(s.stages, o)
		if err != nil {
			return o, arena, err
		}
		p, err := core.Compile(s.device, step, nil)
		if err != nil {
			return o, arena, err
		}
		arena = p.Layout.ArenaBytes()
		p.Close()
		over := max(0, arena-budget) // alignment and gaps
		if tries < mostGaps {
			over = min(over, budget/400) // a set that differs a little may have no gaps
		}
		s.target -= over
		s.aim = s.target
	}
	return o, arena, nil
}

// reach sets what is recomputed so that nothing is above the target.
func (s *search) reach() error {
	if err := s.greedy(); err != nil || !s.unreached {
		return err
	}
	return s.fromCheckpoints()
}

// state is a step with the bytes alive at each of its ops.
type state struct {
	graph  *graph.Graph
	alive  []int64
	peak   int64
	excess map[int]int64 // by module: the sum over its ops of the bytes above the aim
}

// state writes the step that recomputes a set, and notes what each module makes of it.
func (s *search) state(recomputed map[string]bool) (now state, err error) {
	o := s.options
	o.Recompute, o.Unverified = recomputed, true // hundreds of programs: the one that is chosen is verified
	step, err := core.TrainingStep(s.stages, o)
	if err != nil {
		return now, err
	}
	workspaces := make([]int64, len(step.Graph.Ops))
	for i, op := range step.Graph.Ops {
		workspaces[i] = s.workspaces[identity(op)]
	}
	now = state{graph: step.Graph, alive: plan.Load(step.Graph, workspaces), excess: map[int]int64{}}
	for i, op := range now.graph.Ops {
		now.excess[op.Module] += max(0, now.alive[i]-s.aim)
		now.peak = max(now.peak, now.alive[i])
	}
	s.least = min(s.least, now.peak)
	for module, c := range now.choices(recomputed, s.moduleOf) {
		if known, ok := s.best[module]; !ok || c.better(known, s.target) {
			s.best[module] = c
		}
	}
	return now, nil
}

// choice is what a module recomputes, and the result.
type choice struct {
	recomputed map[string]bool
	peak       int64   // bytes alive at any op of the module
	work       float64 // in bytes moved
}

// better prefers choices that reach the target, then cheaper ones; if neither reaches it, the nearer one.
func (c choice) better(than choice, target int64) bool {
	if c.peak <= target && than.peak <= target {
		return c.work < than.work
	}
	return c.peak < than.peak
}

// choices splits a step by module.
func (now state) choices(recomputed map[string]bool, moduleOf map[string]int) map[int]choice {
	out := map[int]choice{}
	for i, op := range now.graph.Ops {
		c := out[op.Module]
		c.peak = max(c.peak, now.alive[i])
		c.work += cost(op)
		out[op.Module] = c
	}
	for name := range recomputed {
		c := out[moduleOf[name]]
		if c.recomputed == nil {
			c.recomputed = map[string]bool{}
		}
		c.recomputed[name] = true
		out[moduleOf[name]] = c
	}
	return out
}

// greedy adds candidates until nothing is above the target, or none helps.
func (s *search) greedy() error {
	now, err := s.state(s.recomputed)
	if err != nil {
		return err
	}
	for moved := false; now.peak > s.target; {
		chosen := s.choose(now)
		if len(chosen) == 0 {
			if !moved {
				break
			}
			moved = false
			clear(s.rejected) // what did not help may help now
			continue
		}
		next, err := s.state(s.with(chosen))
		if err != nil {
			return err
		}
		good := slices.DeleteFunc(slices.Clone(chosen), func(c candidate) bool { return next.excess[c.module] >= now.excess[c.module] })
		for _, c := range chosen {
			s.rejected[c.results[0]] = true
		}
		if len(good) == 0 {
			continue
		}
		moved = true
		s.recomputed = s.with(good)
		if len(good) < len(chosen) {
			if next, err = s.state(s.recomputed); err != nil {
				return err
			}
		}
		now = next
	}
	s.unreached = now.peak > s.target
	return nil
}

// choose picks for each module that is above the aim the cheapest candidate of which a result
// is idle at such an op.
func (s *search) choose(now state) (chosen []candidate) {
	above := make([]int, len(now.alive)+1) // by op: the number of earlier ops that are above the aim
	for i, bytes := range now.alive {
		above[i+1] = above[i]
		if bytes > s.aim {
			above[i+1]++
		}
	}
	read := map[string]int{}   // last op of the forward pass that reads or writes a value
	wanted := map[string]int{} // first op of the backward pass that reads it
	for i, op := range now.graph.Ops {
		for _, v := range slices.Concat(op.Operands, op.Results) {
			switch {
			case v == nil:
			case forward(op):
				read[v.Name] = i
			case wanted[stored(v).Name] == 0: // what is stored in fewer bits is wanted when it is expanded
				wanted[stored(v).Name] = i
			}
		}
	}
	idle := func(name string) bool { return wanted[name] > 0 && above[wanted[name]] > above[read[name]+1] }
	taken := map[int]bool{}
	for _, c := range s.candidates {
		if taken[c.module] || now.excess[c.module] == 0 || s.recomputed[c.results[0]] || s.rejected[c.results[0]] {
			continue
		}
		if slices.ContainsFunc(c.results, idle) {
			taken[c.module] = true
			chosen = append(chosen, c)
		}
	}
	return chosen
}

// with is the current set and the results of these candidates.
func (s *search) with(chosen []candidate) map[string]bool {
	recomputed := maps.Clone(s.recomputed)
	for _, c := range chosen {
		for _, name := range c.results {
			recomputed[name] = true
		}
	}
	return recomputed
}

// start is a set from which improve begins.
type start struct {
	recomputed map[string]bool
	peak       int64
}

// fromCheckpoints recomputes all candidates except every k-th checkpoint, for the two k that come nearest to
// the target, and improves from there. Each module gets the best of all that was tried.
func (s *search) fromCheckpoints() error {
	starts, err := s.starts()
	if err != nil {
		return err
	}
	defer func() { s.aim = s.target }()
	for percent := int64(100); percent >= 80; percent -= 5 { // a lower aim leads to other sets
		for _, from := range starts[:min(len(starts), 2)] {
			s.aim = s.target / 100 * percent
			if _, err := s.improve(from.recomputed); err != nil {
				return err
			}
		}
		recomputed := map[string]bool{}
		for _, c := range s.best {
			maps.Copy(recomputed, c.recomputed)
		}
		s.aim = s.target
		now, err := s.state(recomputed)
		if err != nil {
			return err
		}
		if now.peak <= s.target {
			s.unreached = false
			s.recomputed, err = s.improve(recomputed)
			return err
		}
	}
	return nil
}

// starts lists sets of all candidates except every k-th checkpoint, those with the lowest peak first.
func (s *search) starts() (list []start, err error) {
	longest := 0
	for _, c := range s.checkpoints {
		longest = max(longest, len(c))
	}
	for k := 1; k <= max(longest, 1); k += (k + 2) / 3 {
		recomputed := s.allBut(k)
		now, err := s.state(recomputed)
		if err != nil {
			return nil, err
		}
		list = append(list, start{recomputed, now.peak})
	}
	slices.SortStableFunc(list, func(a, b start) int { return cmp.Compare(a.peak, b.peak) })
	return list, nil
}

// allBut is the set of all candidates except every k-th checkpoint of each module.
func (s *search) allBut(k int) map[string]bool {
	recomputed := s.with(s.candidates)
	for _, list := range s.checkpoints {
		for i, name := range list {
			if i%k == k-1 {
				delete(recomputed, name)
			}
		}
	}
	return recomputed
}

// mostRounds bounds an improvement that still finds small changes.
const mostRounds = 3

// improve flips one candidate of each module at a time, the most expensive first: a module above the aim keeps what brings
// it nearer to the aim, one below the aim saves what it recomputed if it stays below. It ends after a
// round without a change, or after mostRounds.
func (s *search) improve(recomputed map[string]bool) (map[string]bool, error) {
	now, err := s.state(recomputed)
	if err != nil {
		return nil, err
	}
	byModule := map[int][]candidate{}
	longest := 0
	for _, c := range slices.Backward(s.candidates) {
		byModule[c.module] = append(byModule[c.module], c)
		longest = max(longest, len(byModule[c.module]))
	}
	for round, moved := 0, true; moved && round < mostRounds; round++ {
		moved = false
		for i := range longest {
			var flipped []candidate
			for m, list := range byModule {
				if i < len(list) && (now.excess[m] > 0 || recomputed[list[i].results[0]]) {
					flipped = append(flipped, list[i])
				}
			}
			if len(flipped) == 0 {
				continue
			}
			next, err := s.state(flip(recomputed, flipped))
			if err != nil {
				return nil, err
			}
			good := slices.DeleteFunc(slices.Clone(flipped), func(c candidate) bool {
				before, after := now.excess[c.module], next.excess[c.module]
				return after > 0 && after >= before
			})
			if len(good) == 0 {
				continue
			}
			moved, recomputed = true, flip(recomputed, good)
			if len(good) < len(flipped) {
				if next, err = s.state(recomputed); err != nil {
					return nil, err
				}
			}
			now = next
		}
	}
	return recomputed, nil
}

// flip recomputes what was saved, and saves what was recomputed.
func flip(recomputed map[string]bool, list []candidate) map[string]bool {
	out := maps.Clone(recomputed)
	for _, c := range list {
		for _, name := range c.results {
			if recomputed[name] {
				delete(out, name)
			} else {
				out[name] = true
			}
		}
	}
	return out
}

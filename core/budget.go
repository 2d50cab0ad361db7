package core

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dustin/go-humanize"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/core/plan"
)

// OverBudget says that no recomputation makes the arena as small as was asked for.
type OverBudget struct {
	BudgetBytes int64
	LeastBytes  int64  // the smallest arena that was found
	What        string // the program that needs LeastBytes where it is not the training step: recomputation does not help it
}

// Error names both sizes.
func (e *OverBudget) Error() string {
	least := "the smallest arena found for the training step, with activations recomputed, has"
	if e.What != "" {
		least = e.What + " needs an arena of"
	}
	return fmt.Sprintf("budget %s: too small: %s %s", humanize.IBytesN(uint64(e.BudgetBytes), 4), least, humanize.IBytesN(uint64(e.LeastBytes), 4))
}

// Hint says what else makes a step smaller.
func (e *OverBudget) Hint() string {
	return "a smaller --batch needs less, and so does a --workspace-limit where kernels take much scratch memory"
}

// FitBudget adds to the options what the backward pass has to recompute (Again) for the arena
// of the training step on the device to be at most so many bytes. That of a run, which evaluates too, is for the caller to check.
//
// It begins with nothing, and takes one op after the other: of those whose results lie idle, between
// the forward and the backward pass, while too much is alive, the one that costs the least for the
// bytes that it frees; a choice that does not bring the step nearer to its budget is taken
// back. That reaches most budgets with little work. Where it does not, everything is made again but
// one in so many of the values that alone carry the forward pass on, as in checkpointing; then op
// after op, the dearest first, is saved after all if the budget still holds. Local modules do
// not live at the same time and are treated side by side. Neither search tries all sets. If the
// budget cannot be reached the error is an *OverBudget.
func FitBudget(d engine.Device, stages []model.Stage, o StepOptions, budget int64) (StepOptions, error) {
	f := &fitting{device: d, stages: stages, options: o, scratch: map[string]int64{}, moduleOf: map[string]int{}}
	arena, err := f.look(budget)
	if err != nil || arena <= budget {
		return o, err
	}
	found, arena, err := f.fit(arena, budget)
	if err != nil || arena <= budget {
		return found, err
	}
	// The error names an arena that can be had: what was seen alive on the way may not lie without gaps.
	for more := f.least / 100; ; more *= 2 {
		least := f.least + more
		if _, smallest, err := f.fit(arena, least); err != nil || smallest <= least {
			return o, cmp.Or(err, error(&OverBudget{BudgetBytes: budget, LeastBytes: smallest}))
		}
	}
}

// look compiles the step as it is, and returns its arena.
func (f *fitting) look(budget int64) (int64, error) {
	plain, err := TrainingStep(f.stages, f.options)
	if err != nil {
		return 0, err
	}
	if plain.Graph.Streams() > 1 {
		return 0, errors.New("a budget can't be combined with modules in flight: what is alive at a time then depends on the device")
	}
	p, err := Compile(f.device, plain, nil)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	for i, op := range plain.Graph.Ops {
		f.scratch[identity(op)] = p.Scratch()[i]
	}
	f.candidates, f.cuts = candidates(plain.Graph, budget), cuts(plain.Graph)
	for _, c := range f.candidates {
		for _, name := range c.results {
			f.moduleOf[name] = c.module
		}
	}
	f.least = p.Layout.ArenaBytes()
	return f.least, nil
}

// mostGaps bounds the sets of a little less that are tried where a layout has gaps.
const mostGaps = 8

// fit searches for options whose arena has at most so many bytes, from a step whose arena has more.
// It returns their arena, which is above the budget where there are none.
func (f *fitting) fit(arena, budget int64) (StepOptions, int64, error) {
	o := f.options
	f.target, f.aim, f.stuck = budget, budget, false
	f.best, f.rejected = map[int]choice{}, map[string]bool{}
	f.again = maps.Clone(o.Again)
	if f.again == nil {
		f.again = map[string]bool{}
	}
	for tries := 1; arena > budget; tries++ {
		clear(f.best)
		if err := f.search(); err != nil || f.stuck {
			return o, arena, err
		}
		o.Again = f.again
		step, err := TrainingStep(f.stages, o)
		if err != nil {
			return o, arena, err
		}
		p, err := Compile(f.device, step, nil)
		if err != nil {
			return o, arena, err
		}
		arena = p.Layout.ArenaBytes()
		p.Close()
		over := max(0, arena-budget) // alignment and gaps
		if tries < mostGaps {
			over = min(over, budget/400) // a set that differs a little may lie without gaps
		}
		f.target -= over
		f.aim = f.target
	}
	return o, arena, nil
}

// fitting is a search under way.
type fitting struct {
	device     engine.Device
	stages     []model.Stage
	options    StepOptions
	target     int64          // bytes alive at any op
	aim        int64          // what the search steers by: the target, or less
	least      int64          // the smallest peak seen
	best       map[int]choice // by module, of all that was tried
	moduleOf   map[string]int // of the results of candidates
	scratch    map[string]int64
	candidates []candidate      // the cheapest first
	cuts       map[int][]string // by module
	again      map[string]bool  // names of results that are made again
	rejected   map[string]bool  // first result of a candidate
	stuck      bool             // the target cannot be reached
}

// candidate is a forward op that the backward pass may run again.
type candidate struct {
	results []string
	module  int
	price   float64 // bytes moved for a byte that is freed
}

// flopsPerByte is what a multiplication or an addition of a convolution costs beside a byte that is
// moved: a processor does some 10 to 100 while it moves one.
const flopsPerByte = 32

// identity is equal for an op and for its copies that recompute: they need the same workspace.
func identity(op *graph.Op) string {
	list := op.Results
	if len(list) == 0 {
		list = op.Operands
	}
	v := list[0]
	if v.Recomputes != nil {
		v = v.Recomputes
	}
	return op.Kind.String() + " " + v.Name
}

// candidates are the ops of the forward pass that can be run again: they change nothing, all that
// reads their results is of their module, and the backward pass is among it. What is small
// against the budget is left alone.
func candidates(g *graph.Graph, budget int64) (list []candidate) {
	kept := map[*graph.Value]bool{}
	late := map[*graph.Value]bool{}
	for _, v := range g.Outputs {
		kept[v] = true
	}
	for _, op := range g.Ops {
		for _, v := range op.Operands {
			if v == nil {
				continue
			}
			kept[v] = kept[v] || v.Module != op.Module
			late[v] = late[v] || op.Phase == graph.PhaseBackward
		}
	}
	for _, op := range g.Ops {
		if op.Phase == graph.PhaseBackward || op.Phase == graph.PhaseUpdate || op.Kind == graph.KindNormStats || len(op.Mutates()) > 0 ||
			slices.ContainsFunc(op.Results, func(v *graph.Value) bool { return kept[v] }) {
			continue
		}
		c := candidate{module: op.Module}
		var bytes int64
		for _, v := range op.Results {
			c.results = append(c.results, v.Name)
			if late[v] {
				bytes += v.Bytes()
			}
		}
		if bytes > budget/1000 {
			c.price = cost(op) / float64(bytes)
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(a.price, b.price) })
	return list
}

// cuts lists, by module, the values that alone carry the forward pass on: all that comes behind
// can be made from one of them.
func cuts(g *graph.Graph) map[int][]string {
	forward := map[int][]*graph.Op{}
	last := map[*graph.Value]int{} // position of the last reader among the module's own
	for _, op := range g.Ops {
		if op.Phase == graph.PhaseBackward || op.Phase == graph.PhaseUpdate {
			continue
		}
		for _, v := range op.Operands {
			if v != nil {
				last[v] = len(forward[op.Module])
			}
		}
		forward[op.Module] = append(forward[op.Module], op)
	}
	list := map[int][]string{}
	for module, ops := range forward {
		reach := 0 // the furthest reader of what was made so far
		for i, op := range ops {
			alone := reach <= i
			for _, v := range op.Operands { // such as the module's input, which no op of it makes
				if v != nil && !v.Category.Persistent() && v.Category != graph.CategoryInput {
					alone = alone && last[v] <= i
				}
			}
			for _, v := range op.Results {
				reach = max(reach, last[v])
			}
			if alone && len(op.Results) == 1 && last[op.Results[0]] > i {
				list[module] = append(list[module], op.Results[0].Name)
			}
		}
	}
	return list
}

// state is a step with the bytes alive at each of its ops.
type state struct {
	graph  *graph.Graph
	alive  []int64
	peak   int64
	excess map[int]int64 // by module: the sum over its ops of the bytes above the aim
}

// cost is that of running an op, in bytes moved.
func cost(op *graph.Op) float64 { return float64(op.Bytes()) + float64(op.FLOPs())/flopsPerByte }

func (f *fitting) state(again map[string]bool) (s state, err error) {
	o := f.options
	o.Again, o.Unverified = again, true // hundreds of programs: the one that is chosen is verified
	step, err := TrainingStep(f.stages, o)
	if err != nil {
		return s, err
	}
	scratch := make([]int64, len(step.Graph.Ops))
	for i, op := range step.Graph.Ops {
		scratch[i] = f.scratch[identity(op)]
	}
	s = state{graph: step.Graph, alive: plan.Load(step.Graph, scratch), excess: map[int]int64{}}
	for i, op := range s.graph.Ops {
		s.excess[op.Module] += max(0, s.alive[i]-f.aim)
		s.peak = max(s.peak, s.alive[i])
	}
	f.least = min(f.least, s.peak)
	for module, c := range s.choices(again, f.moduleOf) {
		if known, ok := f.best[module]; !ok || c.better(known, f.target) {
			f.best[module] = c
		}
	}
	return s, nil
}

// choice is what a module makes again, and what comes of it.
type choice struct {
	again map[string]bool
	peak  int64   // bytes alive at any op of the module
	work  float64 // in bytes moved
}

// better is: to reach the target, then to cost less; short of it, to come nearer.
func (c choice) better(than choice, target int64) bool {
	if c.peak <= target && than.peak <= target {
		return c.work < than.work
	}
	return c.peak < than.peak
}

// choices takes a step apart by module.
func (s state) choices(again map[string]bool, moduleOf map[string]int) map[int]choice {
	out := map[int]choice{}
	for i, op := range s.graph.Ops {
		c := out[op.Module]
		c.peak = max(c.peak, s.alive[i])
		c.work += cost(op)
		out[op.Module] = c
	}
	for name := range again {
		c := out[moduleOf[name]]
		if c.again == nil {
			c.again = map[string]bool{}
		}
		c.again[name] = true
		out[moduleOf[name]] = c
	}
	return out
}

// search sets what is made again so that nothing is above the target.
func (f *fitting) search() error {
	if err := f.fromNothing(); err != nil || !f.stuck {
		return err
	}
	return f.fromAll()
}

// fromNothing adds candidates until nothing is above the target, or nothing helps.
func (f *fitting) fromNothing() error {
	now, err := f.state(f.again)
	if err != nil {
		return err
	}
	for moved := false; now.peak > f.target; {
		chosen := f.choose(now)
		if len(chosen) == 0 {
			if !moved {
				break
			}
			moved = false
			clear(f.rejected) // what did not help may help now
			continue
		}
		next, err := f.state(f.with(chosen))
		if err != nil {
			return err
		}
		good := slices.DeleteFunc(slices.Clone(chosen), func(c candidate) bool { return next.excess[c.module] >= now.excess[c.module] })
		for _, c := range chosen {
			f.rejected[c.results[0]] = true
		}
		if len(good) == 0 {
			continue
		}
		moved = true
		f.again = f.with(good)
		if len(good) < len(chosen) {
			if next, err = f.state(f.again); err != nil {
				return err
			}
		}
		now = next
	}
	f.stuck = now.peak > f.target
	return nil
}

// fromAll begins with all candidates but every so-manieth cut, for the numbers that come nearest to
// the target, and goes from there. Each module has the best of all that was tried.
func (f *fitting) fromAll() error {
	longest := 0
	for _, c := range f.cuts {
		longest = max(longest, len(c))
	}
	type start struct {
		again map[string]bool
		state
	}
	var starts []start
	for segment := 1; segment <= max(longest, 1); segment += (segment + 2) / 3 {
		again := f.allBut(segment)
		now, err := f.state(again)
		if err != nil {
			return err
		}
		starts = append(starts, start{again, now})
	}
	slices.SortStableFunc(starts, func(a, b start) int { return cmp.Compare(a.peak, b.peak) })
	defer func() { f.aim = f.target }()
	for percent := int64(100); percent >= 80; percent -= 5 { // who aims lower goes another way
		for _, s := range starts[:min(len(starts), 2)] {
			f.aim = f.target / 100 * percent
			if _, err := f.improve(s.again); err != nil {
				return err
			}
		}
		again := map[string]bool{}
		for _, c := range f.best {
			maps.Copy(again, c.again)
		}
		f.aim = f.target
		now, err := f.state(again)
		if err != nil {
			return err
		}
		if now.peak <= f.target {
			f.stuck = false
			f.again, err = f.improve(again)
			return err
		}
	}
	return nil
}

// mostRounds bounds a search that still finds little things.
const mostRounds = 3

// improve changes its mind about one candidate of each module at a time, the dearest first: above
// the aim if that brings the module nearer to it, and below if it saves work. It ends when a
// whole round has changed nothing, or after mostRounds.
func (f *fitting) improve(again map[string]bool) (map[string]bool, error) {
	now, err := f.state(again)
	if err != nil {
		return nil, err
	}
	of := map[int][]candidate{}
	longest := 0
	for _, c := range slices.Backward(f.candidates) {
		of[c.module] = append(of[c.module], c)
		longest = max(longest, len(of[c.module]))
	}
	for round, moved := 0, true; moved && round < mostRounds; round++ {
		moved = false
		for i := range longest {
			var flipped []candidate
			for m, list := range of {
				if i < len(list) && (now.excess[m] > 0 || again[list[i].results[0]]) {
					flipped = append(flipped, list[i])
				}
			}
			if len(flipped) == 0 {
				continue
			}
			next, err := f.state(flip(again, flipped))
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
			moved, again = true, flip(again, good)
			if len(good) < len(flipped) {
				if next, err = f.state(again); err != nil {
					return nil, err
				}
			}
			now = next
		}
	}
	return again, nil
}

// flip makes again what was saved, and saves what was made again.
func flip(again map[string]bool, list []candidate) map[string]bool {
	out := maps.Clone(again)
	for _, c := range list {
		for _, name := range c.results {
			if again[name] {
				delete(out, name)
			} else {
				out[name] = true
			}
		}
	}
	return out
}

// allBut is all candidates but every segment-th cut of each module.
func (f *fitting) allBut(segment int) map[string]bool {
	again := f.with(f.candidates)
	for _, list := range f.cuts {
		for i, name := range list {
			if i%segment == segment-1 {
				delete(again, name)
			}
		}
	}
	return again
}

func (f *fitting) with(chosen []candidate) map[string]bool {
	again := maps.Clone(f.again)
	for _, c := range chosen {
		for _, name := range c.results {
			again[name] = true
		}
	}
	return again
}

// choose picks for each module that is above the target the cheapest candidate of which a result
// lies idle at such an op.
func (f *fitting) choose(now state) (chosen []candidate) {
	above := make([]int, len(now.alive)+1) // how many ops before this one
	for i, bytes := range now.alive {
		above[i+1] = above[i]
		if bytes > f.aim {
			above[i+1]++
		}
	}
	read := map[string]int{}   // last op of the forward pass that touches a value
	wanted := map[string]int{} // first one of the backward pass that reads it
	for i, op := range now.graph.Ops {
		for _, v := range slices.Concat(op.Operands, op.Results) {
			switch {
			case v == nil:
			case op.Phase != graph.PhaseBackward && op.Phase != graph.PhaseUpdate:
				read[v.Name] = i
			case wanted[v.Name] == 0:
				wanted[v.Name] = i
			}
		}
	}
	taken := map[int]bool{}
	for _, c := range f.candidates {
		if taken[c.module] || now.excess[c.module] == 0 || f.again[c.results[0]] || f.rejected[c.results[0]] {
			continue
		}
		if slices.ContainsFunc(c.results, func(name string) bool { return wanted[name] > 0 && above[wanted[name]] > above[read[name]+1] }) {
			taken[c.module] = true
			chosen = append(chosen, c)
		}
	}
	return chosen
}

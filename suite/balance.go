package suite

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/plan"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/results"
)

// balanceRounds bounds the number of cuts that are measured to refine a balance.
const balanceRounds = 24

// balancedCuts returns the places that divide the network of a run into k modules so that the largest of their planned
// memory is as small as possible: what is alive at an op of the module, as far as it grows with the batch (activations and
// their gradients, of auxiliary networks too). So the cuts do not depend on the batch. Kernels' workspaces are left out.
//
// The memory of each module with a single unit, and of each pair of neighbours, gives an estimate for all others: what a unit
// adds to the module of the next one. The best cuts by the estimate are measured, their modules' memory replaces the
// estimate, and so on until the best cuts are measured ones.
func (r *Run) balancedCuts(k int) ([]string, error) {
	units := len(r.Network.Units)
	if k < 2 || k > units {
		return nil, fmt.Errorf("--cuts balanced: --modules must be 2 to %d, the number of units of %s", units, r.Network.Name)
	}
	b := &balance{run: r, measured: map[span]int64{}}
	if err := b.findEnds(); err != nil {
		return nil, err
	}
	if k > len(b.ends)+1 {
		return nil, fmt.Errorf("--cuts balanced: --modules must be at most %d: %s can end a module after %d of the %d units of %s",
			len(b.ends)+1, r.Method.Name, len(b.ends), units, r.Network.Name)
	}
	if err := b.estimate(); err != nil {
		return nil, err
	}
	var best []int
	least := int64(math.MaxInt64)
	for range balanceRounds {
		ends := b.divide(k)
		if b.known(ends) && best != nil {
			break
		}
		largest, err := b.measure(ends)
		if err != nil {
			return nil, err
		}
		if largest < least {
			best, least = ends, largest
		}
	}
	places := make([]string, len(best))
	for i, end := range best {
		places[i] = r.Network.Units[end].Place
	}
	return places, nil
}

// span is the first and the last unit of a module.
type span struct{ first, last int }

// balance is a search for balanced cuts.
type balance struct {
	run      *Run
	ends     []int          // units that can end a module but the last
	measured map[span]int64 // bytes a sample
	adds     []int64        // of each end: the estimate of what its unit adds to the module of the next one
}

// cut is the run with modules that end at these units.
func (b *balance) cut(ends []int) (*Run, error) {
	r := b.run.with(func(s *results.Spec) { s.Modules = 0 })
	places := make([]string, len(ends))
	for i, end := range ends {
		places[i] = r.Network.Units[end].Place
	}
	r.Settings = r.Settings.AtDefaults()
	r.Settings.Cuts = strings.Join(places, ",")
	return r, r.divide()
}

// measure returns the memory of the largest module of these cuts, and keeps that of all.
func (b *balance) measure(ends []int) (largest int64, err error) {
	r, err := b.cut(ends)
	if err != nil {
		return 0, err
	}
	var loads [2][]int64
	var step *core.Step
	for i, batch := range []int64{2, 4} {
		o := r.WithBatch(batch).stepOptions()
		o.Unverified = true
		if step, err = core.TrainingStep(r.Stages, o); err != nil {
			return 0, err
		}
		loads[i] = plan.Load(step.Graph, make([]int64, len(step.Graph.Ops)))
	}
	if len(loads[0]) != len(loads[1]) {
		return 0, errors.New("--cuts balanced: the program of this method depends on the batch")
	}
	modules := make([]int64, len(r.Stages))
	for i, op := range step.Graph.Ops {
		if m := op.Module; m >= 0 && m < len(modules) {
			modules[m] = max(modules[m], (loads[1][i]-loads[0][i])/2)
		}
	}
	for m, bytes := range modules {
		b.measured[b.span(ends, m)] = bytes
	}
	return slices.Max(modules), nil
}

// span is the units of module m.
func (b *balance) span(ends []int, m int) span {
	s := span{0, len(b.run.Network.Units) - 1}
	if m > 0 {
		s.first = ends[m-1] + 1
	}
	if m < len(ends) {
		s.last = ends[m]
	}
	return s
}

// findEnds finds the units after which a module can end: a method may need larger maps, or units that follow.
func (b *balance) findEnds() error {
	var valid []int
	var refused error
	for end := range len(b.run.Network.Units) - 1 {
		if _, err := b.cut([]int{end}); err != nil {
			refused = err
			continue
		}
		valid = append(valid, end)
	}
	b.ends = valid
	if len(valid) == 0 {
		return refused
	}
	if _, err := b.measure(valid); err == nil {
		return nil
	}
	b.ends = nil
	for _, end := range valid {
		if _, err := b.measure([]int{end}); err != nil {
			refused = err
			continue
		}
		b.ends = append(b.ends, end)
	}
	if len(b.ends) == 0 {
		return refused
	}
	_, err := b.measure(b.ends)
	return err
}

// estimate measures pairs of neighbours between possible ends, and fills in adds.
func (b *balance) estimate() error {
	for skip := range 2 {
		var ends []int
		for i, end := range b.ends {
			if i%2 != skip {
				ends = append(ends, end)
			}
		}
		if _, err := b.measure(ends); err != nil {
			return err
		}
	}
	b.adds = make([]int64, len(b.ends))
	for i := range b.ends {
		next := b.atom(i + 1)
		b.adds[i] = max(b.measured[span{b.atom(i).first, next.last}]-b.measured[next], 0)
	}
	return nil
}

// atom is the units from the end before the i-th possible end to that end; the last atom ends with the network.
func (b *balance) atom(i int) span { return b.span(b.ends, i) }

// bytes is the measured or estimated memory of a module of the atoms from first to last.
func (b *balance) bytes(first, last int) int64 {
	if bytes, ok := b.measured[span{b.atom(first).first, b.atom(last).last}]; ok {
		return bytes
	}
	sum := b.measured[b.atom(last)]
	for i := first; i < last; i++ {
		sum += b.adds[i]
	}
	return sum
}

func (b *balance) known(ends []int) bool {
	for m := range len(ends) + 1 {
		if _, ok := b.measured[b.span(ends, m)]; !ok {
			return false
		}
	}
	return true
}

// divide returns the ends of k modules whose largest memory is least; of these, those with the least sum of squares.
func (b *balance) divide(k int) []int {
	limit, _ := bestDivision(len(b.ends)+1, k, b.bytes, func(all, one float64) float64 { return max(all, one) }, math.Inf(1))
	_, atoms := bestDivision(len(b.ends)+1, k, b.bytes, func(all, one float64) float64 { return all + one*one }, limit)
	ends := make([]int, len(atoms))
	for i, atom := range atoms {
		ends[i] = b.ends[atom]
	}
	return ends
}

// bestDivision divides n atoms into k parts of at most limit each, at the least cost, which add accumulates part by part. It
// returns the cost and the last atom of each part but the last.
func bestDivision(
	n, k int, bytes func(first, last int) int64, add func(all, one float64) float64, limit float64,
) (float64, []int) {
	cost := make([][]float64, k+1) // of the first atoms in a number of parts
	from := make([][]int, k+1)
	for parts := range cost {
		cost[parts], from[parts] = make([]float64, n+1), make([]int, n+1)
		for i := range cost[parts] {
			cost[parts][i] = math.Inf(1)
		}
	}
	cost[0][0] = 0
	for parts := 1; parts <= k; parts++ {
		for last := parts; last <= n; last++ {
			for first := parts - 1; first < last; first++ {
				one := float64(bytes(first, last-1))
				if one > limit || math.IsInf(cost[parts-1][first], 1) {
					continue
				}
				if c := add(cost[parts-1][first], one); c < cost[parts][last] {
					cost[parts][last], from[parts][last] = c, first
				}
			}
		}
	}
	ends := make([]int, k-1)
	for parts, last := k, n; parts > 1; parts-- {
		last = from[parts][last]
		ends[parts-2] = last - 1
	}
	return cost[k][n], ends
}

// resolveCuts replaces the rule balanced by the places that it gives for the run, unless InfoPro published them, so that the
// spec says where the modules end.
func (r *Run) resolveCuts() error {
	s, k := r.Settings, int(r.Spec.Modules)
	augLocal := r.Method.Reads(methods.OptionAuxDepth)
	switch {
	case s.Cuts != methods.CutsBalanced:
		return nil
	case k == 0:
		return errors.New("--cuts balanced: needs --modules, the number of modules")
	case !augLocal && methods.PublishedBalance(r.Network.PublishedName(), r.Spec.Dataset, k):
		return nil
	case !augLocal && k == 1:
		r.Settings.Cuts = ""
	default:
		places, err := r.balancedCuts(k)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Method.Name, err)
		}
		if r.Settings.Cuts = strings.Join(places, ","); !augLocal && k == len(r.Network.Units) {
			r.Settings.Cuts = "" // one module a unit
		}
	}
	r.Spec = r.Spec.WithSettings(r.Settings)
	return nil
}

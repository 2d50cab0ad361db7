// Package diff compares the memory of two plans: which figures grew, and which modules and tensors at the peak they are made of.
//
// In go plans as plain data (results.Plan), or one plan and a record, which has totals and categories but no tensors. Out come
// tables, and the verdict of a limit.
package diff

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/localbench/localbench/results"
)

// Side is one side of a comparison.
type Side struct {
	Label string // for people, such as "resnet50" or "old.pt2"
	Plan  results.Plan
}

// Change is the bytes of one thing on both sides; nil: not known. What is not there has 0 bytes.
type Change struct {
	Name, Module, Category string
	Old, New               *int64
}

// Bytes is how much it grew; 0 where a side is not known.
func (c Change) Bytes() int64 {
	if c.Old == nil || c.New == nil {
		return 0
	}
	return *c.New - *c.Old
}

// Diff is the comparison of two plans of one run.
type Diff struct {
	Old, New Side
	// Figures are the sizes that a limit bounds. The others are what is alive at the peak of each side, without what is the same,
	// the largest change first.
	Figures                      []Change
	Categories, Modules, Tensors []Change
	// Whole says that both sides know what is alive at the peak, so that the changes of modules and of tensors each sum to that
	// of the peak. A record does not.
	Whole bool
	peak  string // name of the figure that tensors sum to
}

// Planned compares plans of our own program.
func Planned(old, new Side) Diff {
	a, b := old.Plan.Memory, new.Plan.Memory
	d := Diff{Old: old, New: new, peak: "planned peak", Figures: []Change{
		{Name: "planned peak", Old: a.PlannedPeakBytes, New: b.PlannedPeakBytes},
		{Name: "step arena", Old: a.StepArenaBytes, New: b.StepArenaBytes},
		{Name: "arena", Old: a.ArenaBytes, New: b.ArenaBytes},
	}}
	d.Categories = changes(byCategory(old.Plan), byCategory(new.Plan))
	d.explain()
	return d
}

// Eager compares what an eager framework would report.
func Eager(old, new Side) Diff {
	a, b := old.Plan.Memory, new.Plan.Memory
	d := Diff{Old: old, New: new, peak: "max_memory_allocated", Figures: []Change{
		{Name: "tensors alive", Old: a.EagerRequestedBytes, New: b.EagerRequestedBytes},
		{Name: "max_memory_allocated", Old: a.EagerAllocatedBytes, New: b.EagerAllocatedBytes},
		{Name: "max_memory_reserved", Old: a.EagerReservedBytes, New: b.EagerReservedBytes},
	}}
	d.explain()
	if d.Whole {
		d.Categories = changes(sums(old.Plan, category), sums(new.Plan, category))
	}
	return d
}

// explain fills in modules and tensors, where both sides have them.
func (d *Diff) explain() {
	d.Whole = len(d.Old.Plan.Alive) > 0 && len(d.New.Plan.Alive) > 0
	if d.Whole {
		d.Modules = changes(sums(d.Old.Plan, module), sums(d.New.Plan, module))
		d.Tensors = changes(sums(d.Old.Plan, tensor), sums(d.New.Plan, tensor))
	}
}

// What the bytes at the peak are summed by.
func category(v results.Value) Change { return Change{Category: v.Category, Name: v.Category} }
func module(v results.Value) Change   { return Change{Module: path(v.Scope), Name: path(v.Scope)} }
func tensor(v results.Value) Change {
	return Change{Name: path(v.Name), Module: path(v.Scope), Category: v.Category}
}

// localModule is how scopes begin: with the number of the local module, in which plans of two methods differ.
var localModule = regexp.MustCompile(`^module\d+[/:]?`)

// path is a scope as PyTorch writes the path of a module: layer1.0.conv1.
func path(scope string) string {
	return strings.ReplaceAll(localModule.ReplaceAllString(scope, ""), "/", ".")
}

// sums are the bytes at the peak of a plan, by what a value belongs to.
func sums(p results.Plan, of func(results.Value) Change) map[Change]int64 {
	all := map[Change]int64{}
	for _, v := range p.Alive {
		all[of(v)] += v.Bytes
	}
	return all
}

// byCategory are the bytes at the peak by category, which records have, too.
func byCategory(p results.Plan) map[Change]int64 {
	all := map[Change]int64{}
	for name, bytes := range p.Memory.ByCategory {
		all[Change{Category: name, Name: name}] = bytes
	}
	return all
}

// changes are what differs, the largest change first.
func changes(old, new map[Change]int64) (all []Change) {
	add := func(c Change) {
		before, after := old[c], new[c]
		if before != after {
			c.Old, c.New = &before, &after
			all = append(all, c)
		}
	}
	for c := range new {
		add(c)
	}
	for c := range old {
		if _, both := new[c]; !both {
			add(c)
		}
	}
	slices.SortFunc(all, func(a, b Change) int {
		return cmp.Or(cmp.Compare(magnitude(b.Bytes()), magnitude(a.Bytes())), cmp.Compare(a.Module, b.Module),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.Category, b.Category))
	})
	return all
}

func magnitude(n int64) int64 { return max(n, -n) }

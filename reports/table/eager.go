package table

import (
	"fmt"

	"github.com/localbench/localbench/results"
)

// Eager is the table of what an eager framework with a caching allocator would report
// for the runs, as their records predict it: a row for each set of runs that differ in
// the seed only.
func Eager(records []results.Record) Table {
	groups, notes := results.Groups(records)
	t := Table{ID: "eager", Title: "The same steps in an eager framework, predicted", Notes: notes, Columns: []Column{{Key: "method", Name: "method"},
		{Key: "network", Name: "network"}, {Key: "dataset", Name: "data set"}, {Key: "batch", Name: "batch", Align: AlignRight},
		{Key: "aux_depth", Name: "d", Align: AlignRight}, {Key: "modules", Name: "K", Align: AlignRight}}}
	sizes := []struct {
		key, name string
		of        func(results.Memory) *int64
	}{
		{"eager_requested_bytes", "tensors alive", func(m results.Memory) *int64 { return m.EagerRequestedBytes }},
		{"eager_allocated_bytes", "max_memory_allocated", func(m results.Memory) *int64 { return m.EagerAllocatedBytes }},
		{"eager_reserved_bytes", "max_memory_reserved", func(m results.Memory) *int64 { return m.EagerReservedBytes }},
		{"eager_searched_bytes", "allocated, with search", func(m results.Memory) *int64 { return m.EagerSearchedBytes }},
		{"planned_peak_bytes", "our planned peak", func(m results.Memory) *int64 { return m.PlannedPeakBytes }},
	}
	for _, s := range sizes {
		t.Columns = append(t.Columns, Column{Key: s.key, Name: s.name, Align: AlignRight})
	}
	whole := func(n int64) Cell {
		if n == 0 {
			return Cell{}
		}
		return Number(float64(n), fmt.Sprint(n))
	}
	for _, g := range groups {
		r := g.First()
		row := []Cell{Text(r.Spec.Method), Text(r.Spec.Network), Text(r.Spec.Dataset), whole(r.Spec.Batch), whole(r.Spec.AuxDepth), whole(localModules(r))}
		for _, s := range sizes {
			cell := Cell{}
			if n := s.of(r.Memory); n != nil {
				cell = Number(float64(*n), Bytes(*n))
			}
			row = append(row, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// localModules is K of a run, the value of --modules that gives the same cuts: the number of its local modules, or for AugLocal
// (AuxDepth) and for a published program without cuts of the user's that of its units. It is 0 where the method does not cut the
// network.
func localModules(r results.Record) int64 {
	var units int64
	for _, m := range r.Model.Modules {
		units += m.Units
	}
	switch n := int64(len(r.Model.Modules)); {
	case r.Spec.Modules != 0 || n < 2:
		return r.Spec.Modules
	case r.Spec.AuxDepth > 0, r.Spec.Options["program"] != "" && r.Spec.Options["cuts"] == "":
		return units
	default:
		return n
	}
}

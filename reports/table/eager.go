package table

import (
	"github.com/localbench/localbench/results"
)

// Eager is the table of the predicted memory of the runs in an eager framework with a
// caching allocator, from their records: a row for each set of runs that differ in
// the seed only.
func Eager(records []results.Record) Table {
	groups, notes := results.Groups(records)
	var firsts []results.Record
	for _, g := range groups {
		firsts = append(firsts, g.First())
	}
	t := EagerRows("The same steps in an eager framework, predicted", firsts)
	t.Notes = notes
	return t
}

// EagerSizes are the predicted sizes of a record, in the order of the columns of EagerRows after SpecColumns.
func EagerSizes(m results.Memory) []*int64 {
	return []*int64{m.EagerRequestedBytes, m.EagerAllocatedBytes, m.EagerReservedBytes, m.EagerSearchedBytes}
}

// EagerRows is the table Eager with a row for each record.
func EagerRows(title string, records []results.Record) Table {
	t := Table{ID: "eager", Title: title, Columns: append(SpecColumns(), NumberColumn("eager_requested_bytes", "live tensors"),
		NumberColumn("eager_allocated_bytes", "max_memory_allocated"), NumberColumn("eager_reserved_bytes", "max_memory_reserved"),
		NumberColumn("eager_searched_bytes", "allocated, with search"), NumberColumn("planned_peak_bytes", "our planned peak"))}
	for _, r := range records {
		row := SpecCells(r.Spec, localModules(r))
		for _, n := range append(EagerSizes(r.Memory), r.Memory.PlannedPeakBytes) {
			row = append(row, BytesCell(n))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// localModules is K of a run, the value of --modules that gives the same cuts: the number of its local modules, or, for AugLocal
// (AuxDepth) and for published programs without --cuts, that of its units. It is 0 if the method does not divide the
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

package planned

import (
	"fmt"
	"strings"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// fitTable is a table of the batches that fit, a row for each configuration: columns and cells come after those of the run.
func fitTable(title string, all []results.Fit, columns []table.Column, notes []string,
	cells func(results.Fit) []table.Cell) table.Table {
	fits := table.TextColumn("fits", "fits")
	fits.Quiet = true // people see the empty batch and the note
	t := table.Table{ID: "fit", Title: title, Columns: append(append(table.SpecColumns(), fits), columns...), Notes: notes}
	for _, f := range all {
		s, word := f.Spec, "yes"
		row := table.SpecCells(s, f.LocalModules)
		switch f.Batch {
		case 0:
			word = "no"
			sample := "one sample fits"
			if f.Least > 1 {
				sample = fmt.Sprintf("%d samples fit, the least that it can be trained on", f.Least)
			}
			t.Notes = append(t.Notes, fmt.Sprintf("%s on %s: not even %s.", s.Method, s.Network, sample))
			row[3] = table.Cell{}
		case f.Limit:
			t.Notes = append(t.Notes, fmt.Sprintf("%s on %s: all %d training samples of %s fit.", s.Method, s.Network, f.Limit, s.Dataset))
		}
		t.Rows = append(t.Rows, append(append(row, table.Text(word)), cells(f)...))
	}
	return t
}

// NothingFits names the configurations for which no batch fits; it is empty where one fits for each.
func NothingFits(all []results.Fit) string {
	var nothing []string
	for _, f := range all {
		if f.Batch == 0 {
			nothing = append(nothing, fmt.Sprintf("%s on %s", f.Spec.Method, f.Spec.Network))
		}
	}
	return strings.Join(nothing, ", ")
}

// FitArenas is the table of the largest batches whose arena fits into the budget in bytes.
func FitArenas(all []results.Fit, bytes int64) table.Table {
	t := fitTable("Largest batch whose arena fits into "+table.Bytes(bytes), all, []table.Column{
		table.NumberColumn("planned_peak_bytes", "planned peak"), table.NumberColumn("step_arena_bytes", "step arena"),
		table.NumberColumn("arena_bytes", "arena"), table.NumberColumn("next_arena_bytes", "arena, one sample more")},
		[]string{"The arena is what the run allocates for training and evaluation. " +
			"The program, its libraries and the data set come on top: --fit-process counts them."},
		func(f results.Fit) []table.Cell {
			m := f.Memory
			return []table.Cell{table.BytesCell(m.PlannedPeakBytes), table.BytesCell(m.StepArenaBytes),
				table.BytesCell(m.ArenaBytes),
				table.BytesCell(f.NextBytes)}
		})
	unknown := int64(0)
	for _, f := range all {
		unknown = max(unknown, f.UnknownWorkspaces)
	}
	if unknown > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf(
			"The workspace of up to %d ops is not known and not counted: leave room for it with --reserve.", unknown))
	}
	return t
}

// FitProcesses is the table of the largest batches whose processes were measured to fit into the limit in bytes: of the memory
// limit of a container, or of RLIMIT_DATA of each process.
func FitProcesses(all []results.Fit, bytes int64, dataLimit bool) table.Table {
	what := "a container with " + table.Bytes(bytes)
	note := "Process: largest resident set of the run's process and of the `benchctl run` that starts it, " +
		"page tables included, with one run at a time (--jobs 1)."
	if dataLimit {
		what = "a data limit of " + table.Bytes(bytes)
		note = "Process: private writable address space of the run's process (VmData), which RLIMIT_DATA bounds; " +
			"more than is resident."
	}
	return fitTable("Largest batch whose process fits into "+what+", measured", all, []table.Column{
		table.NumberColumn("step_arena_bytes", "step arena"), table.NumberColumn("arena_bytes", "arena"),
		table.NumberColumn("process_bytes", "process"), table.NumberColumn("run_process_bytes", "of the run"),
		table.NumberColumn("sweep_process_bytes", "of benchctl run"), table.NumberColumn("headroom_bytes", "left free at least"),
		table.NumberColumn("probes", "probes")},
		[]string{note, "Measured by probes: the run itself for two epochs of a full and a last batch, " +
			"with the whole data set in memory."},
		func(f results.Fit) []table.Cell {
			run, sweep := table.BytesCell(&f.RunBytes), table.BytesCell(&f.SweepBytes)
			if dataLimit {
				run, sweep = table.Cell{}, table.Cell{} // they are resident sets, which this limit does not bound
			}
			return []table.Cell{table.BytesCell(f.Memory.StepArenaBytes), table.BytesCell(f.Memory.ArenaBytes),
				table.BytesCell(&f.ProcessBytes),
				run, sweep, table.BytesCell(&f.HeadroomBytes), table.CountCell(&f.Probes)}
		})
}

// FitEager is the table of the largest batches for which an eager framework reserves at most the budget in bytes. library is
// the workspace of cuBLAS on the GPU of that name; nil where it is not known.
func FitEager(all []results.Fit, bytes int64, gpu string, library *int64) table.Table {
	t := fitTable("Largest batch for which PyTorch reserves at most "+table.Bytes(bytes)+", predicted", all, []table.Column{
		table.NumberColumn("eager_allocated_bytes", "max_memory_allocated"),
		table.NumberColumn("eager_reserved_bytes", "max_memory_reserved"),
		table.NumberColumn("next_eager_reserved_bytes", "max_memory_reserved, one sample more"),
		table.NumberColumn("eager_library_bytes", "cuBLAS workspaces")},
		nil, func(f results.Fit) []table.Cell {
			return []table.Cell{table.BytesCell(f.Memory.EagerAllocatedBytes), table.BytesCell(f.Memory.EagerReservedBytes),
				table.BytesCell(f.NextBytes), table.BytesCell(library)}
		})
	notes := []string{"Bounded is max_memory_reserved, what the caching allocator asks of the device, " +
		"with cuBLAS's workspaces where they are known (--gpu). " +
		"CUDA's context comes on top: leave room for it with --reserve."}
	if gpu != "" && library == nil {
		notes = append(notes, "How much workspace cuBLAS gets on "+gpu+" is not known, and not counted.")
	}
	t.Notes = append(notes, t.Notes...)
	return t
}

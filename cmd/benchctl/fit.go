package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/reports/planned"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// fitSearch finds the largest batch of a spec. It returns the cells of the row after those of the run, and the batch: 0 where not
// even least fits.
type fitSearch func(r *suite.Run, least, limit int64) (batch int64, cells []table.Cell, err error)

// fitRows fills a table of the batches that fit, a row for each configuration. The verdict is an error if none fits for one
// of them.
func fitRows(t table.Table, runs []*suite.Run, least func(*suite.Run) int64, find fitSearch) ([]table.Table, error, error) {
	fits := table.TextColumn("fits", "fits")
	fits.Quiet = true // people see the empty batch and the note
	t.ID, t.Columns = "fit", append(append(table.SpecColumns(), fits), t.Columns...)
	var nothing []string
	for _, r := range slices.CompactFunc(runs, sameButBatch) {
		s, limit := r.Spec, r.TrainSamples()
		low := min(least(r), limit)
		batch, cells, err := find(r, low, limit)
		if err != nil {
			return nil, nil, err
		}
		s.Batch = batch
		word := "yes"
		switch batch {
		case 0:
			word = "no"
			sample := "one sample fits"
			if low > 1 {
				sample = fmt.Sprintf("%d samples fit, the least that it can be trained on", low)
			}
			nothing = append(nothing, fmt.Sprintf("%s on %s", s.Method, s.Network))
			t.Notes = append(t.Notes, fmt.Sprintf("%s on %s: not even %s.", s.Method, s.Network, sample))
		case limit:
			t.Notes = append(t.Notes, fmt.Sprintf("%s on %s: all %d training samples of %s fit.", s.Method, s.Network, limit, s.Dataset))
		}
		row := specCells(s)
		if batch == 0 { // of which K may not be known either
			s.Batch = low
			row = specCells(s)
			row[3] = table.Cell{}
		}
		t.Rows = append(t.Rows, append(append(row, table.Text(word)), cells...))
	}
	if len(nothing) > 0 {
		return []table.Table{t}, &verdictError{"no batch fits: " + strings.Join(nothing, ", ")}, nil
	}
	return []table.Table{t}, nil, nil
}

func sameButBatch(a, b *suite.Run) bool {
	return a.WithBatch(1).ID() == b.WithBatch(1).ID()
}

// fitArena finds the largest batch of every spec whose arena fits.
func (f *planFlags) fitArena(d engine.Device, runs []*suite.Run, budget int64) ([]table.Table, error, error) {
	t := table.Table{Title: "Largest batch whose arena fits into " + table.Bytes(budget), Columns: []table.Column{
		table.NumberColumn("planned_peak_bytes", "planned peak"), table.NumberColumn("step_arena_bytes", "step arena"),
		table.NumberColumn("arena_bytes", "arena"),
		table.NumberColumn("next_arena_bytes", "arena, one sample more")}}
	t.Notes = []string{"The arena is what the run allocates for training and evaluation. " +
		"The program, its libraries and the data set come on top: --fit-process counts them."}
	unknown := 0
	tables, verdict, err := fitRows(t, runs, func(r *suite.Run) int64 { return r.LeastBatch(d) },
		func(r *suite.Run, least, limit int64) (int64, []table.Cell, error) {
			plans := map[int64]*suite.Compiled{}
			found, next, err := suite.LargestBatch(least, limit, budget, func(batch int64) (int64, error) {
				c, err := r.WithBatch(batch).Compile(d, f.job)
				if err != nil {
					return 0, fmt.Errorf("%s with batch %d: %w", r.Spec.Method, batch, err)
				}
				plans[batch] = c
				unknown = max(unknown, c.UnknownWorkspaces)
				return *c.Memory.ArenaBytes, nil
			})
			cells := make([]table.Cell, 4)
			if c := plans[found.Batch]; c != nil {
				cells = []table.Cell{table.BytesCell(c.Memory.PlannedPeakBytes), table.BytesCell(c.Memory.StepArenaBytes),
					table.BytesCell(c.Memory.ArenaBytes), {}}
			}
			if next.Batch > 0 {
				cells[3] = table.BytesCell(&next.Bytes)
			}
			return found.Batch, cells, err
		})
	if unknown > 0 && len(tables) > 0 {
		tables[0].Notes = append(tables[0].Notes, fmt.Sprintf(
			"The workspace of up to %d ops is not known and not counted: leave room for it with --reserve.", unknown))
	}
	return tables, verdict, err
}

// fitProcess finds the largest batch of every spec whose processes stay within the memory.
func (f *planFlags) fitProcess(env Env, d engine.Device, runs []*suite.Run) ([]table.Table, error, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	ctx, stop := interrupts(env, "the probe ends")
	defer stop()
	limit := suite.ProcessLimit(f.processLimit)
	what := "a container with " + table.Bytes(f.process)
	if limit == suite.LimitData {
		what = "a data limit of " + table.Bytes(f.process)
	}
	t := table.Table{Title: "Largest batch whose process fits into " + what + ", measured", Columns: []table.Column{
		table.NumberColumn("step_arena_bytes", "step arena"), table.NumberColumn("arena_bytes", "arena"), table.NumberColumn("process_bytes", "process"),
		table.NumberColumn("run_process_bytes", "of the run"), table.NumberColumn("sweep_process_bytes", "of benchctl run"),
		table.NumberColumn("headroom_bytes", "left free at least"), table.NumberColumn("probes", "probes")}}
	if limit == suite.LimitData {
		t.Notes = []string{"Process: private writable address space of the run's process (VmData), which " +
			"RLIMIT_DATA bounds; more than is resident."}
	} else {
		t.Notes = []string{"Process: largest resident set of the run's process and of the `benchctl run` that starts it, " +
			"page tables included, with one run at a time (--jobs 1)."}
	}
	t.Notes = append(t.Notes, "Measured by probes: the run itself for two epochs of a full and a last batch, "+
		"with the whole data set in memory.")
	return fitRows(t, runs, func(r *suite.Run) int64 { return r.LeastBatch(d) },
		func(r *suite.Run, least, most int64) (int64, []table.Cell, error) {
			found, err := r.FitProcess(d, f.job, least, most, f.process, limit, func(s results.Spec) (suite.ProcessMemory, error) {
				if env.IsTTY {
					fmt.Fprintf(env.Stderr, "probe: %s\n", planned.Label(s))
				}
				return startProbe(ctx, self, suite.Job{Spec: s, DataDir: f.dataDir, JobOptions: f.job})
			})
			m, p := found.Memory, found.Process
			cells := []table.Cell{table.BytesCell(m.StepArenaBytes), table.BytesCell(m.ArenaBytes), table.BytesCell(new(limit.Of(p))),
				table.BytesCell(&p.RunBytes),
				table.BytesCell(&p.SweepBytes), table.BytesCell(&found.Headroom), table.CountCell(new(int64(found.Probes)))}
			if limit == suite.LimitData {
				cells[3], cells[4] = table.Cell{}, table.Cell{} // they are resident sets, which this limit does not bound
			}
			return found.Batch, cells, err
		})
}

// fitEager finds the largest batch of every spec for which an eager framework takes no more than fits: what its allocator
// reserves, and on a GPU that the model knows cuBLAS's workspaces.
func fitEager(runs []*suite.Run, budget int64, gpu string) ([]table.Table, error, error) {
	if runs[0].Spec.Precision == suite.PrecisionBF16 {
		return nil, nil, fmt.Errorf("--policy eager with --precision %s: there is no prediction for it: "+
			"the casts that frameworks add are not in the model", runs[0].Spec.Precision)
	}
	t := table.Table{Title: "Largest batch for which PyTorch reserves at most " + table.Bytes(budget) + ", predicted",
		Columns: []table.Column{
			table.NumberColumn("eager_allocated_bytes", "max_memory_allocated"), table.NumberColumn("eager_reserved_bytes", "max_memory_reserved"),
			table.NumberColumn("next_eager_reserved_bytes", "max_memory_reserved, one sample more"),
			table.NumberColumn("eager_library_bytes", "cuBLAS workspaces")}}
	library, known := suite.LibraryBytes(gpu)
	t.Notes = []string{"Bounded is max_memory_reserved, what the caching allocator asks of the device, " +
		"with cuBLAS's workspaces where they are known (--gpu). " +
		"CUDA's context comes on top: leave room for it with --reserve."}
	if gpu != "" && !known {
		t.Notes = append(t.Notes, "How much workspace cuBLAS gets on "+gpu+" is not known, and not counted.")
	}
	return fitRows(t, runs, (*suite.Run).LeastEagerBatch, func(r *suite.Run, least, limit int64) (int64, []table.Cell, error) {
		type sizes struct{ allocated, reserved int64 }
		seen := map[int64]sizes{}
		found, next, err := suite.LargestBatch(least, limit, budget-library, func(batch int64) (int64, error) {
			p, _, err := r.WithBatch(batch).PredictEager()
			if err != nil {
				return 0, fmt.Errorf("%s with batch %d: %w", r.Spec.Method, batch, err)
			}
			seen[batch] = sizes{p.AllocatedBytes, p.ReservedBytes}
			return p.ReservedBytes, nil
		})
		cells := make([]table.Cell, 4)
		if found.Batch > 0 {
			cells[0], cells[1] = table.BytesCell(new(seen[found.Batch].allocated)), table.BytesCell(&found.Bytes)
		}
		if next.Batch > 0 {
			cells[2] = table.BytesCell(&next.Bytes)
		}
		if known {
			cells[3] = table.BytesCell(&library)
		}
		return found.Batch, cells, err
	})
}

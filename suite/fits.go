package suite

import (
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/results"
)

// fits searches for the largest batch of each configuration of runs, which differ in their batches only where they are one
// configuration. find gets a result with Spec, Least and Limit and fills in what it found.
func fits(runs []*Run, least func(*Run) int64, find func(r *Run, f *results.Fit) error) (all []results.Fit, err error) {
	for _, r := range slices.CompactFunc(slices.Clone(runs), sameButBatch) {
		limit := r.TrainSamples()
		f := results.Fit{Spec: r.Spec, Least: min(least(r), limit), Limit: limit}
		if err := find(r, &f); err != nil {
			return nil, err
		}
		f.Spec.Batch = f.Batch
		if f.Batch == 0 { // of which K may not be known
			f.Spec.Batch = f.Least
		}
		f.LocalModules = int64(r.WithBatch(f.Spec.Batch).ModuleCount())
		all = append(all, f)
	}
	return all, nil
}

func sameButBatch(a, b *Run) bool { return a.WithBatch(1).ID() == b.WithBatch(1).ID() }

// FitArenas finds the largest batch of every configuration whose arena has at most the given number of bytes.
func FitArenas(d engine.Device, runs []*Run, job JobOptions, bytes int64) ([]results.Fit, error) {
	return fits(runs, func(r *Run) int64 { return r.LeastBatch(d) }, func(r *Run, f *results.Fit) error {
		plans := map[int64]*Compiled{}
		found, next, err := LargestBatch(f.Least, f.Limit, bytes, func(batch int64) (int64, error) {
			c, err := r.WithBatch(batch).Compile(d, job)
			if err != nil {
				return 0, fmt.Errorf("%s with batch %d: %w", r.Spec.Method, batch, err)
			}
			plans[batch] = c
			f.UnknownWorkspaces = max(f.UnknownWorkspaces, int64(c.UnknownWorkspaces))
			return *c.Memory.ArenaBytes, nil
		})
		if c := plans[found.Batch]; c != nil {
			f.Memory = c.Memory
		}
		f.Batch = found.Batch
		if next.Batch > 0 {
			f.NextBytes = &next.Bytes
		}
		return err
	})
}

// FitEager finds the largest batch of every configuration for which an eager framework's allocator reserves at most the given
// number of bytes, less those of its libraries. There is no prediction in bf16.
func FitEager(runs []*Run, bytes, libraries int64) ([]results.Fit, error) {
	if runs[0].Spec.Precision == PrecisionBF16 {
		return nil, fmt.Errorf("--policy eager with --precision %s: there is no prediction for it: "+
			"the casts that frameworks add are not in the model", runs[0].Spec.Precision)
	}
	return fits(runs, (*Run).LeastEagerBatch, func(r *Run, f *results.Fit) error {
		allocated := map[int64]int64{}
		found, next, err := LargestBatch(f.Least, f.Limit, bytes-libraries, func(batch int64) (int64, error) {
			p, _, err := r.WithBatch(batch).PredictEager()
			if err != nil {
				return 0, fmt.Errorf("%s with batch %d: %w", r.Spec.Method, batch, err)
			}
			allocated[batch] = p.AllocatedBytes
			return p.ReservedBytes, nil
		})
		if found.Batch > 0 {
			f.Memory.EagerAllocatedBytes, f.Memory.EagerReservedBytes = new(allocated[found.Batch]), &found.Bytes
		}
		f.Batch = found.Batch
		if next.Batch > 0 {
			f.NextBytes = &next.Bytes
		}
		return err
	})
}

// FitProcesses finds the largest batch of every configuration whose processes stay within a limit in bytes, with
// FitProcess.
func FitProcesses(d engine.Device, runs []*Run, job JobOptions, bytes int64, limit ProcessLimit,
	probe func(s results.Spec) (ProcessMemory, error)) ([]results.Fit, error) {
	return fits(runs, func(r *Run) int64 { return r.LeastBatch(d) }, func(r *Run, f *results.Fit) error {
		found, err := r.FitProcess(d, job, f.Least, f.Limit, bytes, limit, probe)
		f.Batch, f.Memory, f.HeadroomBytes, f.Probes = found.Batch, found.Memory, found.Headroom, int64(found.Probes)
		f.RunBytes, f.SweepBytes, f.ProcessBytes = found.Process.RunBytes, found.Process.SweepBytes, limit.Of(found.Process)
		return err
	})
}

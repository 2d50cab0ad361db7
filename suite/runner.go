package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/meter"
)

// SweepError says that runs failed, or that a sweep ended before all were run.
type SweepError struct {
	Failed, Total int
	Cause         error // a record that could not be written, or the error of the first failed run; may be nil
}

// Error says how many runs failed, and why if no record does.
func (e *SweepError) Error() string {
	switch {
	case e.Cause != nil && e.Failed > 0:
		return fmt.Sprintf("%d of %d runs failed: %v", e.Failed, e.Total, e.Cause)
	case e.Cause != nil:
		return fmt.Sprintf("the sweep stopped: %v", e.Cause)
	}
	return fmt.Sprintf("%d of %d runs failed: their records say why", e.Failed, e.Total)
}

// Unwrap returns the cause.
func (e *SweepError) Unwrap() error { return e.Cause }

// InterruptedError says that the user stopped the work.
type InterruptedError struct {
	Left string // which work is kept
	Next string // how to continue; may be empty
}

// Error says which work is kept.
func (e *InterruptedError) Error() string { return "interrupted: " + e.Left }

// Hint says how to continue.
func (e *InterruptedError) Hint() string { return e.Next }

// Run is Sweep with a verdict: the error is nil if all runs are done, an *InterruptedError if the context was cancelled, and
// else a *SweepError.
func (o Runner) Run(ctx context.Context, specs []results.Spec) ([]results.Record, error) {
	records, err := o.Sweep(ctx, specs)
	return records, o.verdict(ctx, records, len(specs), err)
}

// verdict is the error of Run for the records and the error of Sweep.
func (o Runner) verdict(ctx context.Context, records []results.Record, total int, err error) error {
	done := 0
	for _, r := range records {
		if r.Status == results.StatusDone {
			done++
		}
	}
	switch {
	case ctx.Err() != nil:
		next := "the same command with --resume goes on"
		if o.Resume {
			next = "the same command goes on"
		}
		return &InterruptedError{fmt.Sprintf("%d of %d runs are done, what the others had is saved", done, total), next}
	case len(records) > done:
		failed := &SweepError{Failed: len(records) - done, Total: total}
		var file *atomicfile.Error
		if errors.As(err, &file) { // or else, with FailFast, it says no more
			failed.Cause = err
		} else {
			failed.Cause = o.unrecorded(records)
		}
		return failed
	case err != nil:
		return &SweepError{Total: total, Cause: err}
	}
	return nil
}

// unrecorded is why the first run failed whose record does not say it, because that of an earlier run is kept; nil if all do.
func (o Runner) unrecorded(records []results.Record) error {
	for _, r := range records {
		if r.Status == results.StatusDone {
			continue
		}
		if on, err := results.Read(results.Path(o.Out, r.ID)); err != nil || on.Attempt != r.Attempt {
			return fmt.Errorf("%s: %s", r.ID, r.Error)
		}
	}
	return nil
}

// Record reads the record of a spec from the folder; false if there is none of a completed run.
func (o Runner) Record(s results.Spec) (results.Record, bool) {
	return doneRecord(o.Out, results.SpecID(s))
}

// Written counts the records that lie in the folder: a disk may have been full.
func (o Runner) Written(records []results.Record) (count int) {
	for _, r := range records {
		if _, err := os.Stat(results.Path(o.Out, r.ID)); err == nil {
			count++
		}
	}
	return count
}

// Profile profiles a spec in a process of its own.
func (o Runner) Profile(ctx context.Context, spec results.Spec, steps int) (*results.Profile, error) {
	k := o.profile(ctx, spec, steps)
	if k.Profile == nil {
		return nil, fmt.Errorf("%s: %s", results.SpecID(spec), k.Error)
	}
	return k.Profile, nil
}

func (o Runner) profile(ctx context.Context, spec results.Spec, steps int) results.KeptProfile {
	k := results.KeptProfile{Spec: spec, Steps: steps, Status: results.StatusDone}
	o = o.withDefaults()
	k.Commit = o.commit
	o.Out, o.JobOptions = os.TempDir(), JobOptions{Profile: steps, MemoryLimit: o.MemoryLimit}
	on := o.On
	o.On = func(i int, s results.Spec, e Event) {
		if e.Kind == EventProfile {
			k.Profile = e.Profile
		}
		on(i, s, e)
	}
	limited := ctx
	if o.TimeLimit > 0 {
		var stop context.CancelFunc
		limited, stop = context.WithTimeoutCause(ctx, o.TimeLimit, errLimit)
		defer stop()
	}
	end := o.process(limited, 0, Job{Spec: spec}, Place{})
	if k.Profile == nil || end.done != nil {
		k.Profile, k.Status, k.Error = nil, end.status, end.text
		if errors.Is(context.Cause(limited), errLimit) {
			k.Status, k.Error = results.StatusFailed, fmt.Sprintf("took longer than the limit of %s", o.TimeLimit)
		}
	}
	return k
}

// KeptProfile is Profile, with the profile kept in the folder Out. One that is there, of this program, is not measured again.
func (o Runner) KeptProfile(ctx context.Context, spec results.Spec, steps int) (*results.Profile, error) {
	k, err := results.ReadProfile(o.Out, spec, steps)
	if err != nil || k.Status != results.StatusDone || k.Commit != o.withDefaults().commit {
		k = o.profile(ctx, spec, steps)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := results.WriteProfile(o.Out, k); err != nil {
			return nil, err
		}
	}
	if k.Profile == nil {
		return nil, fmt.Errorf("%s: %s", results.SpecID(spec), k.Error)
	}
	return k.Profile, nil
}

// Probe runs a few steps of a spec in a process of its own, and returns what the memory of that process was.
func (o Runner) Probe(ctx context.Context, spec results.Spec) (*ProcessMemory, error) {
	var found *ProcessMemory
	o.Out, o.JobOptions.Probe = os.TempDir(), true
	o.On = func(_ int, _ results.Spec, e Event) {
		if e.Kind == EventProbe {
			found = e.Probe
		}
	}
	end := o.withDefaults().process(ctx, 0, Job{Spec: spec}, Place{})
	if found == nil || end.done != nil {
		return nil, fmt.Errorf("%s: %s", results.SpecID(spec), end.text)
	}
	return found, nil
}

// ProbeBoth does what a sweep does with one run, for a few steps, and returns the memory of the run's process and, as
// SweepBytes, of this one.
func (o Runner) ProbeBoth(ctx context.Context, h Host, s results.Spec) (*ProcessMemory, error) {
	out, err := os.MkdirTemp("", "benchctl-probe-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(out)
	run, err := Build(s)
	if err != nil {
		return nil, err
	}
	o.Out = out
	if err := o.Preflight(h, []*Run{run}); err != nil {
		return nil, err
	}
	debug.FreeOSMemory()
	if err := meter.Self().ResetPeak(); err != nil {
		return nil, err
	}
	found, err := o.Probe(ctx, s)
	if err != nil {
		return nil, err
	}
	own, err := meter.Self().Memory()
	if err != nil {
		return nil, err
	}
	if own.PeakBytes == nil || own.PageTableBytes == nil {
		return nil, errors.New("the system does not report the memory of a process")
	}
	found.SweepBytes = *own.PeakBytes + *own.PageTableBytes
	return found, nil
}

package suite

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/meter"
	"github.com/localbench/localbench/suite/train"
)

// Runner runs specs, each in a process of its own, and keeps their records in a folder.
type Runner struct {
	// Command is the argv of the process of one run: it reads a Job as JSON on standard input, prints events as JSON lines on
	// standard output, writes the record, and ends with 0 or one of the codes of a run.
	Command  []string
	Out      string // folder of the records
	DataDir  string
	Resume   bool // skip finished runs, go on with interrupted ones
	FailFast bool // stop the sweep at the first run that fails
	Jobs     int  // runs at a time; 0: 1
	// Places are where runs at a time run, as many as Jobs; nil: they share what this process may use.
	Places []Place
	JobOptions
	TimeLimit time.Duration // of a run; 0: none. One that takes longer is stopped, saves its state, and fails.
	OnOOM     string        // one of the OnOOM constants; empty: OnOOMSkip
	// Trim removes from a record what the caller does not need: a sweep keeps the records of all runs in memory. May be nil.
	Trim   func(*results.Record)
	Now    func() time.Time
	On     func(run int, spec results.Spec, e Event) // one call at a time for a run; may be nil
	Stderr io.Writer                                 // of the runs' processes

	oomKills func() (int64, error) // nil: meter.OutOfMemoryKills
	commit   string                // of this program; empty: the one that it was built from
}

// Sweep runs every spec in a process of its own and returns their records in
// order. Runs that fail are recorded and the sweep goes on; the record of a run that is done is never replaced by
// one of a run that is not. The error is the context's if it was interrupted, and else tells what could not even be
// recorded.
func (o Runner) Sweep(ctx context.Context, specs []results.Spec) ([]results.Record, error) {
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return nil, fmt.Errorf("out: %w", &atomicfile.Error{Path: o.Out, Err: err})
	}
	o = o.withDefaults()
	// What processes left that were killed while they wrote. A file that cannot be removed stops no run.
	_, _ = atomicfile.RemoveAbandoned(o.Out)
	records := make([]*results.Record, len(specs))
	runs, ctx := errgroup.WithContext(ctx)
	runs.SetLimit(max(o.Jobs, 1))
	places := o.Places
	if len(places) == 0 {
		places = ShareCores(max(o.Jobs, 1))
	}
	free := make(chan Place, len(places))
	for _, p := range places {
		free <- p
	}
	for i, spec := range specs {
		runs.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			place := <-free
			defer func() { free <- place }()
			r, err := o.untilItFits(ctx, i, spec, place)
			if r != nil && o.Trim != nil {
				o.Trim(r)
			}
			records[i] = r
			if r != nil {
				o.On(i, spec, Event{Kind: EventEnded, Text: string(r.Status)})
			}
			return err
		})
	}
	err := runs.Wait()
	var out []results.Record
	for _, r := range records {
		if r != nil {
			out = append(out, *r)
		}
	}
	return out, err
}

// withDefaults fills in what may be nil.
func (o Runner) withDefaults() Runner {
	if o.On == nil {
		o.On = func(int, results.Spec, Event) {}
	}
	if o.oomKills == nil {
		o.oomKills = meter.OutOfMemoryKills
	}
	if o.commit == "" {
		_, o.commit = build()
	}
	return o
}

// errFailed stops a sweep that is to fail fast.
var errFailed = errors.New("a run failed and the sweep is to stop at the first failure")

// errLimit stops a run that takes too long.
var errLimit = errors.New("the time limit of a run has passed")

// untilItFits runs a spec, and smaller ones if it is out of memory and OnOOM says so.
func (o Runner) untilItFits(ctx context.Context, i int, spec results.Spec, place Place) (*results.Record, error) {
	for {
		r, err := o.one(ctx, i, place.of(spec), place)
		if err == nil && r.Status == results.StatusOutOfMemory {
			if next, ok := smaller(o.OnOOM, spec); ok {
				o.On(i, spec, Event{Kind: EventWarning, Text: "out of memory; runs again as " + results.SpecID(next)})
				spec = next
				continue
			}
		}
		if err == nil && o.FailFast && r.Status != results.StatusDone {
			return r, errFailed
		}
		return r, err
	}
}

func (o Runner) one(ctx context.Context, i int, spec results.Spec, place Place) (*results.Record, error) {
	id := results.SpecID(spec)
	if o.Resume {
		if r, ok := doneRecord(o.Out, id); ok {
			// The process may have been killed between its record and the removal of its state.
			_ = train.RemoveState(statePath(o.Out, id))
			if o.commit != "" && r.Environment.Commit != o.commit {
				o.On(i, spec, Event{Kind: EventKept, Text: r.Environment.Commit})
			}
			o.On(i, spec, Event{Kind: EventSkipped})
			return &r, nil
		}
	}
	// What tells the record that this process writes from an older one: times do not, a clock may be set back.
	attempt := rand.Text()
	started := o.Now()
	limited := ctx
	if o.TimeLimit > 0 {
		var stop context.CancelFunc
		limited, stop = context.WithTimeoutCause(ctx, o.TimeLimit, errLimit)
		defer stop()
	}
	end := o.process(limited, i, Job{Spec: spec, Attempt: attempt}, place)
	r, err := results.Read(results.Path(o.Out, id))
	if err != nil || r.Attempt != attempt {
		// The process ended without a record of its own.
		r = results.Record{ID: id, Attempt: attempt, Spec: spec, Status: end.status, Started: started, Finished: o.Now(),
			Error: end.text}
		if r.Status == results.StatusOutOfMemory {
			r.Error += underLimit()
		}
		if limited.Err() != nil {
			r.Status, r.Error = results.StatusInterrupted, ""
		}
		kept, err := record(o.Out, r)
		if err != nil {
			return &r, err
		}
		if kept && end.done == nil { // or else the process has said so
			o.On(i, spec, Event{Kind: EventWarning, Text: keptSentence(o.Out, id)})
		}
	}
	if ctx.Err() != nil {
		return &r, ctx.Err()
	}
	if errors.Is(context.Cause(limited), errLimit) && r.Status == results.StatusInterrupted {
		r.Status, r.Error = results.StatusFailed, fmt.Sprintf("took longer than the limit of %s; its state is kept: the next attempt "+
			"goes on from it", o.TimeLimit)
		if _, err := record(o.Out, r); err != nil {
			return &r, err
		}
	}
	return &r, nil
}

// doneRecord reads the record of a run that is done. One whose spec was edited is of another run than its name says.
func doneRecord(dir, id string) (results.Record, bool) {
	r, err := results.Read(results.Path(dir, id))
	return r, err == nil && r.Status == results.StatusDone && results.SpecID(r.Spec) == id
}

// record writes the record of a run, unless it would replace the record of a completed run by one that is not
// complete: then the older one is kept.
func record(dir string, r results.Record) (kept bool, err error) {
	if r.Status != results.StatusDone {
		if _, done := doneRecord(dir, r.ID); done {
			return true, nil
		}
	}
	return false, results.Write(dir, r)
}

func keptSentence(dir, id string) string {
	return fmt.Sprintf("%s is kept: it is the record of an earlier run that completed", results.Path(dir, id))
}

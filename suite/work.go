package suite

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/sweepdir"
)

// What a worker does with a cell that ran out of memory.
const (
	OnOOMSkip   = "skip"        // its record says so
	OnOOMHalve  = "halve-batch" // run the cell with half the batch, until it fits
	OnOOMBudget = "budget"      // run the cell with --budget at three quarters of its arena, until it fits
)

// OnOOMPolicies lists them.
func OnOOMPolicies() []string { return []string{OnOOMSkip, OnOOMHalve, OnOOMBudget} }

// Worker runs cells of a sweep that lies in the folder Runner.Out, which other workers may share.
type Worker struct {
	Runner
	RetryFailed bool   // run cells again that failed
	Job         string // of the scheduler that started this process; may be empty
}

// Cell runs one cell of a manifest, unless it is done, has failed (and RetryFailed is off), was refused, or another process
// runs it (*sweepdir.HeldError). If the context is cancelled, the cell saves its state and gives its lease back.
func (w Worker) Cell(ctx context.Context, m sweepdir.Manifest, c sweepdir.Cell) (results.Record, error) {
	r, err := w.leased(ctx, m, c)
	for err == nil && r.Status == results.StatusOutOfMemory && m.Profile == 0 {
		next, ok := smaller(m.OnOOM, c.Spec)
		if !ok {
			break
		}
		c.Spec, c.ID = next, results.SpecID(next)
		r, err = w.leased(ctx, m, c)
	}
	return r, err
}

// Any runs cells of the folder's manifests until none waits, and returns their records. Cells that other processes run are left
// to them.
func (w Worker) Any(ctx context.Context, manifests []sweepdir.Manifest) (all []results.Record, err error) {
	for ctx.Err() == nil {
		ran := false
		states, err := sweepdir.StatusOf(w.Out, manifests)
		if err != nil {
			return all, err
		}
		of := map[string]sweepdir.Manifest{}
		for _, m := range manifests {
			for _, c := range m.Cells {
				of[c.ID] = m
			}
		}
		for _, s := range states {
			if ctx.Err() != nil {
				return all, ctx.Err()
			}
			if s.State != sweepdir.Waiting && !(s.State == sweepdir.Failed && w.RetryFailed) {
				continue
			}
			r, err := w.Cell(ctx, of[s.ID], s.Cell)
			var held *sweepdir.HeldError
			if errors.As(err, &held) {
				continue
			}
			if err != nil && ctx.Err() == nil && !errors.Is(err, sweepdir.ErrLost) {
				return all, err
			}
			all, ran = append(all, r), true
		}
		if w.RetryFailed || !ran { // once is enough
			break
		}
	}
	return all, ctx.Err()
}

// Refuse records that no machine can run a cell, unless a record says that one did.
func (w Worker) Refuse(m sweepdir.Manifest, c sweepdir.Cell) error {
	if m.Profile > 0 {
		return results.WriteProfile(w.Out, results.KeptProfile{Spec: c.Spec, Steps: m.Profile, Status: results.StatusOutOfMemory,
			Error: c.Refused})
	}
	_, err := record(w.Out, results.Record{ID: c.ID, Spec: c.Spec, Status: results.StatusOutOfMemory, Error: c.Refused})
	return err
}

// leased runs a cell while it holds its lease.
func (w Worker) leased(ctx context.Context, m sweepdir.Manifest, c sweepdir.Cell) (r results.Record, err error) {
	if old, ok := w.ended(m, c); ok {
		return old, nil
	}
	if c.Refused != "" {
		return results.Record{ID: c.ID, Spec: c.Spec, Status: results.StatusOutOfMemory, Error: c.Refused}, w.Refuse(m, c)
	}
	return r, w.hold(ctx, m, c, func(ctx context.Context, o Runner) error {
		if old, ok := w.ended(m, c); ok && old.Status == results.StatusDone { // the process that had the lease is done since
			r = old
			return nil
		}
		if m.Profile > 0 {
			r = results.Record{ID: c.ID, Spec: c.Spec, Status: results.StatusDone}
			if _, err := o.KeptProfile(ctx, c.Spec, m.Profile); err != nil {
				r.Status, r.Error = results.StatusFailed, err.Error()
			}
			return ctx.Err()
		}
		records, err := o.Sweep(ctx, []results.Spec{c.Spec})
		if len(records) > 0 {
			r = records[0]
		}
		return err
	})
}

// ended is the outcome of a cell that is not to be run: it is done, or it failed and RetryFailed is off. Of a profile it has the
// status alone.
func (w Worker) ended(m sweepdir.Manifest, c sweepdir.Cell) (results.Record, bool) {
	var r results.Record
	var err error
	if m.Profile > 0 {
		var k results.KeptProfile
		k, err = results.ReadProfile(w.Out, c.Spec, m.Profile)
		r = results.Record{ID: c.ID, Spec: c.Spec, Status: k.Status, Error: k.Error}
	} else if r, err = results.Read(results.Path(w.Out, c.ID)); err == nil && results.SpecID(r.Spec) != c.ID {
		return r, false // its spec was edited: it is of another run than its name says
	}
	return r, err == nil && (r.Status == results.StatusDone || r.Status != results.StatusInterrupted && !w.RetryFailed)
}

// hold lets do run a cell while this process holds its lease.
func (w Worker) hold(ctx context.Context, m sweepdir.Manifest, c sweepdir.Cell, do func(context.Context, Runner) error) error {
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown host"
	}
	holder := sweepdir.Holder{Owner: rand.Text(), Host: host, PID: os.Getpid(), Job: w.Job, Started: w.Now(),
		Epochs: int(c.Spec.Epochs)}
	lease, err := sweepdir.Acquire(w.Out, c.ID, holder, m.Timeout())
	if err != nil {
		return fmt.Errorf("%s: %w", c.ID, err)
	}
	runs, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p := &pulse{lease: lease, holder: holder, stop: stop}
	o := w.Runner
	on := o.On
	o.On = func(i int, spec results.Spec, e Event) {
		p.note(e)
		if on != nil {
			on(i, spec, e)
		}
	}
	o.Resume, o.Jobs, o.OnOOM = true, 1, OnOOMSkip // a smaller cell has a lease of its own
	o.Init, o.SaveWeights, o.EvalHeads = m.Init, m.SaveWeights, m.EvalHeads
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		p.beat(runs, time.Duration(m.HeartbeatSeconds*float64(time.Second)))
	}()
	err = do(runs, o)
	cause := context.Cause(runs)
	stop(nil)
	<-beating
	if errors.Is(cause, sweepdir.ErrLost) {
		return fmt.Errorf("%s: %w", c.ID, cause)
	}
	if releasing := lease.Release(); err == nil {
		err = releasing
	}
	return err
}

// pulse writes the heartbeats of one cell.
type pulse struct {
	lease *sweepdir.Lease
	stop  context.CancelCauseFunc

	mu     sync.Mutex
	holder sweepdir.Holder
}

// note keeps how far the run is for the next heartbeat.
func (p *pulse) note(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Epochs > 0 {
		p.holder.Epoch, p.holder.Epochs = e.Epoch, e.Epochs
	}
	if e.SecondsLeft > 0 {
		p.holder.SecondsLeft = e.SecondsLeft
	}
	if e.MemoryBytes > 0 {
		p.holder.MemoryBytes = e.MemoryBytes
	}
}

// beat renews the lease until the context ends. A lease that was lost stops the run; one that can't be written now is tried
// again.
func (p *pulse) beat(ctx context.Context, every time.Duration) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		p.mu.Lock()
		holder := p.holder
		p.mu.Unlock()
		if err := p.lease.Beat(holder); errors.Is(err, sweepdir.ErrLost) {
			p.stop(err)
			return
		}
	}
}

// smaller is a spec to run instead of one that ran out of memory; false if the policy has no smaller one.
func smaller(policy string, s results.Spec) (results.Spec, bool) {
	switch policy {
	case OnOOMHalve:
		if s.Batch < 2 {
			return s, false
		}
		s.Batch /= 2
	case OnOOMBudget:
		run, err := Build(s)
		if err != nil {
			return s, false
		}
		settings := run.Settings
		if settings.Budget == 0 {
			compiled, err := run.CompileHere(Host{})
			if err != nil {
				return s, false
			}
			settings.Budget = *compiled.Memory.ArenaBytes
		}
		settings.Budget = settings.Budget / 4 * 3
		s = s.WithSettings(settings)
	default:
		return s, false
	}
	run, err := Build(s)
	if err != nil {
		return s, false
	}
	if _, err := run.CompileHere(Host{}); err != nil { // no budget reaches it
		return s, false
	}
	return s, true
}

// Worked is the verdict on cells that were run: an *InterruptedError, a *SweepError, or that another process runs a cell
// (*sweepdir.HeldError, sweepdir.ErrLost); nil if none of them failed.
func Worked(ctx context.Context, all []results.Record, err error) error {
	failed := 0
	for _, r := range all {
		if r.ID != "" && r.Status != results.StatusDone && r.Status != results.StatusInterrupted {
			failed++
		}
	}
	var held *sweepdir.HeldError
	switch {
	case ctx.Err() != nil:
		return &InterruptedError{Left: "the state of the cell is saved", Next: "the same command goes on"}
	case errors.As(err, &held), errors.Is(err, sweepdir.ErrLost):
		return err
	case err != nil || failed > 0:
		return &SweepError{Failed: failed, Total: len(all), Cause: err}
	}
	return nil
}

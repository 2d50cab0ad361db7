package suite

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/localbench/localbench/results"
	"golang.org/x/sync/errgroup"
)

// SweepOptions say how runs are started and where their records go.
type SweepOptions struct {
	// Command is the argv of the process of one run: it reads a Job as JSON on
	// standard input, prints events as JSON lines on standard output, writes the record, and
	// ends with 0 or one of the codes of a run.
	Command  []string
	Out      string // folder of the records
	DataDir  string
	Resume   bool // skip finished runs, go on with interrupted ones
	FailFast bool // stop the sweep at the first run that fails
	Jobs     int  // runs at a time; 0: 1
	JobOptions
	Now    func() time.Time
	On     func(run int, spec results.Spec, e Event) // called from one goroutine a run; may be nil
	Stderr io.Writer                                 // of the runs' processes
}

// Sweep runs every spec in a process of its own and returns their records in
// order. Runs that fail are recorded and the sweep goes on. The error is the
// context's if it was interrupted, and else tells what could not even be
// recorded.
func Sweep(ctx context.Context, specs []results.Spec, o SweepOptions) ([]results.Record, error) {
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return nil, fmt.Errorf("out: %w", err)
	}
	records := make([]*results.Record, len(specs))
	runs, ctx := errgroup.WithContext(ctx)
	runs.SetLimit(max(o.Jobs, 1))
	for i, spec := range specs {
		runs.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r, err := o.one(ctx, i, spec)
			records[i] = r
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

// errFailed stops a sweep that is to fail fast.
var errFailed = errors.New("a run failed and the sweep is to stop at the first failure")

func (o SweepOptions) one(ctx context.Context, i int, spec results.Spec) (*results.Record, error) {
	path := results.Path(o.Out, results.SpecID(spec))
	if o.Resume {
		// A record whose spec was edited is of another run than its name says.
		if r, err := results.Read(path); err == nil && r.Status == results.StatusDone && results.SpecID(r.Spec) == results.SpecID(spec) {
			return &r, nil
		}
	}
	started := o.Now()
	text, exit := o.process(ctx, i, spec)
	r, err := results.Read(path)
	if err != nil || r.Started.Before(started) || (exit != nil && r.Status == results.StatusDone) {
		// The process ended without a record of its own: killed, or unable to start.
		r = results.Record{ID: results.SpecID(spec), Spec: spec, Status: results.StatusFailed, Started: started, Finished: o.Now(), Error: text}
		if killed(exit) {
			r.Status = results.StatusOutOfMemory
			r.Error = "the run's process was killed, most likely for want of memory"
		}
		if ctx.Err() != nil {
			r.Status, r.Error = results.StatusInterrupted, ""
		}
		if err := results.Write(o.Out, r); err != nil {
			return &r, err
		}
		if r, err = results.Read(path); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return &r, ctx.Err()
	}
	if o.FailFast && r.Status != results.StatusDone {
		return &r, errFailed
	}
	return &r, nil
}

// process starts the process of one run, hands it the job, passes its events
// on, and waits for it. On cancellation it is asked to stop, and saves its
// state. It returns the error that it printed on standard error, without the words in front.
func (o SweepOptions) process(ctx context.Context, i int, spec results.Spec) (string, error) {
	job, err := json.Marshal(Job{Spec: spec, DataDir: o.DataDir, Out: o.Out, Resume: o.Resume, JobOptions: o.JobOptions})
	if err != nil {
		return err.Error(), err
	}
	command := exec.CommandContext(ctx, o.Command[0], o.Command[1:]...)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.Stdin = bytes.NewReader(job)
	// A group of its own: a terminal's Ctrl-C goes to the sweep, which asks the
	// runs to stop; they must not hear it twice.
	command.SysProcAttr = childAttributes()
	last := &lastLine{}
	command.Stderr = last
	if o.Stderr != nil {
		command.Stderr = io.MultiWriter(o.Stderr, last)
	}
	events, err := command.StdoutPipe()
	if err != nil {
		return err.Error(), err
	}
	if err := command.Start(); err != nil {
		return err.Error(), err
	}
	lines := bufio.NewScanner(events)
	for lines.Scan() {
		var e Event
		if o.On != nil && json.Unmarshal(lines.Bytes(), &e) == nil {
			o.On(i, spec, e)
		}
	}
	err = command.Wait()
	if text := last.String(); text != "" {
		return strings.TrimPrefix(strings.TrimPrefix(text, "benchctl: "), string(results.StatusFailed)+": "), err
	}
	return fmt.Sprintf("the run's process ended without a record: %v", err), err
}

// killed reports whether a process was ended by SIGKILL, as the kernel does
// when memory runs out.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// lastLine keeps the last line that was written to it and is no hint.
type lastLine struct{ text []byte }

// Write never fails.
func (l *lastLine) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		if line = bytes.TrimSpace(line); len(line) > 0 && !bytes.HasPrefix(line, []byte("hint: ")) {
			l.text = bytes.Clone(line)
		}
	}
	return len(p), nil
}

// String returns the line.
func (l *lastLine) String() string { return string(l.text) }

package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/datasets"
	"github.com/localbench/localbench/suite/meter"
)

// ProcessMemory is the memory of the processes of a run, in bytes, as a probe measured it.
type ProcessMemory struct {
	// RunBytes is the largest resident set of the run's own process over its whole life, with its page tables.
	RunBytes int64 `json:"run_bytes"`
	// SweepBytes is the same of the process that starts runs, `benchctl run`, while it waits for one.
	SweepBytes int64 `json:"sweep_bytes"`
	// DataBytes is the private writable address space of the run's process (VmData): what RLIMIT_DATA bounds. It is larger than what
	// is resident by the stacks of threads and by heap that the runtime has reserved.
	DataBytes int64 `json:"data_bytes"`
}

// ProcessLimit is a kind of limit on the memory of processes.
type ProcessLimit string

// The limits that a batch can be fitted to.
const (
	// LimitContainer is that of a control group (memory.max), in which `benchctl run` and its runs are together.
	LimitContainer ProcessLimit = "container"
	// LimitData is RLIMIT_DATA of each process.
	LimitData ProcessLimit = "data"
)

// Headroom is what a batch has to leave free of a limit, because processes of the same run do not take the same memory each
// time: a fiftieth of it, and at least 8 MiB, or the stacks of four threads (8 MiB each) for RLIMIT_DATA.
func (l ProcessLimit) Headroom(bytes int64) int64 {
	least := int64(8 << 20)
	if l == LimitData {
		least = 32 << 20
	}
	return max(bytes/50, least)
}

// Of is the part of the memory that the limit counts.
func (l ProcessLimit) Of(m ProcessMemory) int64 {
	if l == LimitData {
		return m.DataBytes
	}
	return m.RunBytes + m.SweepBytes
}

// probeEpochs is the length of a probe: with the second one the state of the first has been written.
const probeEpochs = 2

// probed shortens the training and test set of a probe to a full batch and the last one, without giving back the memory of
// the rest.
func probed(s datasets.Split, batch int64) (datasets.Split, error) {
	n := int(batch)
	return s.Slice(0, min(s.N, n+s.N%n))
}

// ExecuteProbe runs a job for a few steps in this process, with all its data and programs, and tells the memory of the
// process. The record and the state are written to a temporary folder that is removed.
func ExecuteProbe(ctx context.Context, h Host, j Job, now func() time.Time) (*ProcessMemory, error) {
	dir, err := os.MkdirTemp("", "benchctl-probe-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	j.Out, j.Resume, j.SaveWeights, j.Init = dir, false, false, ""
	j.Spec.Epochs, j.Spec.LR = probeEpochs, 0 // a loss cannot diverge if nothing is learned
	r := &results.Record{Spec: j.Spec, ID: results.SpecID(j.Spec), Started: now()}
	x := &execution{host: h, job: j, record: r, now: now, on: func(Event) {}, found: &ProcessMemory{}}
	if err := x.run(ctx); err != nil {
		return nil, err
	}
	if x.found.RunBytes == 0 {
		return nil, fmt.Errorf("probe: %w: the system does not tell the memory of a process", errors.ErrUnsupported)
	}
	return x.found, nil
}

// measure reads the memory of this process, for a probe.
func (m *ProcessMemory) measure() {
	if own, err := meter.Self().Memory(); err == nil && own.PeakBytes != nil && own.PageTableBytes != nil && own.DataBytes != nil {
		m.RunBytes, m.DataBytes = *own.PeakBytes+*own.PageTableBytes, *own.DataBytes
	}
}

// StartProbe measures a job with a process that does what `benchctl run` does, which starts the run itself: command is the
// argv of a program that reads the job as JSON and prints a ProcessMemory as JSON.
func StartProbe(ctx context.Context, argv []string, job Job) (m ProcessMemory, err error) {
	text, err := json.Marshal(job)
	if err != nil {
		return m, err
	}
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(text), &stdout, &stderr
	if err := command.Run(); err != nil {
		said, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(stderr.String()), MessagePrefix), "\n")
		return m, fmt.Errorf("the probe of a run failed: %s (%w)", said, err)
	}
	err = json.Unmarshal(stdout.Bytes(), &m)
	return m, err
}

// ProcessFit is the batch that FitProcess found.
type ProcessFit struct {
	Batch    int64          // samples; 0: not even the least batch fits
	Memory   results.Memory // the plan of that batch
	Process  ProcessMemory  // what its processes took; of the least batch where none fits
	Headroom int64          // bytes of the limit that the batch leaves free at least
	Probes   int            // runs that were started
}

// mostProbes bounds the runs that FitProcess starts. The second one is mostly the answer already: the process takes the
// arena and a fixed part, which the first one showed.
const mostProbes = 6

// FitProcess searches for the largest batch from least to most whose processes stay within a limit in bytes. What
// the processes take besides the arena is measured: probe starts the run of a spec for a few steps. A probe of a small batch
// gives a first figure, the plan the batch whose arena fits beside it, and a probe of that batch says whether it does; then
// the search goes on with its figure. The batch that is returned was probed, and stayed within the limit by Headroom. A
// batch a fiftieth larger may do so, too.
func (r *Run) FitProcess(d engine.Device, job JobOptions, least, most, bytes int64, limit ProcessLimit,
	probe func(s results.Spec) (ProcessMemory, error)) (f ProcessFit, err error) {
	f.Headroom = limit.Headroom(bytes)
	room := bytes - f.Headroom
	plans := map[int64]results.Memory{}
	arena := func(batch int64) (int64, error) {
		if m, ok := plans[batch]; ok {
			return *m.ArenaBytes, nil
		}
		c, err := r.WithBatch(batch).Compile(d, job)
		if err != nil {
			return 0, fmt.Errorf("%s with batch %d: %w", r.Spec.Method, batch, err)
		}
		plans[batch] = c.Memory
		return *c.Memory.ArenaBytes, nil
	}
	above := most + 1 // the smallest batch that is known not to fit
	for batch := min(max(least, firstProbe), most); f.Probes < mostProbes; {
		own, err := arena(batch)
		if err != nil {
			return f, err
		}
		f.Probes++
		m, err := probe(r.WithBatch(batch).Spec)
		if err != nil {
			return f, err
		}
		if limit.Of(m) <= room {
			f.Batch, f.Memory, f.Process = batch, plans[batch], m
		} else if above = batch; f.Batch == 0 {
			f.Process = m
		}
		beside := limit.Of(m) - own
		found, _, err := LargestBatch(least, min(most, above-1), room-beside, arena)
		if err != nil {
			return f, err
		}
		switch {
		case found.Batch > f.Batch+f.Batch/50: // less is not worth a run
			batch = found.Batch
		case f.Batch == 0 && batch > least: // the plan says that nothing fits: let the least batch prove it
			batch = least
		default:
			return f, nil
		}
	}
	return f, nil
}

// firstProbe is the batch of the first probe: small, so that it fits, and not the smallest, whose kernels are others.
const firstProbe = 16

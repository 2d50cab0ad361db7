package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/gpu"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/datasets"
	"github.com/localbench/localbench/suite/meter"
	"github.com/localbench/localbench/suite/train"
	"github.com/localbench/localbench/suite/weights"
)

// Job is one run for one process.
type Job struct {
	Spec    results.Spec `json:"spec"`
	Attempt string       `json:"attempt,omitempty"` // goes into the record, by which the sweep knows it
	DataDir string       `json:"data_dir"`
	Out     string       `json:"out"`    // folder of the record and of the state
	Resume  bool         `json:"resume"` // go on from a saved state
	JobOptions
}

// JobOptions are what a user can ask of a run that does not change its training.
type JobOptions struct {
	Init        string `json:"init,omitempty"`         // file of starting weights; the spec has its digest
	SaveWeights bool   `json:"save_weights,omitempty"` // write WeightsPath at the end
	EvalHeads   bool   `json:"eval_heads,omitempty"`   // record the accuracy of auxiliary networks by epoch
	Profile     int    `json:"profile,omitempty"`      // do not train: profile this many steps and report them in an event
	Probe       bool   `json:"probe,omitempty"`        // train a few steps, and tell the memory of the process in an event
	MemoryLimit int64  `json:"memory_limit,omitempty"` // bytes of the run's process; 0: no limit
}

// maxJobBytes bounds a job; one has some kilobytes.
const maxJobBytes = 1 << 20

// ReadJob reads a job as JSON.
func ReadJob(r io.Reader) (Job, error) {
	var job Job
	bounded := &io.LimitedReader{R: r, N: maxJobBytes}
	decoder := json.NewDecoder(bounded)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&job)
	if err != nil && bounded.N <= 0 {
		return job, fmt.Errorf("job: standard input has more than %d bytes: must be a job as JSON", maxJobBytes)
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("standard input is empty: must be a job as JSON")
	}
	if err != nil {
		return job, fmt.Errorf("job: %w", err)
	}
	if job.Out == "" {
		return job, errors.New("job: out: must be the folder for the record")
	}
	return job, nil
}

// WeightsPath is the file that --save-weights writes.
func WeightsPath(out, id string) string { return filepath.Join(out, id+".weights.safetensors") }

// EventKind says what an event reports.
type EventKind string

// The kinds of events of a run, in order of life.
const (
	EventStart EventKind = "start"
	EventStep  EventKind = "step"
	EventEpoch EventKind = "epoch"
	EventDone  EventKind = "done"
	// EventProfile ends a job that asked for a profile.
	EventProfile EventKind = "profile"
	// EventWarning is a sentence that the user should read, at any time.
	EventWarning EventKind = "warning"
	// EventKept says that a sweep resumed and kept the record of another commit of this program, which Text names; empty: it is
	// not known.
	EventKept EventKind = "kept"
	// EventMemory says how much memory the run's process has. The process that started it sends it.
	EventMemory EventKind = "memory"
	// EventEnded says that a sweep goes on to the next run: Text is the status of this one. The process that started it sends it.
	EventEnded EventKind = "ended"
	// EventSkipped says that a sweep resumed and kept the record of a run that is done.
	EventSkipped EventKind = "skipped"
	// EventProbe ends a job that asked for a probe.
	EventProbe EventKind = "probe"
)

// Event is a sign of life of a run.
type Event struct {
	Kind             EventKind        `json:"kind"`
	Epoch            int              `json:"epoch,omitempty"`
	Epochs           int              `json:"epochs,omitempty"`
	Step             int              `json:"step,omitempty"`
	Steps            int              `json:"steps,omitempty"` // of an epoch
	SamplesPerSecond float64          `json:"samples_per_second,omitempty"`
	SecondsLeft      float64          `json:"seconds_left,omitempty"` // of the run, evaluation not counted
	Loss             float64          `json:"loss,omitempty"`         // of the head, mean over the epoch so far
	MemoryBytes      int64            `json:"memory_bytes,omitempty"` // resident; with EventMemory
	TestTop1         float64          `json:"test_top1,omitempty"`    // fraction; with EventEpoch
	Text             string           `json:"text,omitempty"`         // with EventDone the run's status
	Error            string           `json:"error,omitempty"`        // why the run is not done; with EventDone
	Profile          *results.Profile `json:"profile,omitempty"`      // with EventProfile
	Probe            *ProcessMemory   `json:"probe,omitempty"`        // with EventProbe
}

// Execute runs a job in this process and writes its record. The record says
// how the run ended; the error is not nil unless it ended well. A record is
// written for every end but one: where the out folder cannot be written.
func Execute(ctx context.Context, h Host, j Job, now func() time.Time, on func(Event)) (*results.Record, error) {
	if on == nil {
		on = func(Event) {}
	}
	if j.Profile > 0 {
		p, err := ExecuteProfile(ctx, h, j)
		if err != nil {
			on(Event{Kind: EventDone, Text: string(statusOf(ctx, err)), Error: err.Error()})
			return nil, err
		}
		on(Event{Kind: EventProfile, Profile: p})
		return nil, nil
	}
	if j.Probe {
		m, err := ExecuteProbe(ctx, h, j, now)
		if err != nil {
			on(Event{Kind: EventDone, Text: string(statusOf(ctx, err)), Error: err.Error()})
			return nil, err
		}
		on(Event{Kind: EventProbe, Probe: m})
		return nil, nil
	}
	r := &results.Record{Spec: j.Spec, ID: results.SpecID(j.Spec), Attempt: j.Attempt, Started: now()}
	if err := os.MkdirAll(j.Out, 0o755); err != nil {
		err = fmt.Errorf("out: %w", &atomicfile.Error{Path: j.Out, Err: err})
		on(Event{Kind: EventDone, Text: string(results.StatusFailed), Error: err.Error()})
		return r, err
	}
	x := &execution{host: h, job: j, record: r, now: now, on: on, nvml: gpu.Open}
	err := x.run(ctx)
	r.Finished = now()
	r.Status = statusOf(ctx, err)
	if err != nil {
		r.Error = err.Error()
	}
	kept, writeErr := record(j.Out, *r)
	if writeErr != nil {
		err = errors.Join(err, writeErr)
		status := r.Status
		if status == results.StatusDone {
			status = results.StatusFailed
		}
		on(Event{Kind: EventDone, Text: string(status), Error: err.Error()})
		return r, err
	}
	if kept {
		on(Event{Kind: EventWarning, Text: keptSentence(j.Out, r.ID)})
	}
	if err == nil {
		err = train.RemoveState(x.statePath())
	}
	on(Event{Kind: EventDone, Text: string(r.Status), Error: r.Error})
	return r, err
}

func statusOf(ctx context.Context, err error) results.Status {
	var memory *engine.OutOfMemory
	var diverged *train.Diverged
	switch {
	case err == nil:
		return results.StatusDone
	case ctx.Err() != nil:
		return results.StatusInterrupted
	case errors.As(err, &memory):
		return results.StatusOutOfMemory
	case errors.As(err, &diverged):
		return results.StatusDiverged
	}
	return results.StatusFailed
}

// execution is one job on its way.
type execution struct {
	host   Host
	job    Job
	record *results.Record
	now    func() time.Time
	on     func(Event)
	nvml   func() (gpu.Library, error)
	watch  *watch
	val    *datasets.Split // held out of the training set; nil if nothing is
	found  *ProcessMemory  // of a probe; nil: this is a run
}

func (x *execution) statePath() string {
	return statePath(x.job.Out, x.record.ID)
}

// statePath is the file that an interrupted run resumes from.
func statePath(out, id string) string { return filepath.Join(out, id+".state.safetensors") }

func (x *execution) run(ctx context.Context) error {
	spec := x.job.Spec
	r, err := Build(spec)
	if err != nil {
		return err
	}
	data, err := r.openData(x.job.DataDir)
	if err != nil {
		return err
	}
	if spec.ValFraction > 0 {
		rest, held, err := data.Train.Holdout(spec.ValFraction)
		if err != nil {
			return err
		}
		data.Train, x.val = rest, &held
	}
	if x.found != nil {
		if data, err = x.shorten(data); err != nil {
			return err
		}
	}
	device, err := r.OpenDevice(x.host)
	if err != nil {
		return err
	}
	defer device.Close()
	return x.runOn(ctx, device, r, data)
}

// shorten leaves a full and a last batch of each part of the data, for a probe.
func (x *execution) shorten(data *datasets.Dataset) (*datasets.Dataset, error) {
	short, batch := *data, x.job.Spec.Batch
	var err1, err2, err3 error
	short.Train, err1 = probed(data.Train, batch)
	short.Test, err2 = probed(data.Test, batch)
	if x.val != nil {
		var held datasets.Split
		held, err3 = probed(*x.val, batch)
		x.val = &held
	}
	return &short, errors.Join(err1, err2, err3)
}

// runOn trains on an open device.
func (x *execution) runOn(ctx context.Context, device engine.Device, r *Run, data *datasets.Dataset) error {
	spec := x.job.Spec
	x.record.Environment = environment(device)
	n := samples{train: data.Train.N, test: data.Test.N}
	if x.val != nil {
		n.validation = x.val.N
	}
	options, err := r.sessionOptions(device, x.job.JobOptions, n)
	if err != nil {
		return err
	}
	x.watch = watchGPU(x.record, device, x.nvml, x.now)
	defer x.watch.close()
	debug.SetGCPercent(10) // the heap holds the data set, and may not grow to twice that
	debug.FreeOSMemory()
	baseline, measured := residentBytes()
	session, err := train.Compile(device, options)
	if err != nil {
		return err
	}
	defer session.Close()
	if note := UnusedTuning(device); note != "" {
		x.record.Environment = environment(device) // which now has it, too
		x.on(Event{Kind: EventWarning, Text: note})
	}
	x.record.Model, x.record.Memory = r.describe(session), memory(session)
	if err := r.predictEager(&x.record.Memory); err != nil {
		return err
	}
	if err := r.checkBudget(session); err != nil {
		return err
	}
	if err := r.checkMemoryLimit(session, x.job.MemoryLimit); err != nil {
		return err
	}
	if err := session.Allocate(); err != nil {
		return err
	}
	if measured {
		x.record.Memory.ProcessBaselineBytes = &baseline
	}
	x.on(Event{Kind: EventStart, Epochs: int(spec.Epochs), Text: x.record.ID})
	report, err := train.Run(ctx, session, x.options(data, r))
	if x.found != nil {
		x.found.measure()
	}
	x.watch.fill(x.record)
	x.record.Memory.Ladder = ladder(device, session.Training.Program)
	if err == nil && x.job.SaveWeights {
		err = weights.Save(WeightsPath(x.job.Out, x.record.ID), session.Training, session.Model(),
			map[string]string{"format": "pt", "run": x.record.ID})
	}
	x.fill(report)
	return err
}

func (x *execution) options(data *datasets.Dataset, r *Run) train.Options {
	spec := x.job.Spec
	o := train.Options{
		ID: x.record.ID, Seed: spec.Seed, Batch: int(spec.Batch), Data: data, Val: x.val, Augment: r.Dataset.Augment,
		Schedule:  schedule(spec),
		StatePath: x.statePath(), Resume: x.job.Resume, InitPath: x.job.Init, Now: x.now, CPU: meter.CPUSeconds, On: x.tick,
		Warn: func(sentence string) { x.on(Event{Kind: EventWarning, Text: sentence}) },
		// The peak of training, without its preparation: memory left from planning is
		// returned to the system. Where the peak cannot be reset it is that of the whole process.
		Ready: func() {
			debug.FreeOSMemory()
			if x.found == nil { // a probe is for the peak of the whole life
				_ = meter.Self().ResetPeak()
			}
			x.watch.start()
		},
	}
	if spec.Augment == augmentNone {
		o.Augment = datasets.Augmentation{}
	}
	return o
}

// tick turns the progress of the training loop into events.
func (x *execution) tick(t train.Tick) {
	if e := t.Finished; e != nil {
		x.watch.epoch(t.Epoch)
		event := Event{Kind: EventEpoch, Epoch: t.Epoch, Epochs: t.Epochs}
		event.Loss, event.TestTop1 = *e.TrainLoss, *e.TestTop1
		x.on(event)
		return
	}
	left := float64((t.Epochs-t.Epoch)*t.Steps+t.Steps-t.Step) * t.Seconds
	x.on(Event{Kind: EventStep, Epoch: t.Epoch, Epochs: t.Epochs, Step: t.Step, Steps: t.Steps, Loss: t.Loss,
		SamplesPerSecond: float64(x.job.Spec.Batch) / t.Seconds, SecondsLeft: left})
}

// fill puts what the training loop measured into the record.
func (x *execution) fill(r *train.Report) {
	record := x.record
	if peak, ok := peakBytes(); ok {
		record.Memory.ProcessPeakBytes = &peak
	}
	record.Memory.DataBufferBytes = &r.BufferBytes
	record.Accuracy.Epochs = r.Epochs
	for i, e := range r.Epochs {
		if best := record.Accuracy.BestTop1; best == nil || *e.TestTop1 > *best {
			record.Accuracy.BestTop1, record.Accuracy.BestEpoch, record.Accuracy.BestTop5 = e.TestTop1, &r.Epochs[i].Epoch, e.TestTop5
		}
		record.Accuracy.LastTop1, record.Accuracy.LastTop5 = e.TestTop1, e.TestTop5
	}
	record.Accuracy.SelectedTop1, record.Accuracy.SelectedEpoch = selected(r.Epochs)
	record.Time.TrainSeconds, record.Time.EvalSeconds = measured(r.TrainSeconds), measured(r.EvalSeconds)
	steps, ok := r.Steps.Summary()
	if !ok {
		return
	}
	record.Time.StepSeconds = &results.Distribution{Median: steps.Median, P05: steps.P05, P95: steps.P95, N: int64(steps.N)}
	if cpu, ok := r.CPU.Summary(); ok {
		record.Time.StepCPUSeconds = &results.Distribution{Median: cpu.Median, P05: cpu.P05, P95: cpu.P95, N: int64(cpu.N)}
	}
	rate := float64(x.job.Spec.Batch) / steps.Median
	record.Time.SamplesPerSecond = &rate
	record.Time.PhaseSeconds = map[string]float64{"data": r.DataWaitSeconds / float64(steps.N)}
	for phase, seconds := range r.PhaseSeconds {
		record.Time.PhaseSeconds[phase] = seconds / float64(steps.N)
	}
	if wait := r.DataWaitSeconds; wait >= 0 && wait <= r.StepSecondsSum && r.StepSecondsSum > 0 {
		share := wait / r.StepSecondsSum
		record.Time.DataWaitSeconds, record.Time.DataShare = &wait, &share
	}
}

// measured is nil for a negative time: the clock was set back meanwhile.
func measured(seconds float64) *float64 {
	if seconds < 0 {
		return nil
	}
	return &seconds
}

// selected is the test accuracy after the first epoch with the best accuracy on held out
// samples; nil where none are.
func selected(epochs []results.Epoch) (top1 *float64, epoch *int64) {
	best := -1.0
	for i, e := range epochs {
		if e.ValTop1 != nil && *e.ValTop1 > best {
			best, top1, epoch = *e.ValTop1, epochs[i].TestTop1, &epochs[i].Epoch
		}
	}
	return top1, epoch
}

func (r *Run) openData(dir string) (*datasets.Dataset, error) {
	return r.Dataset.Open(dir, datasets.Options{TrainLimit: int(r.Spec.TrainLimit), TestLimit: int(r.Spec.TestLimit)})
}

func residentBytes() (int64, bool) {
	m, err := meter.Self().Memory()
	if err != nil || m.ResidentBytes == nil {
		return 0, false
	}
	return *m.ResidentBytes, true
}

func peakBytes() (int64, bool) {
	m, err := meter.Self().Memory()
	if err != nil || m.PeakBytes == nil {
		return 0, false
	}
	return *m.PeakBytes, true
}

// checkMemoryLimit returns an error if the arena alone has more bytes than the process may have; 0: no limit. The arena of a
// GPU is not part of the process.
func (r *Run) checkMemoryLimit(session *train.Session, limit int64) error {
	bytes := session.ArenaBytes()
	if r.Spec.Backend == backendCUDA || limit == 0 || bytes <= limit {
		return nil
	}
	return &engine.OutOfMemory{NeedBytes: bytes, HaveBytes: limit, What: "an arena", Limit: "--limit-memory", LimitBytes: limit}
}

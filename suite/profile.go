package suite

import (
	"context"
	"os"
	"runtime/debug"
	"time"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/plan"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/meter"
	"github.com/localbench/localbench/suite/train"
	"github.com/localbench/localbench/suite/weights"
)

// PartReturned is what was resident at the peak and no longer is at the end of the steps. It is negative where the
// kernel has counted pages late.
const PartReturned = "given back since the peak"

// The parts of a run whose peaks stand apart. The figure of the tables is that of a
// steady step.
const (
	PeakPrepare    = "preparing"
	PeakFirstStep  = "first step"
	PeakSteady     = "steady step"
	PeakEvaluation = "evaluation"
	PeakCheckpoint = "writing a checkpoint"
)

// canary fills the arena before the step whose traces are looked for. As f32 it is
// -2.9e-16, which no step makes sixteen times in a row.
const canary = 0xa5

// ExecuteProfile profiles the job's spec in this process.
func ExecuteProfile(ctx context.Context, h Host, j Job) (*results.Profile, error) {
	r, err := Build(j.Spec)
	if err != nil {
		return nil, err
	}
	device, err := r.OpenDevice(h)
	if err != nil {
		return nil, err
	}
	defer device.Close()
	return profileOn(ctx, device, r, j)
}

// profileOn profiles on an open device.
func profileOn(ctx context.Context, device engine.Device, r *Run, j Job) (*results.Profile, error) {
	x := &profiler{batch: newBatch(r), found: &results.Profile{}}
	options, err := r.sessionOptions(device, j.JobOptions, r.samples())
	if err != nil {
		return nil, err
	}
	debug.SetGCPercent(10)
	debug.FreeOSMemory()
	x.baseline, x.measured = residentBytes()
	x.before, _ = meter.Self().Residency(0)
	if err := x.prepare(options, device, r, j.MemoryLimit); err != nil {
		return nil, err
	}
	defer x.session.Close()
	if err := x.steps(ctx, j.Profile); err != nil {
		return nil, err
	}
	x.found.Memory.Ladder = ladder(device, x.session.Training.Program)
	if err := x.others(); err != nil {
		return nil, err
	}
	if err := x.cover(); err != nil {
		return nil, err
	}
	return x.found, nil
}

// profiler is the state of one profile.
type profiler struct {
	session  *train.Session
	batch    batch
	found    *results.Profile
	baseline int64
	before   meter.Residency // at the baseline, by part; nil where the system does not tell
	measured bool
}

// batch is synthetic data of the right shape: what a step costs does not depend on it.
type batch struct {
	images []byte
	labels []int32
}

func newBatch(r *Run) batch {
	made := batch{make([]byte, r.Spec.Batch*r.Network.Input.Elements()), make([]int32, r.Spec.Batch)}
	for i := range made.images {
		made.images[i] = byte(uint32(i) * 2654435761 >> 24)
	}
	for i := range made.labels {
		made.labels[i] = int32(int64(i) % r.Network.Classes)
	}
	return made
}

// peak runs f and notes the largest resident set during it.
func (x *profiler) peak(phase string, f func() error) error {
	debug.FreeOSMemory()
	reset := meter.Self().ResetPeak()
	if err := f(); err != nil {
		return err
	}
	if peak, ok := peakBytes(); ok && x.measured && reset == nil {
		x.found.Peaks = append(x.found.Peaks, results.PhasePeak{Phase: phase, Bytes: max(peak-x.baseline, 0)})
		if phase == PeakSteady {
			x.found.Memory.ProcessPeakBytes = &peak
		}
	}
	return nil
}

// prepare opens the session. If it returns an error, nothing is left open.
func (x *profiler) prepare(options train.SessionOptions, device engine.Device, r *Run, limit int64) error {
	err := x.peak(PeakPrepare, func() (err error) {
		if x.session, err = train.Compile(device, options); err != nil {
			return err
		}
		if err = r.checkMemoryLimit(x.session, limit); err == nil {
			err = x.session.Allocate()
		}
		if err == nil {
			err = x.session.Initialise(1)
		}
		if err != nil {
			x.session.Close()
		}
		return err
	})
	if err != nil {
		return err
	}
	x.found.Memory = memory(x.session)
	if x.measured {
		x.found.Memory.ProcessBaselineBytes = &x.baseline
	}
	return nil
}

func (x *profiler) step() error {
	_, err := x.session.Train(x.batch.images, x.batch.labels, 0.01)
	return err
}

func (x *profiler) steps(ctx context.Context, count int) error {
	if err := x.peak(PeakFirstStep, x.step); err != nil {
		return err
	}
	x.session.Training.Trace(true)
	err := x.peak(PeakSteady, func() error {
		for range count {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			begin := time.Now()
			if err := x.step(); err != nil {
				return err
			}
			x.found.StepSeconds = append(x.found.StepSeconds, time.Since(begin).Seconds())
		}
		return nil
	})
	x.grow()
	x.found.Step = distribution(x.found.StepSeconds)
	x.found.OpSeconds = x.session.Training.Trace(true)
	for i := range x.found.OpSeconds {
		x.found.OpSeconds[i] /= float64(max(count, 1))
	}
	return err
}

// distribution sums up step times; nil where none was measured.
func distribution(seconds []float64) *results.Distribution {
	var steps meter.Steps
	for _, s := range seconds {
		steps.Add(s)
	}
	sum, ok := steps.Summary()
	if !ok {
		return nil
	}
	return &results.Distribution{Median: sum.Median, P05: sum.P05, P95: sum.P95, N: int64(sum.N)}
}

// grow notes by how much each part of the process has grown.
func (x *profiler) grow() {
	peak := x.found.Memory.ProcessPeakBytes
	after, err := meter.Self().Residency(*x.found.Memory.ArenaBytes)
	if err != nil || x.before == nil || peak == nil {
		return
	}
	left := *peak - x.baseline
	for _, part := range meter.Parts() {
		bytes := after[part] - x.before[part]
		left -= bytes
		x.found.Growth = append(x.found.Growth, results.PartGrowth{Part: part, Bytes: bytes, Arena: part == meter.PartArena})
	}
	x.found.Growth = append(x.found.Growth, results.PartGrowth{Part: PartReturned, Bytes: left})
}

// others are the parts of a run that are no training steps.
func (x *profiler) others() error {
	err := x.peak(PeakEvaluation, func() error {
		_, err := x.session.Evaluate(x.batch.images, x.batch.labels)
		return err
	})
	if err != nil {
		return err
	}
	// Without a name, so that nothing is left of it, however the process ends.
	file, err := os.CreateTemp("", "benchctl-profile-*")
	if err != nil {
		return err
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil {
		return err
	}
	return x.peak(PeakCheckpoint, func() error {
		return weights.Write(file, x.session.Training, x.session.Persistent(), nil)
	})
}

// cover runs one step in an arena that is filled with canaries and compares the bytes that the step changed with the plan.
func (x *profiler) cover() error {
	arena := x.session.Arena()
	if err := arena.Fill(canary); err != nil {
		return err
	}
	if err := x.session.Initialise(1); err != nil {
		return err
	}
	if err := x.step(); err != nil {
		return err
	}
	p := x.session.Training
	c, err := plan.Cover(plan.Allocations(p.Graph, p.Scratch(), p.Layout), arena.Bytes(), canary, arena.ReadAt)
	x.found.Coverage = results.Coverage(c)
	x.found.Memory.TouchedBytes = &c.TouchedBytes
	return err
}

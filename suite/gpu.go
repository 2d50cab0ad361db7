package suite

import (
	"os"
	"time"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/gpu"
	"github.com/localbench/localbench/results"
)

// backendCUDA is the backend whose runs have a card to watch.
const backendCUDA = "cuda"

// watch samples the GPU of a run through NVML. A nil watch is that of a run on another
// backend: its methods do nothing.
type watch struct {
	library gpu.Library
	card    gpu.Card // nil where it was not found; the record's notes say why
	sampler *gpu.Sampler
	now     func() time.Time
}

// watchGPU finds the card of a device of the cuda backend and puts its facts into the
// record. If NVML is missing or does not know the card, the record gets a note; that is no error, since the
// run does not need it.
func watchGPU(r *results.Record, device engine.Device, open func() (gpu.Library, error), now func() time.Time) *watch {
	if r.Spec.Backend != backendCUDA {
		return nil
	}
	w := &watch{now: now}
	note := func(err error) { r.GPU.Notes = append(r.GPU.Notes, "the card was not watched: "+err.Error()) }
	var err error
	if w.library, err = open(); err != nil {
		note(err)
		return w
	}
	r.GPU.Driver, r.GPU.CUDADriver = w.library.Driver()
	uuid := ""
	if placed, ok := device.(engine.Placed); ok {
		uuid = placed.UUID()
	}
	if w.card, err = gpu.Pick(w.library, uuid); err != nil {
		note(err)
		return w
	}
	f := w.card.Facts()
	r.GPU.Name, r.GPU.UUID, r.GPU.MemoryBytes, r.GPU.ComputeCapability = f.Name, f.UUID, f.MemoryBytes, f.ComputeCapability
	r.GPU.ECC, r.GPU.MIG = string(f.ECC), string(f.MIG)
	r.Environment.GPU, r.Environment.Driver = f.Name, r.GPU.Driver
	return w
}

// start begins to sample; the first step is next.
func (w *watch) start() {
	if w != nil && w.card != nil {
		w.sampler = gpu.Start(w.card, gpu.SamplerOptions{PID: os.Getpid(), Now: w.now})
	}
}

// epoch ends an epoch.
func (w *watch) epoch(number int) {
	if w != nil && w.sampler != nil {
		w.sampler.Epoch(int64(number))
	}
}

// fill ends the sampling and puts what it showed into the record.
func (w *watch) fill(r *results.Record) {
	if w == nil || w.sampler == nil {
		return
	}
	s := w.sampler.Stop()
	w.sampler = nil
	g, interval := &r.GPU, s.Interval.Seconds()
	g.Samples, g.IntervalSeconds, g.SampledSeconds = &s.Samples, &interval, &s.Seconds
	g.ProcessPeakBytes, g.DevicePeakBytes = s.ProcessPeakBytes, s.DevicePeakBytes
	g.PowerMeanWatts, g.PowerMaxWatts = s.PowerMeanWatts, s.PowerMaxWatts
	g.SMClockMeanHertz, g.MemoryClockMeanHertz = s.SMClockMeanHertz, s.MemoryClockMeanHertz
	g.TemperatureMaxCelsius, g.ThrottleReasons = s.MaxCelsius, s.Reasons
	g.EnergyJoules, g.EnergySource = s.EnergyJoules, string(s.EnergySource)
	for _, e := range s.Epochs {
		g.Epochs = append(g.Epochs, results.EpochEnergy{Epoch: e.Epoch, EnergyJoules: e.Joules})
	}
	g.Notes = append(g.Notes, s.Notes...)
	r.Memory.DriverPeakBytes = s.ProcessPeakBytes
}

// close gives NVML back.
func (w *watch) close() {
	if w != nil && w.library != nil {
		w.library.Close()
	}
}

// ladder is the used memory of the device by stage, of a device and its program; nil
// where neither tells it.
func ladder(device engine.Device, program engine.Program) []results.Rung {
	var rungs []results.Rung
	before := int64(0)
	for _, r := range engine.SetupMemoryOf(device, program) {
		rungs = append(rungs, results.Rung{Stage: string(r.Stage), DeviceUsedBytes: r.DeviceUsedBytes,
			DeltaBytes: r.DeviceUsedBytes - before})
		before = r.DeviceUsedBytes
	}
	return rungs
}

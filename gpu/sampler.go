package gpu

import (
	"fmt"
	"sync"
	"time"
)

// DefaultInterval is the time between samples: short compared with an epoch, long
// compared with a query of the driver.
const DefaultInterval = 100 * time.Millisecond

// SamplerOptions define how to sample.
type SamplerOptions struct {
	PID      int              // of the process whose memory is asked for
	Interval time.Duration    // 0: DefaultInterval
	Now      func() time.Time // nil: time.Now
}

// Sampler reads a card periodically in a goroutine until Stop.
type Sampler struct {
	card    Card
	options SamplerOptions
	stop    chan struct{}
	done    chan struct{}

	mu   sync.Mutex
	sums sums
}

// Start takes the first sample and starts the goroutine.
func Start(c Card, o SamplerOptions) *Sampler {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Sampler{card: c, options: o, stop: make(chan struct{}), done: make(chan struct{}), sums: newSums()}
	s.sample()
	go s.run()
	return s
}

func (s *Sampler) run() {
	defer close(s.done)
	ticker := time.NewTicker(s.options.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.sample()
		}
	}
}

// sample takes a sample. The clock is read within the lock: samples are in order.
func (s *Sampler) sample() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take()
}

func (s *Sampler) take() {
	r, err := s.card.Read(s.options.PID)
	s.sums.add(s.options.Now(), r, err)
}

// Epoch takes a sample and ends an epoch with it: its energy is that since the last Epoch, or
// since Start.
func (s *Sampler) Epoch(number int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take()
	s.sums.mark(number)
}

// Stop takes the last sample, waits for the goroutine and summarises. It must be called once.
func (s *Sampler) Stop() Summary {
	close(s.stop)
	<-s.done
	s.sample()
	sum := s.sums.summary(s.options.PID)
	sum.Interval = s.options.Interval
	return sum
}

// Summary holds the driver's readings of a run. A value that the card did not report is nil.
type Summary struct {
	Samples  int64         // taken: one an interval, and one at each end and at the end of each epoch
	Interval time.Duration // between samples
	Seconds  float64       // from the first to the last sample

	ProcessPeakBytes *int64 // largest of the samples, as below
	DevicePeakBytes  *int64
	PowerMeanWatts   *float64 // means are over time
	PowerMaxWatts    *float64
	SMClockMeanHertz *float64
	// MemoryClockMeanHertz is the clock of the device memory.
	MemoryClockMeanHertz *float64
	MaxCelsius           *float64
	Reasons              map[string]int64 // why clocks were not at their highest: samples by reason

	EnergyJoules *float64
	EnergySource EnergySource
	Epochs       []EpochEnergy
	// Notes explain in sentences which values are missing and why.
	Notes []string
}

// EnergySource is the source of an energy value.
type EnergySource string

// The sources of energy.
const (
	EnergyCounter EnergySource = "counter" // the card's own counter
	EnergyPower   EnergySource = "power"   // integral of power over the samples
)

// EpochEnergy is the energy of one epoch, its evaluation included.
type EpochEnergy struct {
	Epoch  int64
	Joules float64
}

// sums accumulates samples. It does not use a clock or a card.
type sums struct {
	samples, faults   int64
	fault             error // the first
	begin, end        time.Time
	process, device   *int64
	power, sm, memory integral
	celsius           *float64
	reasons           map[string]int64
	counter, last     *float64 // energy at the first and at the last sample
	broken            bool     // some sample did not tell it, or it fell
	epochs            []epochEnd
}

// epochEnd is the end of an epoch, with both values of energy since the first sample.
type epochEnd struct {
	epoch          int64
	counter, power float64
}

func newSums() sums { return sums{reasons: map[string]int64{}} }

func (s *sums) add(at time.Time, r Reading, err error) {
	if err != nil {
		s.faults++
		if s.fault == nil {
			s.fault = err
		}
	}
	if s.samples == 0 {
		s.begin, s.counter = at, r.EnergyJoules
	}
	s.samples++
	s.end = at
	s.broken = s.broken || r.EnergyJoules == nil || s.last != nil && *r.EnergyJoules < *s.last
	s.last = r.EnergyJoules
	s.process, s.device = larger(s.process, r.ProcessUsedBytes), larger(s.device, r.DeviceUsedBytes)
	s.celsius = larger(s.celsius, r.Celsius)
	seconds := at.Sub(s.begin).Seconds()
	s.power.add(seconds, r.PowerWatts)
	s.sm.add(seconds, r.SMClockHertz)
	s.memory.add(seconds, r.MemoryClockHertz)
	for _, word := range r.Reasons {
		s.reasons[word]++
	}
}

// mark ends an epoch at the last sample.
func (s *sums) mark(epoch int64) { s.epochs = append(s.epochs, s.now(epoch)) }

func (s *sums) now(epoch int64) epochEnd {
	e := epochEnd{epoch: epoch, power: s.power.sum}
	if !s.broken {
		e.counter = *s.last - *s.counter
	}
	return e
}

func (s *sums) summary(pid int) Summary {
	out := Summary{Samples: s.samples, Seconds: s.end.Sub(s.begin).Seconds(),
		ProcessPeakBytes: s.process, DevicePeakBytes: s.device,
		PowerMeanWatts: s.power.mean(), PowerMaxWatts: s.power.largest,
		SMClockMeanHertz: s.sm.mean(), MemoryClockMeanHertz: s.memory.mean(),
		MaxCelsius: s.celsius, Reasons: s.reasons}
	s.fillEnergy(&out)
	if s.process == nil && s.device != nil {
		out.Notes = append(out.Notes, fmt.Sprintf("the driver does not list process %d, as in many containers: "+
			"used memory is that of the whole device", pid))
	}
	if out.EnergyJoules == nil {
		out.Notes = append(out.Notes, "the GPU reports neither energy nor power")
	}
	if s.fault != nil {
		out.Notes = append(out.Notes, fmt.Sprintf("%d of %d samples are incomplete; first error: %v", s.faults, s.samples, s.fault))
	}
	return out
}

// fillEnergy uses the same source for the run and for all epochs.
func (s *sums) fillEnergy(out *Summary) {
	since := func(e epochEnd) float64 { return e.counter }
	out.EnergySource = EnergyCounter
	if s.broken {
		if s.power.span == 0 {
			out.EnergySource = ""
			return
		}
		since = func(e epochEnd) float64 { return e.power }
		out.EnergySource = EnergyPower
	}
	whole, before := since(s.now(0)), 0.0
	out.EnergyJoules = &whole
	for _, e := range s.epochs {
		out.Epochs = append(out.Epochs, EpochEnergy{e.epoch, since(e) - before})
		before = since(e)
	}
}

// integral is that of a quantity over time, by the trapezoidal rule over the samples
// that have it.
type integral struct {
	sum, span    float64 // value times seconds, and seconds
	last, lastAt float64
	largest      *float64
}

func (i *integral) add(seconds float64, value *float64) {
	if value == nil {
		return
	}
	if i.largest != nil {
		i.sum += (i.last + *value) / 2 * (seconds - i.lastAt)
		i.span += seconds - i.lastAt
	}
	i.last, i.lastAt = *value, seconds
	i.largest = larger(i.largest, value)
}

// mean is the mean over time; the last value if all samples have the same time.
func (i *integral) mean() *float64 {
	if i.largest == nil {
		return nil
	}
	mean := i.last
	if i.span > 0 {
		mean = i.sum / i.span
	}
	return &mean
}

// larger is the larger of two values of which either may be absent.
func larger[T int64 | float64](a, b *T) *T {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

package gpu

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample is a reading at a second after the begin; epoch is not 0 where one ends.
type sample struct {
	at    float64
	r     Reading
	err   error
	epoch int64
}

func summarise(samples []sample) Summary {
	begin, s := time.Unix(1e9, 0), newSums()
	for _, x := range samples {
		s.add(begin.Add(time.Duration(x.at*1e9)), x.r, x.err)
		if x.epoch != 0 {
			s.mark(x.epoch)
		}
	}
	return s.summary(7)
}

func watts(w float64) Reading       { return Reading{PowerWatts: &w} }
func joules(j float64) Reading      { return Reading{EnergyJoules: &j} }
func both(w, j float64) (r Reading) { r.PowerWatts, r.EnergyJoules = &w, &j; return r }
func used(process, device int64) Reading {
	return Reading{ProcessUsedBytes: &process, DeviceUsedBytes: &device}
}

// The expected figures are worked out by hand.
func TestEnergy(t *testing.T) {
	for _, row := range []struct {
		name    string
		samples []sample
		joules  *float64
		source  EnergySource
		epochs  []EpochEnergy
	}{
		{"the counter goes before power", []sample{{at: 0, r: both(100, 1000)}, {at: 1, r: both(100, 1250)},
			{at: 2, r: both(100, 1600)}}, new(600.0), EnergyCounter, nil},
		{"the counter by epochs, with a rest after the last", []sample{{at: 0, r: joules(5)}, {at: 1, r: joules(9), epoch: 3},
			{at: 2, r: joules(10)}, {at: 3, r: joules(19), epoch: 4}, {at: 4,
				r: joules(20)}}, new(15.0), EnergyCounter, []EpochEnergy{{3, 4}, {4, 10}}},
		{"trapezoids of power at uneven times", []sample{{at: 0, r: watts(100)}, {at: 1, r: watts(300), epoch: 1},
			{at: 4, r: watts(100), epoch: 2}}, new(800.0), EnergyPower, []EpochEnergy{{1, 200}, {2, 600}}},
		{"power that one sample does not tell", []sample{{at: 0, r: watts(100)}, {at: 1}, {at: 2, r: watts(200)}}, new(300.0),
			EnergyPower, nil},
		{"a counter that falls, as after a reset of the driver",
			[]sample{{at: 0, r: both(10, 1000)}, {at: 1, r: both(10, 3), epoch: 1}, {at: 2, r: both(10, 4)}}, new(20.0), EnergyPower,
			[]EpochEnergy{{1, 10}}},
		{"a counter with a hole", []sample{{at: 0, r: both(10, 1)}, {at: 1, r: watts(10)}, {at: 2, r: both(10, 50)}}, new(20.0),
			EnergyPower, nil},
		{"one sample of power is no energy", []sample{{at: 0, r: watts(100)}}, nil, "", nil},
		{"neither", []sample{{at: 0}, {at: 1, epoch: 1}}, nil, "", nil},
		{"a counter that stands still is a measured 0", []sample{{at: 0, r: joules(7)}, {at: 1, r: joules(7)}}, new(0.0),
			EnergyCounter, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := summarise(row.samples)
			if d := cmp.Diff(row.joules, s.EnergyJoules); d != "" {
				t.Error(d)
			}
			if s.EnergySource != row.source {
				t.Errorf("source: got %q, want %q", s.EnergySource, row.source)
			}
			if d := cmp.Diff(row.epochs, s.Epochs); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPeaksAndMeans(t *testing.T) {
	full := func(w, sm, memory, celsius float64, words ...string) Reading {
		return Reading{PowerWatts: &w, SMClockHertz: &sm, MemoryClockHertz: &memory, Celsius: &celsius, Reasons: words}
	}
	s := summarise([]sample{
		{at: 0, r: full(100, 1000, 2000, 40, "idle")},
		{at: 1, r: full(500, 2000, 2000, 45, "software power limit", "hardware slowdown")},
		{at: 3, r: full(300, 1000, 2000, 44, "software power limit")},
	})
	// Power: (100+500)/2 x 1 + (500+300)/2 x 2 = 1100 over 3 seconds; the clock alike.
	want := Summary{Samples: 3, Seconds: 3, PowerMeanWatts: new(1100.0 / 3), PowerMaxWatts: new(500.0),
		SMClockMeanHertz: new(1500.0), MemoryClockMeanHertz: new(2000.0),
		MaxCelsius: new(45.0), Reasons: map[string]int64{"idle": 1, "software power limit": 2, "hardware slowdown": 1},
		EnergyJoules: new(1100.0), EnergySource: EnergyPower}
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
}

func TestNotesSayWhatIsMissing(t *testing.T) {
	hidden := Reading{DeviceUsedBytes: new(int64(9)), EnergyJoules: new(1.0)}
	lost := errors.New("gpu: lost")
	for _, row := range []struct {
		name    string
		samples []sample
		want    []string
	}{
		{"a process that is not listed", []sample{{r: hidden}},
			[]string{"the driver does not list process 7, as in many containers: used memory is that of the whole device"}},
		{"one that is", []sample{{r: used(5, 9)}, {at: 1, r: joules(1)}}, []string{"the GPU reports neither energy nor power"}},
		{"samples with faults", []sample{{r: joules(1), err: lost}, {at: 1, r: joules(2)},
			{at: 2, r: joules(3), err: errors.New("later")}}, []string{"2 of 3 samples are incomplete; first error: gpu: lost"}},
		{"nothing", []sample{{r: joules(1)}}, nil},
	} {
		if d := cmp.Diff(row.want, summarise(row.samples).Notes); d != "" {
			t.Errorf("%s: %s", row.name, d)
		}
	}
	s := summarise([]sample{{r: used(5, 9)}, {at: 1, r: used(8, 8)}, {at: 2, r: used(0, 7)}})
	if *s.ProcessPeakBytes != 8 || *s.DevicePeakBytes != 9 {
		t.Errorf("peaks: got %d and %d bytes, want 8 and 9", *s.ProcessPeakBytes, *s.DevicePeakBytes)
	}
}

// TestSampler runs on a fake clock: 1 sample at the start, 9 in between, 1 at
// the end of the epoch, 1 at the end.
func TestSampler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCard{readings: []Reading{joules(100), joules(110), joules(120)}}
		s := Start(c, SamplerOptions{PID: 42})
		time.Sleep(550 * time.Millisecond)
		s.Epoch(1)
		time.Sleep(400 * time.Millisecond)
		sum := s.Stop()
		want := Summary{Samples: 12, Interval: DefaultInterval, Seconds: 0.95, Reasons: map[string]int64{}, EnergyJoules: new(20.0),
			EnergySource: EnergyCounter, Epochs: []EpochEnergy{{1, 20}}}
		if d := cmp.Diff(want, sum); d != "" {
			t.Error(d)
		}
		if c.pid != 42 {
			t.Errorf("pid: got %d, want 42", c.pid)
		}
		time.Sleep(time.Second)
		if c.reads != 12 {
			t.Errorf("after Stop: got %d reads, want 12", c.reads)
		}
	})
}

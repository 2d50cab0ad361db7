package suite

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/gpu"
	"github.com/localbench/localbench/results"
)

// placedDevice is the cpu backend disguised as a GPU: it has a UUID and a setup memory breakdown.
type placedDevice struct{ engine.Device }

func (placedDevice) UUID() string { return "GPU-b" }
func (placedDevice) SetupMemory() []engine.StageMemory {
	return []engine.StageMemory{{Stage: engine.StageContext, DeviceUsedBytes: 400},
		{Stage: engine.StageArena, DeviceUsedBytes: 1000}, {Stage: engine.StageSteady, DeviceUsedBytes: 900}}
}

var wantLadder = []results.Rung{{Stage: "context", DeviceUsedBytes: 400, DeltaBytes: 400},
	{Stage: "arena", DeviceUsedBytes: 1000, DeltaBytes: 600}, {Stage: "steady", DeviceUsedBytes: 900, DeltaBytes: -100}}

// nvml is a driver with made-up cards.
type nvml struct {
	cards  []gpu.Card
	closed bool
}

func (l *nvml) Driver() (driver, cuda string) { return "580", "13.0" }
func (l *nvml) Cards() ([]gpu.Card, error)    { return l.cards, nil }
func (l *nvml) Close() error                  { l.closed = true; return nil }
func (l *nvml) open() (gpu.Library, error)    { return l, nil }
func noNVML() (gpu.Library, error)            { return nil, errors.New("gpu: no driver") }

// madeUpCard uses 10 joules between any two readings.
type madeUpCard struct {
	uuid  string
	reads int
}

func (c *madeUpCard) Facts() gpu.Facts {
	return gpu.Facts{Name: "card " + c.uuid, UUID: c.uuid, ECC: gpu.ModeOn, ComputeCapability: "9.0",
		MemoryBytes: new(int64(1 << 30))}
}

func (c *madeUpCard) Read(pid int) (gpu.Reading, error) {
	if pid != os.Getpid() {
		return gpu.Reading{}, errors.New("another process")
	}
	c.reads++
	return gpu.Reading{ProcessUsedBytes: new(int64(77)), DeviceUsedBytes: new(int64(99)), PowerWatts: new(200.0),
		EnergyJoules: new(10 * float64(c.reads)), Reasons: []string{"idle"}}, nil
}

// smallExecution is a run of two epochs that takes the cpu backend for cuda.
func smallExecution(t *testing.T, backend string, open func() (gpu.Library, error)) (*execution, func(engine.Device) error) {
	t.Helper()
	specs, err := Request{Methods: []string{"bp"}, Networks: []string{"resnet20"}, Batches: []int64{4}, Epochs: 2, TrainLimit: 8,
		TestLimit: 4, Threads: 1}.Expand()
	if err != nil {
		t.Fatal(err)
	}
	spec := specs[0]
	spec.Backend = backend
	r, err := Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	data, err := r.openData("")
	if err != nil {
		t.Fatal(err)
	}
	x := &execution{job: Job{Spec: spec, Out: t.TempDir()}, record: &results.Record{Spec: spec, ID: results.SpecID(spec),
		Status: results.StatusDone}, now: time.Now, on: func(Event) {}, nvml: open}
	return x, func(d engine.Device) error { return x.runOn(context.Background(), d, r, data) }
}

func openReal(t *testing.T) engine.Device {
	t.Helper()
	d, err := engine.Open("cpu", engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestRunOnCUDAIsWatched(t *testing.T) {
	card := &madeUpCard{uuid: "GPU-b"}
	driver := &nvml{cards: []gpu.Card{&madeUpCard{uuid: "GPU-a"}, card}}
	x, run := smallExecution(t, "cuda", driver.open)
	if err := run(placedDevice{openReal(t)}); err != nil {
		t.Fatal(err)
	}
	g := x.record.GPU
	if g.Name != "card GPU-b" || g.UUID != "GPU-b" || g.Driver != "580" || g.CUDADriver != "13.0" ||
		g.ComputeCapability != "9.0" || g.ECC != "on" || g.MIG != "" || *g.MemoryBytes != 1<<30 {
		t.Errorf("got %+v, want the facts of the card that the device names", g)
	}
	if x.record.Environment.GPU != "card GPU-b" || x.record.Environment.Driver != "580" {
		t.Errorf("environment: got %q, %q, want card and driver", x.record.Environment.GPU, x.record.Environment.Driver)
	}
	// However many samples fell between: each epoch has joules, and those of the samples
	// after the last epoch, at least one, belong to no epoch.
	if len(g.Epochs) != 2 || g.Epochs[0].Epoch != 1 || g.Epochs[1].Epoch != 2 {
		t.Fatalf("got the epochs %v, want 1 and 2", g.Epochs)
	}
	if sum := g.Epochs[0].EnergyJoules + g.Epochs[1].EnergyJoules; *g.EnergyJoules != 10*float64(card.reads-1) ||
		g.Epochs[0].EnergyJoules < 10 || g.Epochs[1].EnergyJoules < 10 || sum > *g.EnergyJoules-10 || g.EnergySource != "counter" {
		t.Errorf("energy: got %g joules by %s, %g in epochs, want %d and at least 10 less", *g.EnergyJoules, g.EnergySource, sum,
			10*(card.reads-1))
	}
	if *g.Samples != int64(card.reads) || g.ThrottleReasons["idle"] != *g.Samples || *g.IntervalSeconds != 0.1 {
		t.Errorf("got %d samples, %v, every %g s, want %d", *g.Samples, g.ThrottleReasons, *g.IntervalSeconds, card.reads)
	}
	if *g.ProcessPeakBytes != 77 || *g.DevicePeakBytes != 99 || *x.record.Memory.DriverPeakBytes != 77 {
		t.Errorf("peaks: got %d, %d, %d bytes, want 77, 99, 77", *g.ProcessPeakBytes, *g.DevicePeakBytes,
			*x.record.Memory.DriverPeakBytes)
	}
	if len(g.Notes) != 0 || !driver.closed {
		t.Errorf("got notes %q, closed %v, want none and NVML closed", g.Notes, driver.closed)
	}
	if d := cmp.Diff(wantLadder, x.record.Memory.Ladder); d != "" {
		t.Error(d)
	}
	if err := results.Write(x.job.Out, *x.record); err != nil {
		t.Error(err)
	}
}

func TestRunIsNotStoppedByNVML(t *testing.T) {
	two := &nvml{cards: []gpu.Card{&madeUpCard{uuid: "GPU-a"}, &madeUpCard{uuid: "GPU-c"}}}
	for _, row := range []struct {
		name, backend string
		open          func() (gpu.Library, error)
		note          string
	}{
		{"another backend is not watched", "cpu", func() (gpu.Library, error) { t.Error("NVML was opened"); return noNVML() }, ""},
		{"no NVML", "cuda", noNVML, "the card was not watched: gpu: no driver"},
		{"a card that NVML does not know", "cuda", two.open, `the card was not watched: no GPU has the UUID "GPU-b"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			x, run := smallExecution(t, row.backend, row.open)
			if err := run(placedDevice{openReal(t)}); err != nil {
				t.Fatal(err)
			}
			g := x.record.GPU
			if row.note == "" && len(g.Notes) > 0 || row.note != "" &&
				!slices.ContainsFunc(g.Notes, func(n string) bool { return strings.HasPrefix(n, row.note) }) {
				t.Errorf("got the notes %q, want %q", g.Notes, row.note)
			}
			if g.Samples != nil || g.EnergyJoules != nil || x.record.Memory.DriverPeakBytes != nil {
				t.Errorf("got %+v, want nothing measured", g)
			}
		})
	}
}

func TestProfileHasTheLadder(t *testing.T) {
	x, _ := smallExecution(t, "cpu", noNVML)
	for _, row := range []struct {
		name   string
		device engine.Device
		want   []results.Rung
	}{{"of a device that has one", placedDevice{openReal(t)}, wantLadder}, {"none on the cpu backend", openReal(t), nil}} {
		r, err := Build(x.job.Spec)
		if err != nil {
			t.Fatal(err)
		}
		p, err := profileOn(context.Background(), row.device, r, Job{Spec: x.job.Spec, JobOptions: JobOptions{Profile: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(row.want, p.Memory.Ladder); d != "" {
			t.Errorf("%s: %s", row.name, d)
		}
	}
}

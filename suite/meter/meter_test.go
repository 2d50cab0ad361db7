package meter

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// folder makes a process folder with the files given.
func folder(t *testing.T, files map[string]string) Process {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Process{Dir: dir}
}

func TestMemoryReadsStatus(t *testing.T) {
	size := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		name, status   string
		resident, peak *int64
		err            string
	}{
		{"both lines", "Name:\tx\nVmPeak:\t 99 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1000 kB\nThreads:\t7\n", size(1000 << 10),
			size(2048 << 10), ""},
		{"no peak, as in some sandboxes", "VmRSS:\t1000 kB\n", size(1000 << 10), nil, ""},
		{"neither, as in a kernel thread", "Name:\tx\n", nil, nil, ""},
		{"an honest zero", "VmRSS:\t0 kB\n", size(0), nil, ""},
		{"another unit", "VmRSS:\t1000 MB\n", nil, nil, `VmRSS: "1000 MB" is not a size in kB`},
		{"no number", "VmHWM:\tmany kB\n", nil, nil, `VmHWM: "many" is not a size in kB`},
		{"below zero", "VmHWM:\t-1 kB\n", nil, nil, `VmHWM: "-1"`},
		{"more than fits", "VmHWM:\t9007199254740992 kB\n", nil, nil, `VmHWM: "9007199254740992"`},
	} {
		m, err := folder(t, map[string]string{"status": c.status}).Memory()
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %v, want %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, f := range []struct {
			name      string
			got, want *int64
		}{{"resident", m.ResidentBytes, c.resident}, {"peak", m.PeakBytes, c.peak}} {
			if (f.got == nil) != (f.want == nil) || f.got != nil && *f.got != *f.want {
				t.Errorf("%s: %s: got %v, want %v", c.name, f.name, f.got, f.want)
			}
		}
	}
}

func TestUnsupportedSystem(t *testing.T) {
	p := Process{Dir: filepath.Join(t.TempDir(), "proc", "self")}
	if _, err := p.Memory(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Memory: got %v, want errors.ErrUnsupported", err)
	}
	if err := p.ResetPeak(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("ResetPeak: got %v, want errors.ErrUnsupported", err)
	}
}

func TestResetPeakWrites(t *testing.T) {
	p := folder(t, map[string]string{"clear_refs": ""})
	if err := p.ResetPeak(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(p.Dir, "clear_refs")); string(got) != "5\n" {
		t.Errorf("clear_refs: got %q, want %q", got, "5\n")
	}
	if err := (Process{Dir: "/dev/null"}).ResetPeak(); err == nil || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a file in place of the folder: got %v, want an error other than unsupported", err)
	}
}

// TestSelf maps and unmaps memory around a reset and looks at the readings.
func TestSelf(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skipf("%s has no /proc: the process's memory was not read", runtime.GOOS)
	}
	before := read(t)
	const size = 64 << 20
	// The readings may be off by the kernel's counters and by what the test
	// runtime itself does: a sixteenth of the block is allowed.
	const slack = size / 16
	block, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < size; i += 4096 {
		block[i] = 1
	}
	during := read(t)
	if err := syscall.Munmap(block); err != nil {
		t.Fatal(err)
	}
	if grown := *during.ResidentBytes - *before.ResidentBytes; grown < size-slack {
		t.Errorf("resident: got %d bytes more for a block of %d", grown, size)
	}
	if after := read(t); *after.PeakBytes < *before.ResidentBytes+size-slack {
		t.Errorf("peak without a reset: got %d bytes, want at least %d", *after.PeakBytes, *before.ResidentBytes+size-slack)
	}
	if err := Self().ResetPeak(); err != nil {
		t.Skipf("%v: the reset was not tested", err)
	}
	if after := read(t); *after.PeakBytes > *during.ResidentBytes-size+slack {
		t.Errorf("peak after a reset: got %d bytes, want at most %d", *after.PeakBytes, *during.ResidentBytes-size+slack)
	}
}

func read(t *testing.T) Memory {
	t.Helper()
	m, err := Self().Memory()
	if err != nil {
		t.Fatal(err)
	}
	if m.ResidentBytes == nil || m.PeakBytes == nil {
		t.Skip("this system does not tell VmRSS and VmHWM: the process's memory was not read")
	}
	return m
}

func TestStepsSummary(t *testing.T) {
	for _, c := range []struct {
		name    string
		seconds []float64
		want    StepSummary
		ok      bool
	}{
		{"none", nil, StepSummary{}, false},
		{"one", []float64{3}, StepSummary{Median: 3, P05: 3, P95: 3, N: 1}, true},
		{"an even number, not in order", []float64{4, 1, 3, 2}, StepSummary{Median: 2.5, P05: 1.15, P95: 3.85, N: 4}, true},
		{"twenty-one", []float64{20, 0, 19, 1, 18, 2, 17, 3, 16, 4, 15, 5, 14, 6, 13, 7, 12, 8, 11, 9, 10},
			StepSummary{Median: 10, P05: 1, P95: 19, N: 21}, true},
		{"invalid ones apart", []float64{math.NaN(), 2, -1, math.Inf(1), 2}, StepSummary{Median: 2, P05: 2, P95: 2, N: 2, Invalid: 3},
			true},
		{"only invalid ones", []float64{math.NaN()}, StepSummary{Invalid: 1}, false},
	} {
		var s Steps
		for _, x := range c.seconds {
			s.Add(x)
		}
		got, ok := s.Summary()
		near := func(a, b float64) bool { return math.Abs(a-b) < 1e-12 } // rounding of the interpolation
		if ok != c.ok || got.N != c.want.N || got.Invalid != c.want.Invalid ||
			!near(got.Median, c.want.Median) || !near(got.P05, c.want.P05) || !near(got.P95, c.want.P95) {
			t.Errorf("%s: got %+v, %t, want %+v, %t", c.name, got, ok, c.want, c.ok)
		}
	}
}

func TestStepsGrowAndReset(t *testing.T) {
	var s Steps
	s.Grow(100)
	s.Add(math.NaN())
	if n := testing.AllocsPerRun(90, func() { s.Add(1) }); n != 0 {
		t.Errorf("Add after Grow: got %v allocations, want 0", n)
	}
	s.Reset()
	s.Add(7)
	if got, _ := s.Summary(); got.N != 1 || got.Median != 7 || got.Invalid != 0 {
		t.Errorf("after Reset: got %+v, want the one step of 7 s", got)
	}
}

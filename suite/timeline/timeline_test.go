package timeline_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ogorek "github.com/kisielk/og-rek"

	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/timeline"
)

func step(t *testing.T) (timeline.Step, *suite.Compiled) {
	t.Helper()
	runs, err := suite.Request{Methods: []string{"auglocal"}, Networks: []string{"resnet20"}, Batches: []int64{8}}.Build()
	if err != nil {
		t.Fatal(err)
	}
	c, err := runs[0].CompileHere(suite.Host{})
	if err != nil {
		t.Fatal(err)
	}
	return timeline.Step{Label: "resnet20 auglocal", Graph: c.Step.Graph, Samples: c.Profile.Timeline, Allocations: c.Allocations,
		ArenaBytes: c.Profile.ArenaBytes}, c
}

// TestChrome reads the trace back: the counters' largest sum is the planned peak, and
// there is a slice for every op, within its module's.
func TestChrome(t *testing.T) {
	s, c := step(t)
	var out bytes.Buffer
	if err := timeline.Chrome(&out, s); err != nil {
		t.Fatal(err)
	}
	var trace struct {
		TraceEvents []struct {
			Name, Ph string
			Tid      int
			Ts, Dur  float64
			Args     map[string]any
		}
	}
	if err := json.Unmarshal(out.Bytes(), &trace); err != nil {
		t.Fatal(err)
	}
	var peak float64
	ops, modules, end := 0, 0.0, 0.0
	for _, e := range trace.TraceEvents {
		switch {
		case e.Ph == "C":
			sum := 0.0
			for _, bytes := range e.Args {
				sum += bytes.(float64)
			}
			peak = max(peak, sum)
		case e.Ph == "X" && e.Args != nil:
			ops++
			end = max(end, e.Ts+e.Dur)
		case e.Ph == "X":
			modules += e.Dur
		}
	}
	if int64(peak) != c.Profile.PlannedPeakBytes || ops != len(c.Step.Graph.Ops) || modules != end {
		t.Errorf("peak %.0f, %d ops, modules of %g of %g us, want %d, %d and all", peak, ops, modules, end,
			c.Profile.PlannedPeakBytes, len(c.Step.Graph.Ops))
	}
}

func TestCSV(t *testing.T) {
	s, c := step(t)
	var out bytes.Buffer
	if err := timeline.CSV(&out, s); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != len(c.Step.Graph.Ops)+1 {
		t.Fatalf("%d rows, %v, want %d", len(rows), err, len(c.Step.Graph.Ops)+1)
	}
	if got, want := rows[1][6], fmt.Sprint(c.Profile.Timeline[0].Total()); got != want || rows[0][6] != "total_bytes" {
		t.Errorf("first op: %s bytes, want %s", got, want)
	}
	if rows[0][5] != "start_ops" || rows[3][5] != "2" {
		t.Errorf("the third op of a plan: got %s %q, want start_ops 2", rows[0][5], rows[3][5])
	}
	s.Seconds = make([]float64, len(c.Step.Graph.Ops))
	s.Seconds[0], s.Seconds[1] = 3e-6, 0.5e-6
	out.Reset()
	if err := timeline.CSV(&out, s); err != nil {
		t.Fatal(err)
	}
	if rows, err = csv.NewReader(&out).ReadAll(); err != nil || rows[0][5] != "start_us" || rows[3][5] != "3.500" {
		t.Errorf("the third op of a measured step: got %v, %v, want start_us 3.500", rows[3], err)
	}
}

// TestSnapshot replays the allocations of the snapshot: no two live ones overlap but
// where a value takes over the bytes of another, all is inside of the arena, and the
// largest sum alive is the planned peak.
func TestSnapshot(t *testing.T) {
	s, c := step(t)
	var out bytes.Buffer
	if err := timeline.Snapshot(&out, s); err != nil {
		t.Fatal(err)
	}
	decoded, err := ogorek.NewDecoder(&out).Decode()
	if err != nil {
		t.Fatal(err)
	}
	arena := decoded.(map[any]any)["segments"].([]any)[0].(map[any]any)
	next, active := arena["address"].(int64), int64(0)
	for _, one := range arena["blocks"].([]any) {
		b := one.(map[any]any)
		if b["address"].(int64) != next {
			t.Fatalf("block %v does not begin at %d, where the last one ends", b, next)
		}
		next += b["size"].(int64)
		if b["state"] == "active_allocated" {
			active += b["requested_size"].(int64)
		}
	}
	if total := arena["total_size"].(int64); next-arena["address"].(int64) != total || total != c.Profile.ArenaBytes ||
		active != arena["active_size"].(int64) {
		t.Errorf("blocks end at %d with %d bytes active, want the whole segment of %d and %v", next, active, total,
			arena["active_size"])
	}
	traces := decoded.(map[any]any)["device_traces"].([]any)[0].([]any)
	live, sum, peak, allocs := map[int64]int64{}, int64(0), int64(0), 0
	for _, one := range traces {
		e := one.(map[any]any)
		at, size := e["addr"].(int64), e["size"].(int64)
		switch e["action"] {
		case "alloc":
			allocs++
			live[at] += size
			sum += size
			if at-1<<32+size > c.Profile.ArenaBytes {
				t.Fatalf("%v lies beyond the arena", e)
			}
		case "free_completed":
			if live[at] -= size; live[at] < 0 {
				t.Fatalf("%v is released and was not there", e)
			}
			sum -= size
		}
		peak = max(peak, sum)
	}
	if allocs != len(c.Allocations) || peak != c.Profile.PlannedPeakBytes {
		t.Errorf("%d allocations with a peak of %d, want %d and %d", allocs, peak, len(c.Allocations), c.Profile.PlannedPeakBytes)
	}
}

// TestSnapshotIsAPickle reads the file with Python, where there is one.
func TestSnapshotIsAPickle(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here; the pickle was read by our own library only")
	}
	s, c := step(t)
	path := filepath.Join(t.TempDir(), "s.pickle")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := timeline.Snapshot(file, s); err != nil {
		t.Fatal(err)
	}
	file.Close()
	out, err := exec.Command(python, "-c",
		"import pickle,sys; s=pickle.load(open(sys.argv[1],'rb')); print(s['segments'][0]['total_size'], "+
			"type(s['device_traces'][0][1]['frames'][0]['name']).__name__)", path).CombinedOutput()
	if want := fmt.Sprint(c.Profile.ArenaBytes, " str"); err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("python: %v: got %s, want %s", err, out, want)
	}
}

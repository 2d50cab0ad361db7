package sweepdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/localbench/localbench/results"
)

func spec(seed uint64) results.Spec {
	return results.Spec{Method: "bp", Network: "resnet20", Dataset: "synthetic", Batch: 16, Precision: "f32", Backend: "cpu",
		Seed: seed, Epochs: 2}
}

func cell(seed uint64) Cell {
	return Cell{ID: results.SpecID(spec(seed)), Spec: spec(seed), MemoryBytes: 1 << 28, Threads: 1, Seconds: 600}
}

// written is a folder with a sweep of the given number of cells.
func written(t *testing.T, cells int) (dir string, m Manifest, path string) {
	t.Helper()
	m = Manifest{Schema: Schema, DataDir: "/data", HeartbeatSeconds: 1}
	for seed := range uint64(cells) {
		m.Cells = append(m.Cells, cell(seed+1))
	}
	dir = t.TempDir()
	path, err := m.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, m, path
}

// age makes a lease's file look as if its last heartbeat was so long ago.
func age(t *testing.T, l *Lease, by time.Duration) {
	t.Helper()
	then := time.Now().Add(-by)
	if err := os.Chtimes(l.path(l.generation), then, then); err != nil {
		t.Fatal(err)
	}
}

func TestManifestIsNamedByItsContent(t *testing.T) {
	dir, m, path := written(t, 3)
	if again, err := m.Write(dir); err != nil || again != path {
		t.Errorf("the same manifest again: %s, %v, want %s", again, err, path)
	}
	all, err := ReadAll(dir)
	if err != nil || len(all) != 1 || len(all[0].Cells) != 3 {
		t.Fatalf("read %d manifests, %v, want the one with 3 cells", len(all), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, changed := range map[string]string{"a changed text": strings.Replace(string(text), `"/data"`, `"/other"`, 1),
		"half a file": string(text[:len(text)/2])} {
		if err := os.WriteFile(path, []byte(changed), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil {
			t.Errorf("%s: was read, want an error", name)
		}
	}
	if _, err := ReadAll(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder without a sweep: %v", err)
	}
}

// One of many processes gets a lease; when its heartbeats stop, one of many takes it over, and the first holder is told.
func TestLeaseHasOneHolder(t *testing.T) {
	dir, m, _ := written(t, 1)
	id := m.Cells[0].ID
	take := func() (holders []*Lease) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				l, err := Acquire(dir, id, Holder{Owner: fmt.Sprintf("%p-%d", &mu, i)}, m.Timeout())
				var held *HeldError
				switch {
				case err == nil:
					mu.Lock()
					holders = append(holders, l)
					mu.Unlock()
				case !errors.As(err, &held):
					t.Errorf("got %v, want a lease or the holder", err)
				}
			})
		}
		all.Wait()
		return holders
	}
	first := take()
	if len(first) != 1 {
		t.Fatalf("%d processes hold the lease, want 1", len(first))
	}
	if err := first[0].Beat(Holder{Epoch: 3}); err != nil {
		t.Fatal(err)
	}
	age(t, first[0], 2*m.Timeout())
	second := take()
	if len(second) != 1 {
		t.Fatalf("%d processes took the lease over, want 1", len(second))
	}
	if err := first[0].Beat(Holder{}); !errors.Is(err, ErrLost) {
		t.Errorf("heartbeat of the first holder: %v, want that it lost the lease", err)
	}
	if err := first[0].Release(); !errors.Is(err, ErrLost) {
		t.Errorf("release by the first holder: %v, want that it lost the lease", err)
	}
	if err := second[0].Beat(Holder{}); err != nil {
		t.Errorf("heartbeat of the second holder: %v", err)
	}
	if err := second[0].Release(); err != nil {
		t.Errorf("release by the second holder: %v", err)
	}
	if left, _ := leases(dir); len(left) != 0 {
		t.Errorf("leases left: %v", left)
	}
	// After all leases were given back their numbers begin again: the old holder still is not the new one's.
	third := take()
	if err := first[0].Check(); len(third) != 1 || !errors.Is(err, ErrLost) {
		t.Errorf("%d holders, the first one: %v, want one, and that it lost the lease", len(third), err)
	}
}

// Many processes that take cells until none is left run each once.
func TestCellsAreRunOnce(t *testing.T) {
	dir, m, _ := written(t, 20)
	var ran [20]atomic.Int32
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i, c := range m.Cells {
				if _, err := os.Stat(results.Path(dir, c.ID)); err == nil {
					continue
				}
				l, err := Acquire(dir, c.ID, Holder{Owner: fmt.Sprint(worker)}, m.Timeout())
				if err != nil {
					continue
				}
				if _, err := os.Stat(results.Path(dir, c.ID)); err != nil { // as Worker does, after it has the lease
					ran[i].Add(1)
					if err := os.WriteFile(results.Path(dir, c.ID), []byte(`{"status":"done"}`), 0o666); err != nil {
						t.Error(err)
					}
				}
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for i := range ran {
		if n := ran[i].Load(); n != 1 {
			t.Errorf("cell %d was run %d times", i, n)
		}
	}
}

// Of a long record the status is found without its middle, wherever it stands; one without its end, or without a status, is
// damaged.
func TestStatusOfLongRecords(t *testing.T) {
	long := `"accuracy":{"epochs":[` + strings.Repeat(`{"epoch":1},`, 10_000) + `{"epoch":2}]}`
	for _, row := range []struct {
		text, status, reason string
	}{
		{`{"schema":3,"status":"oom","error":"too \"large\"",` + long + "}\n", "oom", `too "large"`},
		{`{` + long + `,"status":"diverged"}`, "diverged", ""},
		{"{\"status\":\"done\",\n \"accuracy\":{\"epochs\":[]\n }\n}\n", "done", ""},
		{"{\"status\":\"done\",\n \"accuracy\":{\"epochs\":[]\n }\n", "", "damaged record"},
		{`{"status":"done",` + long, "", "its end may be missing"},
		{`{"status":"done",` + long + ",", "", "its end may be missing"},
		{`{"status":7,` + long + "}", "", "damaged record"},
		{`{` + long + "}", "", "it has no status"},
		{`[]`, "", "is not a JSON object"},
		{``, "", "is not a JSON object"},
	} {
		path := filepath.Join(t.TempDir(), "r.json")
		if err := os.WriteFile(path, []byte(row.text), 0o666); err != nil {
			t.Fatal(err)
		}
		h, err := readHead(path)
		switch {
		case row.status == "" && (err == nil || !strings.Contains(err.Error(), row.reason)):
			t.Errorf("%.40s: %v, want an error with %q", row.text, err, row.reason)
		case row.status != "" && (err != nil || string(h.Status) != row.status || h.Error != row.reason):
			t.Errorf("%.40s: %+v, %v, want %s, %q", row.text, h, err, row.status, row.reason)
		}
	}
}

func TestStatus(t *testing.T) {
	dir, m, _ := written(t, 7)
	m.Cells[6].Refused = "not run: the plan needs more"
	record := func(i int, text string) {
		if err := os.WriteFile(results.Path(dir, m.Cells[i].ID), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	record(0, `{"status":"done"}`)
	record(1, `{"status":"failed","error":"no data"}`)
	record(2, `{"status":"interrupted"}`)
	record(3, `{"status":`)
	running, err := Acquire(dir, m.Cells[4].ID, Holder{Owner: "a", Host: "n1"}, m.Timeout())
	if err != nil {
		t.Fatal(err)
	}
	if err := running.Beat(Holder{Epoch: 1, Epochs: 2, SecondsLeft: 5}); err != nil {
		t.Fatal(err)
	}
	lost, err := Acquire(dir, m.Cells[5].ID, Holder{Owner: "b", Host: "n2"}, m.Timeout())
	if err != nil {
		t.Fatal(err)
	}
	age(t, lost, 2*m.Timeout())
	all, err := StatusOf(dir, []Manifest{m, m})
	if err != nil {
		t.Fatal(err)
	}
	want := []State{Done, Failed, Waiting, Failed, Running, Waiting, Refused}
	if len(all) != len(want) {
		t.Fatalf("%d cells, want %d", len(all), len(want))
	}
	for i, s := range all {
		if s.State != want[i] || s.State == Failed && s.Reason == "" {
			t.Errorf("cell %d: %s (%s), want %s", i, s.State, s.Reason, want[i])
		}
	}
	if h := all[4].Holder; h.Host != "n1" || h.Epoch != 1 || h.SecondsLeft != 5 {
		t.Errorf("holder of the running cell: %+v", h)
	}
	if entries, _ := filepath.Glob(filepath.Join(Folder(dir), ".*")); len(entries) != 0 {
		t.Errorf("files left: %q", entries)
	}
}

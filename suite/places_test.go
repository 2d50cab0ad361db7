package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/localbench/localbench/results"
)

// Runs at a time get whole cores, neighbours first, and never the same one.
func TestPlaces(t *testing.T) {
	// Two packages of two cores of two hyperthreads, numbered as Linux does: 0 and 4 are one core.
	var cpus []CPU
	for n := range 8 {
		cpus = append(cpus, CPU{Number: n, Package: n / 2 % 2, Core: n % 2})
	}
	cores := func(jobs int, threads int64) (sets [][]int, err error) {
		places, err := Places(cpus, jobs, threads)
		for _, p := range places {
			sets = append(sets, p.CPUs)
		}
		return sets, err
	}
	for _, row := range []struct {
		jobs    int
		threads int64
		want    [][]int
		fault   string
	}{
		{jobs: 1, want: [][]int{{0, 4, 1, 5, 2, 6, 3, 7}}},
		{jobs: 2, threads: 4, want: [][]int{{0, 4, 1, 5}, {2, 6, 3, 7}}},
		{jobs: 3, want: [][]int{{0, 4}, {1, 5}, {2, 6}}},
		{jobs: 4, threads: 2, want: [][]int{{0, 4}, {1, 5}, {2, 6}, {3, 7}}},
		{jobs: 5, fault: "5 runs at a time need as many cores, and this process may use 4"},
		{jobs: 4, threads: 3, fault: "--threads 3: with 4 runs at a time each has 2 processors"},
	} {
		got, err := cores(row.jobs, row.threads)
		switch {
		case row.fault != "" && (err == nil || !strings.Contains(err.Error(), row.fault)):
			t.Errorf("%d jobs of %d threads: %v, %v, want %q", row.jobs, row.threads, got, err, row.fault)
		case row.fault == "" && (err != nil || !reflect.DeepEqual(got, row.want)):
			t.Errorf("%d jobs of %d threads: %v, %v, want %v", row.jobs, row.threads, got, err, row.want)
		}
	}
}

// A GPU each; the ids of the runs do not depend on it.
func TestPlacesOnGPUs(t *testing.T) {
	specs := []results.Spec{{Method: "bp", Backend: "cuda"}}
	places, err := PlacesHere(specs, 1, []int{0, 3}, true)
	if err != nil || len(places) != 2 {
		t.Fatalf("%v, %v, want two places", places, err)
	}
	for i, device := range []string{"", "3"} {
		s := places[i].of(specs[0])
		if s.Device != device || results.SpecID(s) != results.SpecID(specs[0]) {
			t.Errorf("place %d: device %q, id %s, want %q and the id of the spec", i, s.Device, results.SpecID(s), device)
		}
	}
	if _, err := PlacesHere(specs, 1, []int{1, 1}, true); err == nil {
		t.Error("a GPU that is listed twice is no error")
	}
	if _, err := PlacesHere([]results.Spec{{Backend: "cpu"}}, 1, []int{1}, true); err == nil {
		t.Error("GPUs for a run on the cpu are no error")
	}
}

// ofSpecs are runs of resnet20 with these batches.
func ofSpecs(t *testing.T, batches ...int64) []results.Spec {
	t.Helper()
	specs, err := Request{Methods: []string{"bp"}, Networks: []string{"resnet20"}, Batches: batches}.Expand()
	if err != nil {
		t.Fatal(err)
	}
	return specs
}

// The process of a run may use the processors of its place, as the kernel says, and this one all that it could before.
func TestRunsStayOnTheirProcessors(t *testing.T) {
	cpus, err := usableCPUs()
	if err != nil {
		t.Skipf("the processors of runs were not tested: %v", err)
	}
	before := len(cpus)
	out := t.TempDir()
	places := []Place{{CPUs: []int{cpus[len(cpus)-1].Number}}}
	o := Runner{Out: out, Now: time.Now, Jobs: 1, Places: places,
		Command: []string{"sh", "-c", "cat >/dev/null; sed -n 's/^Cpus_allowed_list:[[:space:]]*/cpus /p' /proc/self/status >&2; " +
			"exit 1"}}
	records, err := o.Sweep(context.Background(), ofSpecs(t, 2, 4, 8))
	if err != nil || len(records) != 3 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, r := range records {
		if want := fmt.Sprintf("cpus %d", places[0].CPUs[0]); !strings.HasSuffix(r.Error, want) {
			t.Errorf("got %q, want %q", r.Error, want)
		}
	}
	if cpus, err = usableCPUs(); err != nil || len(cpus) != before {
		t.Errorf("%d processors for this process afterwards, %v, want %d", len(cpus), err, before)
	}
}

// A run that has more memory than its limit is ended and recorded as out of memory.
func TestMemoryLimitOfARun(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skipf("the memory limit was not tested: %v", err)
	}
	o := Runner{Out: t.TempDir(), Now: time.Now, JobOptions: JobOptions{MemoryLimit: 16 << 10},
		Command: []string{"sh", "-c", "cat >/dev/null; exec sleep 600"}}
	records, err := o.Sweep(context.Background(), ofSpecs(t, 2))
	if err != nil || len(records) != 1 || records[0].Status != results.StatusOutOfMemory ||
		!strings.Contains(records[0].Error, "--limit-memory allows 16.00 KiB") {
		t.Errorf("got %+v, %v, want a record that is out of memory", records, err)
	}
}

// A run that takes longer than its limit is told to stop and fails, and the sweep goes on.
func TestTimeLimitOfARun(t *testing.T) {
	o := Runner{Out: t.TempDir(), Now: time.Now, TimeLimit: time.Millisecond,
		Command: []string{"sh", "-c", "cat >/dev/null; exec sleep 600"}}
	records, err := o.Sweep(context.Background(), ofSpecs(t, 2, 4))
	if err != nil || len(records) != 2 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, r := range records {
		if r.Status != results.StatusFailed || !strings.Contains(r.Error, "took longer than the limit of 1ms") {
			t.Errorf("%s: %s, want that it took too long", r.Status, r.Error)
		}
	}
}

// A run that is out of memory is run again with half the batch until it is not; the sweep returns the last one.
func TestOnOOMHalvesTheBatch(t *testing.T) {
	dir := t.TempDir()
	o := Runner{Out: filepath.Join(dir, "out"), Now: time.Now, OnOOM: OnOOMHalve,
		// The job's batch decides: above 4 it is out of memory.
		Command: []string{"sh", "-c", `job=$(cat); printf '%s\n' "$job" >>` + dir + `/jobs
case $job in
*'"batch":16,'*|*'"batch":8,'*) echo '{"kind":"done","text":"oom","error":"too large"}';;
esac
exit 1`}}
	records, err := o.Sweep(context.Background(), ofSpecs(t, 16))
	if err != nil || len(records) != 1 || records[0].Spec.Batch != 4 || records[0].Status != results.StatusFailed {
		t.Fatalf("got %+v, %v, want the failed run of batch 4", records, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "jobs"))
	if err != nil {
		t.Fatal(err)
	}
	var batches []int64
	for line := range strings.Lines(string(text)) {
		var j Job
		if err := json.Unmarshal([]byte(line), &j); err != nil {
			t.Fatal(err)
		}
		batches = append(batches, j.Spec.Batch)
	}
	if !slices.Equal(batches, []int64{16, 8, 4}) {
		t.Errorf("jobs of batch %v, want 16, 8, 4", batches)
	}
	for batch, want := range map[int64]results.Status{16: results.StatusOutOfMemory, 8: results.StatusOutOfMemory,
		4: results.StatusFailed} {
		r, err := results.Read(results.Path(o.Out, results.SpecID(ofSpecs(t, batch)[0])))
		if err != nil || r.Status != want {
			t.Errorf("record of batch %d: %s, %v, want %s", batch, r.Status, err, want)
		}
	}
}

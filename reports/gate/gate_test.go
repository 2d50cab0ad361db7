package gate_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/reports/gate"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/baseline"
)

// plan is a planned record of a network.
func plan(network string, bytes int64) results.Record {
	r := results.Record{Spec: results.Spec{Method: "bp", Network: network, Dataset: "cifar10", Batch: 8}, Status: results.StatusDone}
	r.Memory.PlannedPeakBytes = &bytes
	return r
}

// store writes a baseline in the folder of baselines.
func store(t *testing.T, name string, flags []string, records ...results.Record) {
	t.Helper()
	if err := results.WriteCollection(filepath.Join(baseline.Dir, name+".json"), flags, records); err != nil {
		t.Fatal(err)
	}
}

var errNoGPU = errors.New("no such backend")

// planning is a gate whose plans are these records, and that can't plan for GPUs.
func planning(records ...results.Record) gate.Gate {
	return gate.Gate{
		Plan: func(path string, _ []string) ([]results.Record, error) {
			if gpu, _ := baseline.GPU(path); gpu != "" {
				return nil, errNoGPU
			}
			return records, nil
		},
		Absent: func(err error) bool { return errors.Is(err, errNoGPU) },
		Warn:   func(string) {},
	}
}

func TestCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll(baseline.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	store(t, "memory", nil, plan("a", 100), plan("b", 200))
	for _, row := range []struct {
		name string
		now  []results.Record
		want string // of the error; empty: unchanged
	}{
		{"the same", []results.Record{plan("a", 100), plan("b", 200)}, ""},
		{"a byte more", []results.Record{plan("a", 100), plan("b", 201)}, "planned memory has changed: planned_peak of b-bp"},
		{"a byte less", []results.Record{plan("a", 99), plan("b", 200)}, "1 value smaller, 0 runs added, 0 runs removed"},
		{"removed", []results.Record{plan("a", 100)}, "0 values smaller, 0 runs added, 1 run removed"},
		{"added", []results.Record{plan("a", 100), plan("b", 200), plan("c", 1)}, "0 values smaller, 1 run added, 0 runs removed"},
	} {
		all, err := planning(row.now...).Check(nil)
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: got %d baselines, %v", row.name, len(all), err)
		}
		got := gate.Worst(all)
		var changed *gate.FailedError
		if row.want == "" && (got != nil || all[0].Runs != len(row.now)) ||
			row.want != "" && (!errors.As(got, &changed) || !strings.Contains(got.Error(), row.want)) {
			t.Errorf("%s: got %v, want %q", row.name, got, row.want)
		}
	}
}

// Without names measured records are left out and a GPU's baseline is skipped where it can't be planned; with their names both
// are errors. What could not be checked counts more than what changed.
func TestCheckNamed(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll(baseline.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	g := planning(plan("a", 101))
	var missing *baseline.MissingError
	if _, err := g.Check(nil); !errors.As(err, &missing) {
		t.Errorf("got %v, want that there is no baseline", err)
	}
	store(t, "measured", nil, plan("a", 100))
	store(t, "memory-h100", nil, plan("a", 100))
	if _, err := g.Check(nil); !errors.As(err, &missing) {
		t.Errorf("got %v, want that there is no baseline that can be checked", err)
	}
	store(t, "memory", nil, plan("a", 100))
	all, err := g.Check(nil)
	if err != nil || len(all) != 2 || !all[0].Skipped && !all[1].Skipped {
		t.Errorf("got %+v, %v, want two of which one is skipped", all, err)
	}
	var changed *gate.FailedError
	if err := gate.Worst(all); !errors.As(err, &changed) {
		t.Errorf("got %v, want that planned memory has changed", err)
	}
	if all, err = g.Check([]string{"memory", "memory-h100"}); err != nil || !errors.Is(gate.Worst(all), errNoGPU) {
		t.Errorf("got %v, %v, want that the GPU can't be planned for", gate.Worst(all), err)
	}
	var unreadable *baseline.UnreadableError
	if all, err = g.Check([]string{"memory", "measured"}); err != nil || !errors.As(gate.Worst(all), &unreadable) {
		t.Errorf("got %v, %v, want that measured records are no planned memory", gate.Worst(all), err)
	}
}

// With an old program the changes are those between its plan and the one of now.
func TestExplain(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll(baseline.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	store(t, "memory", nil, plan("a", 100))
	g := planning(plan("a", 103))
	warned := 0
	g.Warn = func(string) { warned++ }
	for _, row := range []struct {
		old    int64
		was    int64
		warned int
	}{
		{100, 100, 0},
		{101, 101, 1}, // not what the file holds
		{103, 100, 1}, // it is the file that differs
	} {
		warned = 0
		g.Explain = func(string, []string) ([]results.Record, error) { return []results.Record{plan("a", row.old)}, nil }
		all, err := g.Check(nil)
		if err != nil {
			t.Fatal(err)
		}
		if cell := all[0].Changes.Cells[0]; warned != row.warned || int64(cell.Old) != row.was {
			t.Errorf("the old program plans %d: compared with %v, %d warnings, want %d and %d",
				row.old, cell.Old, warned, row.was, row.warned)
		}
	}
	g.Explain = func(string, []string) ([]results.Record, error) { return nil, errors.New("no program") }
	if all, _ := g.Check(nil); gate.Worst(all) == nil || gate.Worst(all).Error() != "--explain: no program" {
		t.Errorf("got %v, want an error about --explain", gate.Worst(all))
	}
}

// A baseline is written of records or plans, in brief unless details are asked for; without either only the built-in grid is.
func TestUpdate(t *testing.T) {
	t.Chdir(t.TempDir())
	r := plan("a", 1)
	r.Memory.ByModule = []results.ModuleBytes{{Module: 1, Bytes: 1}}
	g := planning(r)
	for _, row := range []struct {
		path    string
		plan    bool
		details bool
		want    string // of the error
	}{
		{"results/baselines/memory.json", false, false, ""},
		{"results/baselines/memory.json", false, true, ""},
		{"main.json", true, true, ""},
		{"main.json", false, true, "--from or --plan is missing"},
	} {
		count, err := g.Update(row.path, "", row.plan, row.details, nil)
		if row.want != "" {
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%+v: got %v", row, err)
			}
			continue
		}
		records, _, readErr := baseline.Read(row.path)
		if err != nil || readErr != nil || count != 1 || (records[0].Memory.ByModule != nil) != row.details {
			t.Errorf("%+v: got %d records, %v, %v: %+v", row, count, err, readErr, records)
		}
		r.Memory.ByModule = []results.ModuleBytes{{Module: 1, Bytes: 1}}
		g = planning(r)
	}
	if count, err := g.Update("copy.json", "main.json", false, false, nil); err != nil || count != 1 {
		t.Errorf("from records: got %d, %v", count, err)
	}
	if _, err := g.Update("copy.json", "nowhere", false, false, nil); err == nil || !strings.HasPrefix(err.Error(), "--from: ") {
		t.Errorf("from records that do not exist: got %v", err)
	}
}

// An old side that does not exist is a missing baseline, a new one is a mistake.
func TestSidesAndVerdict(t *testing.T) {
	dir := t.TempDir()
	if err := results.Write(dir, plan("a", 100)); err != nil {
		t.Fatal(err)
	}
	var missing *baseline.MissingError
	if _, _, err := gate.Sides(dir+"/nowhere", dir); !errors.As(err, &missing) {
		t.Errorf("the old side: got %v", err)
	}
	if _, _, err := gate.Sides(dir, dir+"/nowhere"); err == nil || errors.As(err, &missing) {
		t.Errorf("the new side: got %v", err)
	}
	old, new, err := gate.Sides("", dir)
	if err != nil || len(old) != 0 || len(new) != 1 {
		t.Errorf("the new side alone: got %d and %d records, %v", len(old), len(new), err)
	}
	var failed *gate.FailedError
	var none *baseline.NoneError
	run := func(bytes int64) error {
		c := compare.Run(new, []results.Record{plan("a", bytes)}, compare.Defaults(), "planned_peak")
		return gate.Verdict(c, true)
	}
	if run(100) != nil || run(99) != nil || !errors.As(run(101), &failed) {
		t.Errorf("got %v, %v and %v, want that more bytes fail", run(100), run(99), run(101))
	}
	if err := gate.Verdict(compare.Run(nil, new, compare.Defaults()), true); !errors.As(err, &none) {
		t.Errorf("no old records: got %v", err)
	}
}

package main

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/meter"
)

func climb(rungs ...results.Rung) profiled {
	const arena, resident = 100 << 20, 1 << 30 // the process's memory says nothing of the device's
	c := &suite.Compiled{Spec: results.Spec{Network: "n", Method: "m"}, Memory: results.Memory{StepArenaBytes: new(int64(arena)), ArenaBytes: new(int64(arena))}}
	return profiled{Compiled: c, found: &suite.Profile{Memory: results.Memory{StepArenaBytes: new(int64(arena)), ArenaBytes: new(int64(arena)), ProcessPeakBytes: new(int64(resident)), ProcessBaselineBytes: new(int64(0)), Ladder: rungs}}}
}

// parts is a run on the processor with an arena of 100 MiB, of which so much was in memory, and so much beside it.
func parts(arena, beside int64) profiled {
	p := climb()
	p.found.Memory.ProcessPeakBytes = new(arena + beside)
	p.found.Growth = []suite.PartGrowth{{Part: meter.PartArena, Bytes: arena}, {Part: meter.PartNative, Bytes: beside}}
	return p
}

func TestLadderTable(t *testing.T) {
	got := lines(ladderTable(climb(results.Rung{Stage: "context", DeviceUsedBytes: 500 << 20, DeltaBytes: 500 << 20}, results.Rung{Stage: "module", DeviceUsedBytes: 498 << 20, DeltaBytes: -2 << 20})))
	if want := "context | 500.0 MiB | 500.0 MiB\nmodule | 498.0 MiB | -2.000 MiB"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLadderIsHeldAgainstThePlan(t *testing.T) {
	arena := func(bytes int64) results.Rung {
		return results.Rung{Stage: "arena", DeviceUsedBytes: 1 << 30, DeltaBytes: bytes}
	}
	steady := func(bytes int64) results.Rung {
		return results.Rung{Stage: "steady", DeviceUsedBytes: 1 << 30, DeltaBytes: bytes}
	}
	for _, row := range []struct {
		name  string
		p     profiled
		fault string
	}{
		{"as planned, rounded up by the driver", climb(arena(102<<20), steady(0)), ""},
		{"at the edge of the tolerance", climb(arena(107<<20), steady(0)), ""},
		{"over it", climb(arena(107<<20+1), steady(0)), "arena, as the driver counts it: planned 104857600 bytes, measured 112197633"},
		{"under it", climb(arena(93<<20-1), steady(0)), "arena, as the driver counts it"},
		{"a leak of a byte", climb(arena(100<<20), steady(1)), "growth of the device's memory over the steps: planned 0 bytes, measured 1"},
		{"memory given back is no leak", climb(steady(-1)), ""},
		{"a stage of which nothing is planned", climb(results.Rung{Stage: "graph", DeviceUsedBytes: 9, DeltaBytes: 9}), ""},
		{"no ladder: the process is held against the plan", climb(), "process over its baseline"},
		{"no ladder, and the parts are known: two bounds", parts(100<<20, 16<<20), ""},
		{"more beside the arena than any process takes", parts(100<<20, 16<<20+1), "process beside the arena, at most: planned 16777216 bytes, measured 16777217"},
		{"less of the arena in memory than planned", parts(94<<20, 8<<20), "arena, resident after the steps: planned 104857600"},
		{"more of the arena in memory than planned", parts(106<<20, 8<<20), "arena, resident after the steps: planned 104857600"},
	} {
		_, faults := (&profileFlags{tolerance: 5}).verdict(row.p)
		if text := strings.Join(faults, "; "); !strings.Contains(text, row.fault) || row.fault == "" && text != "" {
			t.Errorf("%s: got %q, want %q", row.name, text, row.fault)
		}
	}
}

// With and without a limit of workspaces the same statistic is compared: the median of an even number of steps is the mean
// of the middle two on both sides.
func TestCostOfAWorkspaceLimit(t *testing.T) {
	p := climb()
	p.found.StepSeconds = []float64{0.1, 0.3}
	p.unlimited = &suite.Profile{StepSeconds: []float64{0.3, 0.1}, Memory: results.Memory{StepArenaBytes: new(int64(1 << 20))}}
	if got := stepNote(p); !strings.Contains(got, "Without the limit of workspaces 200.0 ms (the limit costs +0.0 %)") {
		t.Errorf("got %q, want no difference between the same steps", got)
	}
}

package planned

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// lines are the texts of a table's cells, a row a line.
func lines(t table.Table) string {
	var all []string
	for _, row := range t.Rows {
		var cells []string
		for _, c := range row {
			cells = append(cells, c.Text)
		}
		all = append(all, strings.Join(cells, " | "))
	}
	return strings.Join(all, "\n")
}

// onDevice is a run with an arena of 100 MiB and the used memory of its device by stage.
func onDevice(stages ...results.Rung) Profiled {
	const arena, resident = 100 << 20, 1 << 30 // the process's memory says nothing of the device's
	planned := results.Memory{StepArenaBytes: new(int64(arena)), ArenaBytes: new(int64(arena))}
	measured := planned
	measured.ProcessPeakBytes, measured.ProcessBaselineBytes, measured.Ladder = new(int64(resident)), new(int64(0)), stages
	return Profiled{Plan: results.Plan{Spec: results.Spec{Network: "n", Method: "m"}, Memory: planned},
		Found: results.Profile{Memory: measured}, Tolerance: 5}
}

// parts is a run on the processor of 512 ops, which may take 14 MiB beside the arena of 100 MiB; so much of the arena was in
// memory, and so much beside it.
func parts(arena, beside int64) Profiled {
	p := onDevice()
	p.Found.OpSeconds = make([]float64, 512)
	p.Found.Memory.ProcessPeakBytes = new(arena + beside)
	p.Found.Growth = []results.PartGrowth{{Part: "arena", Bytes: arena, Arena: true}, {Part: "native", Bytes: beside}}
	return p
}

func TestLadderTable(t *testing.T) {
	got := lines(
		onDevice(
			results.Rung{Stage: "context", DeviceUsedBytes: 500 << 20, DeltaBytes: 500 << 20},
			results.Rung{Stage: "module", DeviceUsedBytes: 498 << 20, DeltaBytes: -2 << 20},
		).device(),
	)
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
		p     Profiled
		fault string
	}{
		{"as planned, rounded up by the driver", onDevice(arena(102<<20), steady(0)), ""},
		{"at the edge of the tolerance", onDevice(arena(107<<20), steady(0)), ""},
		{"over it", onDevice(arena(107<<20+1), steady(0)),
			"arena, as the driver counts it: planned 104857600 bytes, measured 112197633"},
		{"under it", onDevice(arena(93<<20-1), steady(0)), "arena, as the driver counts it"},
		{"a leak of a byte", onDevice(arena(100<<20), steady(1)),
			"growth of the device's memory over the steps: planned 0 bytes, measured 1"},
		{"memory given back is no leak", onDevice(steady(-1)), ""},
		{"a stage of which nothing is planned", onDevice(results.Rung{Stage: "graph", DeviceUsedBytes: 9, DeltaBytes: 9}), ""},
		{"no setup memory breakdown: the process is compared with the plan", onDevice(), "process over its baseline"},
		{"no ladder, and the parts are known: two bounds", parts(100<<20, 14<<20), ""},
		{"more beside the arena than any process takes", parts(100<<20, 14<<20+1),
			"process beside the arena, at most: planned 14680064 bytes, measured 14680065"},
		{"less of the arena in memory than planned", parts(94<<20, 8<<20), "arena, resident after the steps: planned 104857600"},
		{"more of the arena in memory than planned", parts(106<<20, 8<<20), "arena, resident after the steps: planned 104857600"},
	} {
		_, faults := row.p.checks()
		if text := strings.Join(faults, "; "); !strings.Contains(text, row.fault) || row.fault == "" && text != "" {
			t.Errorf("%s: got %q, want %q", row.name, text, row.fault)
		}
	}
}

// With and without a limit of workspaces the same statistic is compared.
func TestCostOfAWorkspaceLimit(t *testing.T) {
	p := onDevice()
	p.Found.Step = &results.Distribution{Median: 0.2, N: 2}
	p.Unlimited = &results.Profile{Step: &results.Distribution{Median: 0.16, N: 2},
		Memory: results.Memory{StepArenaBytes: new(int64(1 << 20))}}
	got := p.stepNote()
	if !strings.Contains(got, "Without the limit of workspaces 160.0 ms (the limit costs +25.0 %)") {
		t.Errorf("got %q, want 25 %% for steps of 200 and of 160 ms", got)
	}
}

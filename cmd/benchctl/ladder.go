package main

import (
	"fmt"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// driverPage is the unit in which CUDA's driver gives out memory.
const driverPage = 2 << 20

// ladderTable is what each stage of setting up the run took of the device's memory.
func ladderTable(p profiled) table.Table {
	t := table.Table{ID: "device", Run: results.SpecID(p.Spec), Title: "Memory of the device, by stage: " + runLabel(p.Spec), Columns: []table.Column{textColumn("stage", "stage"),
		numberColumn("device_used_bytes", "used of the device"), numberColumn("delta_bytes", "more than before")},
		Notes: []string{"As the driver counts it, for all processes on the device. Only the arena is planned; the rest is the driver's and the libraries'."}}
	for _, r := range p.found.Memory.Ladder {
		t.Rows = append(t.Rows, []table.Cell{table.Text(r.Stage), bytesCell(&r.DeviceUsedBytes), bytesCell(&r.DeltaBytes)})
	}
	return t
}

// rung finds a stage; nil where the ladder does not have it.
func rung(ladder []results.Rung, stage engine.Stage) *results.Rung {
	for i, r := range ladder {
		if r.Stage == string(stage) {
			return &ladder[i]
		}
	}
	return nil
}

// ladderRows holds a ladder against the plan: the arena takes what was planned, rounded
// by the driver, and nothing is added after the last stage of the setting up. row is
// that of profileFlags.verdict.
func (f *profileFlags) ladderRows(p profiled, row func(name string, planned, measured int64, holds bool, why string)) {
	ladder := p.found.Memory.Ladder
	if r := rung(ladder, engine.StageArena); r != nil {
		planned := *p.found.Memory.ArenaBytes
		apart := max(r.DeltaBytes-planned, planned-r.DeltaBytes)
		row("arena, as the driver counts it", planned, r.DeltaBytes, float64(apart) <= float64(planned)*f.tolerance/100+driverPage,
			fmt.Sprintf("they differ by more than %g %% and %s", f.tolerance, table.Bytes(driverPage)))
	}
	if r := rung(ladder, engine.StageSteady); r != nil {
		row("growth of the device's memory over the steps", 0, r.DeltaBytes, r.DeltaBytes <= 0, "memory is lost from step to step, or another process runs")
	}
}

package planned

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// OwnBytes is what a process may take beside the arena, whatever the batch: 12 MiB for pages of libraries, code generated for
// kernels and buffers of the runtime, and 4 KiB for each op of a step, which is in the program and has its kernel.
func OwnBytes(ops int) int64 { return 12<<20 + 4<<10*int64(ops) }

// Profiled is one run, planned and measured.
type Profiled struct {
	results.Plan
	Found results.Profile
	// Unlimited is the same run without --workspace-limit; nil where there is no limit.
	Unlimited *results.Profile
	// Tolerance is by how many percent the arena's resident memory may differ from the plan.
	Tolerance float64
	PageBytes int64 // of the system
}

// Tables are all tables of a profile, the comparison of the plan with the run first. The faults are its rows that do not hold.
func (p Profiled) Tables() (tables []table.Table, faults []string) {
	checks, faults := p.checks()
	tables = []table.Table{checks, p.peaks(), p.definitions(), p.kernels()}
	if len(p.Found.Growth) > 0 {
		tables = append(tables, p.residency())
	}
	if len(p.Found.Memory.Ladder) > 0 {
		tables = append(tables, p.device())
	}
	return tables, faults
}

// checks compares a plan with its run, quantity by quantity.
func (p Profiled) checks() (table.Table, []string) {
	label, c := Label(p.Spec), p.Found.Coverage
	t := table.Table{
		ID:    "checks",
		Title: "Plan against run: " + label,
		Columns: []table.Column{table.TextColumn("quantity", "quantity"),
			table.NumberColumn("planned_bytes", "planned"),
			table.NumberColumn("measured_bytes", "measured"), table.TextColumn("verdict", "verdict")},
		Notes: []string{
			fmt.Sprintf("The arena's resident memory may differ from the plan by %g %%. In addition to the arena the process may take "+
				"%s, whatever the batch: 12 MiB, and 4 KiB for each of %d ops.", p.Tolerance, table.Bytes(p.own()), len(p.Found.OpSeconds)),
			p.stepNote(),
		},
	}
	var faults []string
	row := func(name string, planned, measured int64, holds bool, why string) {
		verdict := "holds"
		if !holds {
			verdict = why
			faults = append(faults, fmt.Sprintf("%s: %s: planned %d bytes, measured %d: %s", label, name, planned, measured, why))
		}
		t.AddRow(table.Text(name), table.BytesCell(&planned), table.BytesCell(&measured), table.Text(verdict))
	}
	arena := *p.Memory.StepArenaBytes
	row("high-water mark of the arena", c.PlannedHighWaterBytes, c.HighWaterBytes, c.Reaches(), "outside the planned range")
	row("touched of the arena", arena, c.TouchedBytes, c.TouchedBytes <= arena, "more than the arena has")
	row("touched where nothing is planned", 0, c.StrayBytes, c.StrayBytes == 0, "a kernel wrote out of bounds")
	row("values that no kernel touched", 0, c.UntouchedBytes, c.UntouchedBytes == 0, "planned but never written")
	if c.Reaches() && c.HighWaterBytes < c.PlannedHighWaterBytes {
		t.Notes = append(t.Notes, "The last value of the arena is a workspace, of which a kernel did not write the end.")
	}
	p.deviceRows(row)
	// With a setup memory breakdown the arena is in the device's memory and not in the process.
	if len(p.Found.Memory.Ladder) == 0 {
		p.processRows(row)
	}
	return t, faults
}

// processRows compares the process with the plan in two bounds: what grows with the batch is the arena, and is held to the
// tolerance; the rest is fixed. Where the system does not tell the parts apart, the process must lie between both.
func (p Profiled) processRows(row func(string, int64, int64, bool, string)) {
	m, arena := p.Found.Memory, *p.Memory.StepArenaBytes
	if m.ProcessPeakBytes == nil || m.ProcessBaselineBytes == nil {
		return
	}
	grown, tolerance := *m.ProcessPeakBytes-*m.ProcessBaselineBytes, float64(arena)*p.Tolerance/100
	if len(p.Found.Growth) == 0 {
		holds := float64(grown) >= float64(arena)-tolerance && float64(grown) <= float64(arena)+tolerance+float64(p.own())
		row("process over its baseline, steady step", arena, grown, holds, "they differ by more than allowed")
		return
	}
	var resident int64
	for _, g := range p.Found.Growth {
		if g.Arena {
			resident = g.Bytes
		}
	}
	row("arena, resident after the steps", arena, resident, math.Abs(float64(resident-arena)) <= tolerance+float64(p.PageBytes),
		fmt.Sprintf("they differ by more than %g %%", p.Tolerance))
	row("process beside the arena, at most", p.own(), grown-resident, grown-resident <= p.own(),
		"more than any process should take")
}

// own is OwnBytes of the step that was profiled.
func (p Profiled) own() int64 { return OwnBytes(len(p.Found.OpSeconds)) }

// residency is what the process has grown by, part by part.
func (p Profiled) residency() table.Table {
	t := table.Table{ID: "residency", Title: "Resident memory over the baseline: " + Label(p.Spec),
		Columns: []table.Column{table.TextColumn("part", "part"), table.NumberColumn("growth_bytes", "growth")},
		Notes: []string{"From the baseline to the end of the steady steps; the parts sum to the peak over the baseline. " +
			"Only the arena grows with the batch."}}
	for _, g := range p.Found.Growth {
		t.AddRow(table.Text(g.Part), table.BytesCell(&g.Bytes))
	}
	return t
}

// stepNote is the time of the steps.
func (p Profiled) stepNote() string {
	steps := p.Found.Step
	if steps == nil {
		return "No step was timed."
	}
	text := fmt.Sprintf("A step took %.1f ms, the median of %d: %.0f samples/s.", 1e3*steps.Median, steps.N,
		float64(p.Spec.Batch)/steps.Median)
	if p.Unlimited == nil || p.Unlimited.Step == nil {
		return text
	}
	median := p.Unlimited.Step.Median
	return text + fmt.Sprintf(" Without the limit of workspaces %.1f ms (the limit costs %+.1f %%) with a step arena of %s.",
		1e3*median, 100*(steps.Median/median-1), table.Bytes(*p.Unlimited.Memory.StepArenaBytes))
}

// peaks lists the peak of each part of a run.
func (p Profiled) peaks() table.Table {
	t := table.Table{
		ID:      "process",
		Run:     results.SpecID(p.Spec),
		Title:   "Peaks of the process, by part of a run: " + Label(p.Spec),
		Columns: []table.Column{table.TextColumn("part", "part"), table.NumberColumn("over_baseline_bytes", "over the baseline")},
		Notes: []string{"The figure of the tables is that of a steady step. Pages stay resident once touched, so the peaks do " +
			"not decrease."},
	}
	for _, x := range p.Found.Peaks {
		t.AddRow(table.Text(x.Phase), table.BytesCell(&x.Bytes))
	}
	return t
}

// definitions is one run under every common definition of its memory.
func (p Profiled) definitions() table.Table {
	m := p.Memory
	t := table.Table{
		ID:    "definitions",
		Run:   results.SpecID(p.Spec),
		Title: "One run, every definition: " + Label(p.Spec),
		Columns: []table.Column{table.TextColumn("definition", "definition"),
			table.NumberColumn("bytes", "bytes"),
			table.TextColumn("formula", "formula"),
			table.NumberColumn("as_printed_mib", "bytes/1e6, as local-learning programs print it")},
	}
	add := func(name string, bytes *int64, formula string) {
		if bytes == nil {
			return
		}
		t.AddRow(table.Text(name), table.BytesCell(bytes), table.Text(formula),
			table.Number(float64(*bytes)/1e6, fmt.Sprintf("%.1f \"MiB\"", float64(*bytes)/1e6)))
	}
	add("planned peak", m.PlannedPeakBytes, "largest sum of exact sizes alive at an op")
	add("lower bound", m.LowerBoundBytes, "the same, sizes rounded to 64 bytes: no layout is smaller")
	add("step arena", m.StepArenaBytes, "what the training step needs in one allocation")
	add("arena", m.ArenaBytes, "allocated by a run: for training, evaluation and the last batches of both")
	add("touched", &p.Found.Coverage.TouchedBytes, "lines of 64 bytes of the arena that a step changed")
	add("eager, live tensors", m.EagerRequestedBytes, "model of an eager framework: sum of tensor sizes")
	add("eager, max_memory_allocated", m.EagerAllocatedBytes, "the same in blocks of 512 bytes, split as the caching allocator does")
	add("eager, max_memory_reserved", m.EagerReservedBytes, "the same in segments asked of the device")
	add("eager, with algorithm search", m.EagerSearchedBytes,
		"max_memory_allocated of a first step that tries all of cuDNN's algorithms; an estimate")
	add("resident set", p.Found.Memory.ProcessPeakBytes, "VmHWM during a steady step, libraries included")
	add("resident set over baseline", grown(p.Found.Memory), "the same less VmRSS before the arena")
	return t
}

func grown(m results.Memory) *int64 {
	if m.ProcessPeakBytes == nil || m.ProcessBaselineBytes == nil {
		return nil
	}
	n := *m.ProcessPeakBytes - *m.ProcessBaselineBytes
	return &n
}

// kernels lists the kernels chosen for convolutions and linear layers, by shape.
func (p Profiled) kernels() table.Table {
	t := table.Table{
		ID:    "kernels",
		Run:   results.SpecID(p.Spec),
		Title: "Kernels chosen: " + Label(p.Spec),
		Columns: []table.Column{table.TextColumn("op", "op"), table.TextColumn("shape", "operands"),
			table.TextColumn("kernel", "kernel"),
			table.NumberColumn("count", "ops"), table.NumberColumn("workspace_bytes", "workspace"),
			table.NumberColumn("milliseconds", "ms a step")},
		Notes: []string{"Workspace is that of one op; --workspace-limit bounds it."},
	}
	type key struct{ kind, shape, kernel string }
	type sum struct {
		count, workspace int64
		seconds          float64
	}
	sums := map[key]*sum{}
	var order []key
	for _, one := range p.Kernels {
		k := key{one.Kind, one.Operands, one.Name}
		if sums[k] == nil {
			sums[k] = &sum{}
			order = append(order, k)
		}
		sums[k].count++
		sums[k].workspace = max(sums[k].workspace, one.WorkspaceBytes)
		sums[k].seconds += p.Found.OpSeconds[one.Op]
	}
	slices.SortStableFunc(order, func(a, b key) int { return cmp.Compare(sums[b].seconds, sums[a].seconds) })
	for _, k := range order {
		s := sums[k]
		t.AddRow(table.Text(k.kind), table.Text(k.shape), table.Text(k.kernel), table.CountCell(&s.count),
			table.BytesCell(&s.workspace), table.Number(1e3*s.seconds, fmt.Sprintf("%.2f", 1e3*s.seconds)))
	}
	return t
}

// driverPage is the unit in which CUDA's driver gives out memory.
const driverPage = 2 << 20

// device is what each stage of setting up the run took of the device's memory.
func (p Profiled) device() table.Table {
	t := table.Table{
		ID:    "device",
		Run:   results.SpecID(p.Spec),
		Title: "Memory of the device, by stage: " + Label(p.Spec),
		Columns: []table.Column{table.TextColumn("stage", "stage"),
			table.NumberColumn("device_used_bytes", "used of the device"), table.NumberColumn("delta_bytes", "more than before")},
		Notes: []string{"As the driver counts it, for all processes on the device. Only the arena is planned; the rest is the " +
			"driver's and the libraries'."},
	}
	for _, r := range p.Found.Memory.Ladder {
		t.AddRow(table.Text(r.Stage), table.BytesCell(&r.DeviceUsedBytes), table.BytesCell(&r.DeltaBytes))
	}
	return t
}

// rung finds a stage of the setup memory breakdown; nil if it is missing.
func rung(ladder []results.Rung, stage string) *results.Rung {
	for i, r := range ladder {
		if r.Stage == stage {
			return &ladder[i]
		}
	}
	return nil
}

// deviceRows compares the memory of the device, stage by stage, with the plan: the arena takes what was planned, rounded by
// the driver, and nothing is added after the last stage of the setup. row is that of checks.
func (p Profiled) deviceRows(row func(name string, planned, measured int64, holds bool, why string)) {
	ladder := p.Found.Memory.Ladder
	if r := rung(ladder, results.StageArena); r != nil {
		planned := *p.Found.Memory.ArenaBytes
		difference := float64(max(r.DeltaBytes-planned, planned-r.DeltaBytes))
		row("arena, as the driver counts it", planned, r.DeltaBytes, difference <= float64(planned)*p.Tolerance/100+driverPage,
			fmt.Sprintf("they differ by more than %g %% and %s", p.Tolerance, table.Bytes(driverPage)))
	}
	if r := rung(ladder, results.StageSteady); r != nil {
		row("growth of the device's memory over the steps", 0, r.DeltaBytes, r.DeltaBytes <= 0,
			"memory leaks from step to step, or another process uses the device")
	}
}

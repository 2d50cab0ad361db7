package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/meter"
	"github.com/localbench/localbench/suite/timeline"
)

// profileFlags are those of `profile` alone.
type profileFlags struct {
	*shared
	steps     int
	tolerance float64
	export    string
}

func profileCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "profile",
		Short: "run a few real steps and hold the plan against what was touched and what the process took",
		Long: "profile plans the step of every run, runs a few of them in a process of their own,\n" +
			"and compares: what changed of an arena full of canaries, and the resident set of\n" +
			"the process, with the plan. A plan that does not hold ends with exit code 1.\n" +
			"The data are made up: what a step costs does not depend on them.",
		Example: "  benchctl profile --methods bp,auglocal --networks resnet32 --batch 256\n" +
			"  benchctl profile --methods bp,auglocal --networks resnet110 --export timeline",
		Args: noArguments,
	}
	f := &profileFlags{shared: addShared(c, "checks", "process", "residency", "definitions", "device", "kernels", "largest"), steps: 5, tolerance: 1}
	define(c.Flags(), "steps", "count", "5", "steps to time after the first", one(&f.steps, number(1, 1000)))
	define(c.Flags(), "tolerance", "percent", "1", "by how much the arena's resident memory may differ from the plan", one(&f.tolerance, real))
	define(c.Flags(), "export", "folder", "", "write the timelines there: Chrome trace (ui.perfetto.dev), CSV, PyTorch snapshot, plots", word(&f.export))
	c.RunE = func(c *cobra.Command, _ []string) error { return f.run(env, c) }
	return c
}

// ownBytes is what a process may take beside the arena, whatever the batch: pages of libraries, code
// generated for kernels, the program and its plan, buffers of the runtime.
const ownBytes = 16 << 20

// profiled is one run, planned and, where it has run, measured.
type profiled struct {
	*suite.Compiled
	found *suite.Profile // nil: planned only
	// unlimited is the same run without --workspace-limit; nil where there is none.
	unlimited *suite.Profile
}

func (f *profileFlags) run(env Env, c *cobra.Command) error {
	request, format, err := f.expand(c)
	if err != nil {
		return err
	}
	specs, err := request.Expand()
	if err != nil {
		return usage(err)
	}
	for _, s := range specs {
		if err := suite.CheckRunnable(s); err != nil {
			return usage(err)
		}
		if s.Backend == "reference" {
			return usage(errors.New("backend: got reference, want cpu or cuda: it has no arena whose bytes could be looked at"))
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	planned := make([]*suite.Compiled, len(specs))
	for i, s := range specs {
		if planned[i], err = suite.Compile(s); err != nil {
			return usage(fmt.Errorf("%s: %w", results.SpecID(s), err))
		}
	}
	ctx, stop := interrupts(env, "the steps end")
	defer stop()
	var all []profiled
	var ended, cause error // why not all runs are among the results; why the first of the failed ones did
	failed := 0
	for i, s := range specs {
		if env.IsTTY {
			fmt.Fprintf(env.Stderr, "profile %d of %d: %s\n", i+1, len(specs), runLabel(s))
		}
		one := profiled{Compiled: planned[i]}
		one.found, err = suite.RunProfile(ctx, []string{self, "execute"}, s, f.steps)
		if err == nil && request.WorkspaceLimit > 0 {
			one.unlimited, err = f.unlimited(ctx, self, request, s)
		}
		if ctx.Err() != nil {
			ended = &interruptedError{left: fmt.Sprintf("%d of %d runs were profiled", len(all), len(specs))}
			break
		}
		if err != nil {
			failed, cause = failed+1, cmp.Or(cause, err)
			ended = &sweepError{failed, len(specs), cause}
			continue
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return ended
	}
	a := answer{}
	var broken []string
	for _, p := range all {
		t, faults := f.verdict(p)
		a.tables = append(a.tables, t, peaksTable(p), definitionsTable(p), ledgerTable(p))
		if len(p.found.Growth) > 0 {
			a.tables = append(a.tables, processTable(p))
		}
		if len(p.found.Memory.Ladder) > 0 {
			a.tables = append(a.tables, ladderTable(p))
		}
		broken = append(broken, faults...)
	}
	if f.export != "" {
		if a.plots, err = export(env, f.export, all); err != nil {
			return usage(err)
		}
	}
	var verdict error
	if len(broken) > 0 {
		verdict = &verdictError{"profile: the plan does not hold: " + broken[0]}
	}
	if err := env.emit(format, a, verdict); err != nil {
		return err
	}
	if ended != nil {
		return ended
	}
	if verdict == nil {
		fmt.Fprintf(env.Stderr, "verdict: the plan holds in %d of %d runs\n", len(all), len(all))
	}
	return verdict
}

// unlimited profiles the run of s once more without the limit of workspaces.
func (f *profileFlags) unlimited(ctx context.Context, self string, request suite.Request, s results.Spec) (*suite.Profile, error) {
	request.WorkspaceLimit, request.Methods = 0, []string{s.Method}
	request.Networks, request.Datasets, request.Batches = []string{s.Network}, []string{s.Dataset}, []int64{s.Batch}
	request.AuxDepths, request.Modules = []int{max(int(s.AuxDepth), 1)}, []int{int(s.Modules)}
	specs, err := request.Expand()
	if err != nil {
		return nil, err
	}
	return suite.RunProfile(ctx, []string{self, "execute"}, specs[0], f.steps)
}

func runLabel(s results.Spec) string { return s.Network + " " + s.Method + " " + settings(s) }

// verdict holds a plan against its run, quantity by quantity.
func (f *profileFlags) verdict(p profiled) (table.Table, []string) {
	label, c := runLabel(p.Spec), p.found.Coverage
	t := table.Table{ID: "checks", Title: "Plan against run: " + label, Columns: []table.Column{textColumn("quantity", "quantity"),
		numberColumn("planned_bytes", "planned"), numberColumn("measured_bytes", "measured"), textColumn("verdict", "verdict")},
		Notes: []string{fmt.Sprintf("The arena's resident memory may differ from the plan by %g %%. Beside it the process may take %s, whatever the batch.", f.tolerance, table.Bytes(ownBytes)), stepNote(p)}}
	var faults []string
	row := func(name string, planned, measured int64, holds bool, why string) {
		verdict := "holds"
		if !holds {
			verdict = why
			faults = append(faults, fmt.Sprintf("%s: %s: planned %d bytes, measured %d: %s", label, name, planned, measured, why))
		}
		t.Rows = append(t.Rows, []table.Cell{table.Text(name), bytesCell(&planned), bytesCell(&measured), table.Text(verdict)})
	}
	row("high-water mark of the arena", c.PlannedHighWaterBytes, c.HighWaterBytes, c.Reaches(), "it ends below the last value, or beyond all that is planned")
	row("touched of the arena", *p.Memory.StepArenaBytes, c.TouchedBytes, c.TouchedBytes <= *p.Memory.StepArenaBytes, "more than there is")
	row("touched where nothing is planned", 0, c.StrayBytes, c.StrayBytes == 0, "a kernel writes out of its place")
	row("values that no kernel touched", 0, c.UntouchedBytes, c.UntouchedBytes == 0, "planned and not used")
	if c.Reaches() && c.HighWaterBytes < c.PlannedHighWaterBytes {
		t.Notes = append(t.Notes, "The arena ends in scratch memory, of which a kernel has left the last part untouched.")
	}
	f.ladderRows(p, row)
	// Where there is a ladder the arena is in the device's memory and not in the process.
	if len(p.found.Memory.Ladder) == 0 {
		f.processRows(p, row)
	}
	return t, faults
}

// processRows compares the process with the plan in two bounds: what grows with the batch is the arena, and is held to the
// tolerance; the rest is fixed. Where the system does not tell the parts apart, the process must lie between both.
func (f *profileFlags) processRows(p profiled, row func(string, int64, int64, bool, string)) {
	m, arena := p.found.Memory, *p.Memory.StepArenaBytes
	if m.ProcessPeakBytes == nil || m.ProcessBaselineBytes == nil {
		return
	}
	grown, tolerance := *m.ProcessPeakBytes-*m.ProcessBaselineBytes, float64(arena)*f.tolerance/100
	if len(p.found.Growth) == 0 {
		row("process over its baseline, steady step", arena, grown,
			float64(grown) >= float64(arena)-tolerance && float64(grown) <= float64(arena)+tolerance+ownBytes, "they differ by more than allowed")
		return
	}
	var resident int64
	for _, g := range p.found.Growth {
		if g.Part == meter.PartArena {
			resident = g.Bytes
		}
	}
	row("arena, resident after the steps", arena, resident, math.Abs(float64(resident-arena)) <= tolerance+float64(os.Getpagesize()),
		fmt.Sprintf("they differ by more than %g %%", f.tolerance))
	row("process beside the arena, at most", ownBytes, grown-resident, grown-resident <= ownBytes, "more than any process should take")
}

// processTable is what the process has grown by, part by part.
func processTable(p profiled) table.Table {
	t := table.Table{ID: "residency", Title: "Resident memory over the baseline: " + runLabel(p.Spec),
		Columns: []table.Column{textColumn("part", "part"), numberColumn("growth_bytes", "growth")},
		Notes:   []string{"From the baseline to the end of the steady steps; the parts sum to the peak over the baseline. Only the arena grows with the batch."}}
	for _, g := range p.found.Growth {
		t.Rows = append(t.Rows, []table.Cell{table.Text(g.Part), bytesCell(&g.Bytes)})
	}
	return t
}

// stepNote is the time of the steps.
func stepNote(p profiled) string {
	var steps meter.Steps
	for _, s := range p.found.StepSeconds {
		steps.Add(s)
	}
	sum, ok := steps.Summary()
	if !ok {
		return "No step was timed."
	}
	text := fmt.Sprintf("A step took %.1f ms, the median of %d: %.0f samples/s.", 1e3*sum.Median, sum.N, float64(p.Spec.Batch)/sum.Median)
	if p.unlimited == nil {
		return text
	}
	var free meter.Steps
	for _, s := range p.unlimited.StepSeconds {
		free.Add(s)
	}
	unlimited, ok := free.Summary()
	if !ok {
		return text
	}
	median := unlimited.Median
	return text + fmt.Sprintf(" Without the limit of workspaces %.1f ms (the limit costs %+.1f %%) with a step arena of %s.",
		1e3*median, 100*(sum.Median/median-1), table.Bytes(*p.unlimited.Memory.StepArenaBytes))
}

// peaksTable sets the peaks of the parts of a run apart.
func peaksTable(p profiled) table.Table {
	t := table.Table{ID: "process", Run: results.SpecID(p.Spec), Title: "Peaks of the process, by part of a run: " + runLabel(p.Spec),
		Columns: []table.Column{textColumn("part", "part"), numberColumn("over_baseline_bytes", "over the baseline")},
		Notes:   []string{"The figure of the tables is that of a steady step. Pages once touched stay, so later parts are not smaller."}}
	for _, x := range p.found.Peaks {
		t.Rows = append(t.Rows, []table.Cell{table.Text(x.Phase), bytesCell(&x.Bytes)})
	}
	return t
}

// definitionsTable is one run under every common definition of its memory.
func definitionsTable(p profiled) table.Table {
	m := p.Memory
	t := table.Table{ID: "definitions", Run: results.SpecID(p.Spec), Title: "One run, every definition: " + runLabel(p.Spec), Columns: []table.Column{textColumn("definition", "definition"),
		numberColumn("bytes", "bytes"), textColumn("formula", "formula"), numberColumn("as_printed_mib", "bytes/1e6, as local-learning programs print it")}}
	add := func(name string, bytes *int64, formula string) {
		if bytes == nil {
			return
		}
		t.Rows = append(t.Rows, []table.Cell{table.Text(name), bytesCell(bytes), table.Text(formula),
			table.Number(float64(*bytes)/1e6, fmt.Sprintf("%.1f \"MiB\"", float64(*bytes)/1e6))})
	}
	add("planned peak", m.PlannedPeakBytes, "largest sum of exact sizes alive at an op")
	add("lower bound", m.LowerBoundBytes, "the same, sizes rounded to 64 bytes: no layout is smaller")
	add("step arena", m.StepArenaBytes, "what the training step needs in one allocation")
	add("arena", m.ArenaBytes, "allocated by a run: for training, evaluation and the last batches of both")
	add("touched", &p.found.Coverage.TouchedBytes, "lines of 64 bytes of the arena that a step changed")
	add("eager, tensors alive", m.EagerRequestedBytes, "model of an eager framework: sum of tensor sizes")
	add("eager, max_memory_allocated", m.EagerAllocatedBytes, "the same in blocks of 512 bytes, split as the caching allocator does")
	add("eager, max_memory_reserved", m.EagerReservedBytes, "the same in segments asked of the device")
	add("eager, with algorithm search", m.EagerSearchedBytes, "max_memory_allocated of a first step that tries all of cuDNN's algorithms; an estimate")
	add("resident set", p.found.Memory.ProcessPeakBytes, "VmHWM during a steady step, libraries included")
	add("resident set over baseline", grown(p.found.Memory), "the same less VmRSS before the arena")
	return t
}

func grown(m results.Memory) *int64 {
	if m.ProcessPeakBytes == nil || m.ProcessBaselineBytes == nil {
		return nil
	}
	n := *m.ProcessPeakBytes - *m.ProcessBaselineBytes
	return &n
}

// ledgerTable lists the kernels chosen for convolutions and linear layers, by shape.
func ledgerTable(p profiled) table.Table {
	t := table.Table{ID: "kernels", Run: results.SpecID(p.Spec), Title: "Kernels chosen: " + runLabel(p.Spec), Columns: []table.Column{textColumn("op", "op"), textColumn("shape", "operands"),
		textColumn("kernel", "kernel"), numberColumn("count", "ops"), numberColumn("workspace_bytes", "workspace"), numberColumn("milliseconds", "ms a step")},
		Notes: []string{"Workspace is that of one op; --workspace-limit bounds it."}}
	type key struct{ kind, shape, kernel string }
	type sum struct {
		count, workspace int64
		seconds          float64
	}
	sums := map[key]*sum{}
	var order []key
	for i, op := range p.Step.Graph.Ops {
		switch op.Kind {
		case graph.KindConv, graph.KindConvBackwardData, graph.KindConvBackwardWeights, graph.KindLinear, graph.KindLinearBackwardData, graph.KindLinearBackwardWeights:
		default:
			continue
		}
		k := key{op.Kind.String(), fmt.Sprintf("%s, %s", op.Operands[0].Shape, op.Operands[1].Shape), p.Kernels[i]}
		if sums[k] == nil {
			sums[k] = &sum{}
			order = append(order, k)
		}
		sums[k].count++
		sums[k].workspace = max(sums[k].workspace, p.Scratch[i])
		sums[k].seconds += p.found.OpSeconds[i]
	}
	slices.SortStableFunc(order, func(a, b key) int { return int(math.Copysign(1, sums[b].seconds-sums[a].seconds)) })
	for _, k := range order {
		s := sums[k]
		t.Rows = append(t.Rows, []table.Cell{table.Text(k.kind), table.Text(k.shape), table.Text(k.kernel), wholeCell(&s.count), bytesCell(&s.workspace),
			table.Number(1e3*s.seconds, fmt.Sprintf("%.2f", 1e3*s.seconds))})
	}
	return t
}

// export writes the timelines of all runs, says so, and returns the files.
func export(env Env, dir string, all []profiled) ([]string, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, unwritten(fmt.Errorf("export: %w", err))
	}
	var files []string
	var steps []timeline.Step
	var lines []figure.Timeline
	save := func(name string, write func(io.Writer) error) error {
		path := filepath.Join(dir, name)
		if err := writeFile(path, write); err != nil {
			return fmt.Errorf("export: %s: %w", path, err)
		}
		files = append(files, path)
		return nil
	}
	for _, p := range all {
		s := p.Timeline(runLabel(p.Spec), seconds(p))
		steps = append(steps, s)
		lines = append(lines, figureLine(s))
		id := results.SpecID(p.Spec)
		if err := save(id+".timeline.csv", func(w io.Writer) error { return timeline.CSV(w, s) }); err != nil {
			return files, err
		}
		if err := save(id+".snapshot.pickle", func(w io.Writer) error { return timeline.Snapshot(w, s) }); err != nil {
			return files, err
		}
	}
	if err := save("timeline.trace.json", func(w io.Writer) error { return timeline.Chrome(w, steps...) }); err != nil {
		return files, err
	}
	drawn, err := figure.MemoryOverStep(lines)
	if err != nil {
		return files, err
	}
	for i, f := range drawn {
		saved, err := figure.Save(f, filepath.Join(dir, results.SpecID(all[i].Spec)+".timeline"))
		if err != nil {
			return files, err
		}
		files = append(files, saved...)
	}
	fmt.Fprintf(env.Stderr, "timelines: %d files in %s\n", len(files), dir)
	return files, nil
}

func seconds(p profiled) []float64 {
	if p.found == nil {
		return nil
	}
	return p.found.OpSeconds
}

func figureLine(s timeline.Step) figure.Timeline {
	line := figure.Timeline{Label: s.Label, Bytes: make([][]float64, len(figure.Categories()))}
	for c, name := range figure.Categories() {
		line.Bytes[c] = make([]float64, len(s.Samples))
		for _, category := range graph.Categories() {
			if category.String() != name {
				continue
			}
			for op, sample := range s.Samples {
				line.Bytes[c][op] = float64(sample[category])
			}
		}
	}
	return line
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/hostmem"
	"github.com/localbench/localbench/names"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/planbook"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/datasets"
)

func planCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "plan",
		Short: "the memory of a run, without running or allocating it",
		Long: "plan compiles the programs of every run and prints their memory: exact, and\n" +
			"nothing is allocated. The planned peak and the step arena are those of the training\n" +
			"step; the arena is all that the run allocates, for training, evaluation and the\n" +
			"last batches of both. With --fit it finds the largest batch whose arena fits.",
		Example: "  benchctl plan --methods bp,auglocal --networks resnet110 --batch 1024\n  benchctl plan --networks resnet110 --fit 8GiB\n  benchctl plan --networks resnet110 --batch 1024 --gpu a100 --precision bf16",
		Args:    noArguments,
	}
	s := addShared(c, "memory", "categories", "overlap", "budget", "roofline", "modules", "scopes", "largest", "timeline", "fit", "eager")
	f := planFlags{policy: policyPlanned, processLimit: string(suite.LimitContainer)}
	define(c.Flags(), "fit", "size", "", "find the largest batch whose arena, all that a run allocates, has at most this size: 512MiB, 8GiB; with --policy eager: for which PyTorch reserves at most this", one(&f.budget, size))
	define(c.Flags(), "fit-process", "size", "", "find the largest batch whose process stays within this memory, libraries and data set included: measured, by short runs", one(&f.process, size))
	define(c.Flags(), "process-limit", "name", f.processLimit, "with --fit-process, what limits the process: container, the memory limit of a control group (resident memory of the run and of the command that starts it), or data, RLIMIT_DATA of each process (ulimit -d)", word(&f.processLimit))
	f.dataDir = defaultDataDir(env)
	define(c.Flags(), "data-dir", "folder", f.dataDir, "with --fit-process: where the data sets lie; $BENCHCTL_DATA sets the default", word(&f.dataDir))
	define(c.Flags(), "reserve", "size", "", "with --fit or --target: memory to leave for other things", one(&f.reserve, size))
	define(c.Flags(), "target", "device", "", "find the largest batch that fits the free memory of cpu, or of cuda:0, or the whole memory of the gpu that --gpu names", word(&f.target))
	define(c.Flags(), "gpu", "name", "", "plan with backend cuda for a GPU that is not here, by its name or a part of it, such as h100, or with --policy eager predict the workspaces that cuBLAS has there; --backend cuda without it plans for the GPU that is here, or else for the plan book's first", word(&f.gpu))
	define(c.Flags(), "policy", "name", policyPlanned, "planned: our arena; eager: what an eager framework with a caching allocator would report", word(&f.policy))
	addSamples(c, &s.request)
	c.Flags().BoolVar(&f.job.EvalHeads, "eval-heads", false, "plan for a run that tests every module's own classifier")
	c.Flags().BoolVar(&f.details, "details", false, "modules, scopes, largest values and the timeline of every run; always there for a single one")
	define(c.Flags(), "export", "folder", "", "write the planned timelines there: Chrome trace (ui.perfetto.dev), CSV, PyTorch snapshot, plots", word(&f.export))
	define(c.Flags(), "dump", "pass", "", "print the program of the training step as it is after this pass, one op a line, and nothing else: none (before any pass), drop-detach, fuse-gradient-sum, recompute, mark-saved, drop-unused, mixed, in-place or overlap; for one run", word(&f.dump))
	c.RunE = func(c *cobra.Command, _ []string) error { return f.run(env, c, s) }
	return c
}

func (f *planFlags) run(env Env, c *cobra.Command, s *shared) error {
	request, format, err := s.expand(c)
	if err != nil {
		return err
	}
	f.forPeople = !slices.Contains([]string{"csv", "json"}, format.Name())
	f.sparklines = f.forPeople && format.Name() != "latex"
	budget, err := f.fitBudget()
	if err != nil {
		return usage(err)
	}
	if err := f.exclusive(budget > 0, request.Budget > 0, c.Flags().Changed("batch")); err != nil {
		return usage(err)
	}
	if budget > 0 || f.process > 0 { // a batch of a configuration file is one of the runs that it also describes
		request.Batches = []int64{1}
	}
	planner := f.gpu // the GPU that our own step is planned for
	if request.Backend == "" || request.Backend == "auto" {
		switch {
		case f.policy == policyEager: // which needs no CUDA library
			planner = ""
		case f.gpu != "":
			request.Backend = "cuda"
		}
	}
	specs, err := request.Expand()
	if err != nil {
		return usage(err)
	}
	if f.process > 0 && specs[0].Backend != "cpu" {
		return usage(fmt.Errorf("--fit-process with --backend %s: must be cpu: it measures the memory of the process, where other backends do not keep the arena",
			specs[0].Backend))
	}
	if f.dump != "" {
		return f.dumpPass(env, c, specs, planner)
	}
	a := answer{backend: specs[0].Backend, precision: specs[0].Precision}
	var verdict error
	a.tables, err = onDevice(specs, planner, func(d engine.Device, gpu string) (tables []table.Table, err error) {
		if planner != "" {
			a.gpu = gpu
		}
		switch {
		case f.process > 0:
			tables, verdict, err = f.fitProcess(env, d, specs)
		case budget > 0 && f.policy == policyEager:
			tables, verdict, err = fitEager(specs, budget, f.gpu)
		case budget > 0:
			tables, verdict, err = f.fitArena(d, specs, budget)
		default:
			var all []profiled
			tables, all, err = planTables(d, gpu, specs, *f)
			if err == nil && f.export != "" {
				a.plots, err = export(env, f.export, all)
			}
		}
		return tables, err
	})
	if err != nil {
		return usage(err)
	}
	if err := env.emit(format, a, verdict); err != nil {
		return err
	}
	return verdict
}

// dumpPass prints the program of the training step of one run after a pass.
func (f *planFlags) dumpPass(env Env, c *cobra.Command, specs []results.Spec, planner string) error {
	for _, name := range []string{"fit", "fit-process", "target", "export", "format", "table", "columns"} {
		if c.Flags().Changed(name) {
			return usage(fmt.Errorf("--dump and --%s can't be combined: --dump prints the program of one run, as text", name))
		}
	}
	if f.policy == policyEager {
		return usage(errors.New("--dump and --policy eager can't be combined: --dump prints the program that benchctl runs"))
	}
	if len(specs) > 1 {
		return usage(fmt.Errorf("--dump with %d runs: must be one run: choose one method, network and batch", len(specs)))
	}
	_, err := onDevice(specs, planner, func(d engine.Device, _ string) ([]table.Table, error) {
		return nil, suite.DumpPass(env.Stdout, d, specs[0], f.dump)
	})
	var unknown *names.UnknownError
	if errors.As(err, &unknown) {
		err = fmt.Errorf("--dump: %w", err)
	}
	return usage(err)
}

// planFlags are those of `plan` alone.
type planFlags struct {
	budget, reserve        int64 // bytes of --fit and --reserve
	process                int64 // bytes of --fit-process
	processLimit           string
	target, policy, export string
	dump                   string // the pass after which the program is printed; empty: none
	gpu                    string
	dataDir                string
	details                bool
	job                    suite.JobOptions // of the run that is planned
	forPeople              bool             // the format of the answer is not csv or json
	sparklines             bool             // forPeople, and the format has block characters: LaTeX has none
}

// The policies under which memory is planned.
const (
	policyPlanned = "planned"
	policyEager   = "eager"
)

// exclusive refuses flags that can't be combined.
func (f *planFlags) exclusive(fits, budget, batch bool) error {
	flag := "--fit"
	switch {
	case f.process > 0:
		flag = "--fit-process"
	case f.target != "":
		flag = "--target"
	}
	if f.process > 0 && fits {
		return errors.New("--fit-process can't be combined with --fit or --target: it has its own size")
	}
	if f.process > 0 && f.policy == policyEager {
		return errors.New("--fit-process and --policy eager can't be combined: it measures processes of benchctl; --fit SIZE --policy eager predicts PyTorch's memory")
	}
	if !fits && f.process == 0 {
		return nil
	}
	switch {
	case budget:
		return fmt.Errorf("%s and --budget can't be combined: %s searches for the batch size, --budget for what to recompute", flag, flag)
	case batch:
		return fmt.Errorf("%s and --batch can't be combined: %s searches for the batch size", flag, flag)
	case f.export != "":
		return fmt.Errorf("%s and --export can't be combined: plan the batch size that it finds with --batch and --export", flag)
	}
	return nil
}

// targetError is a --target that is no device.
type targetError struct{ target, hint string }

func (e *targetError) Error() string {
	return fmt.Sprintf("--target %s: must be cpu, cuda:0 or gpu", e.target)
}

// Hint says what was meant, if the plan book has such a GPU.
func (e *targetError) Hint() string { return e.hint }

// fitBudget is the memory that a batch has to fit into; 0 if no fit is asked for.
func (f *planFlags) fitBudget() (int64, error) {
	if f.policy != policyPlanned && f.policy != policyEager {
		return 0, fmt.Errorf("--policy %s: must be %s or %s", f.policy, policyPlanned, policyEager)
	}
	if limit := suite.ProcessLimit(f.processLimit); limit != suite.LimitContainer && limit != suite.LimitData {
		return 0, fmt.Errorf("--process-limit %s: must be %s or %s", f.processLimit, suite.LimitContainer, suite.LimitData)
	}
	if f.budget > 0 && f.target != "" {
		return 0, errors.New("--fit and --target can't be combined: --target has a size of its own")
	}
	budget := f.budget
	switch backend, number, _ := strings.Cut(f.target, ":"); backend {
	case "":
	case "cpu":
		host, err := hostmem.Read()
		if err != nil {
			return 0, fmt.Errorf("--target cpu: %w", err)
		}
		budget, _ = host.Free()
		if budget == 0 {
			return 0, fmt.Errorf("--target cpu: no memory is free: %s", host.Explain())
		}
	case "cuda":
		free, err := freeOnGPU(number)
		if err != nil {
			return 0, fmt.Errorf("--target %s: %w", f.target, err)
		}
		budget = free
	case "gpu":
		if f.gpu == "" {
			return 0, errors.New("--target gpu: needs --gpu with the GPU's name, such as --gpu h100")
		}
		book, err := planbook.Current()
		if err != nil {
			return 0, err
		}
		g, err := book.Find(f.gpu)
		if err != nil {
			return 0, err
		}
		if budget = g.MemoryBytes(); budget == 0 {
			return 0, fmt.Errorf("--target gpu: the plan book does not have the memory of %s, give it with --fit", g.Name)
		}
	default:
		e := &targetError{target: f.target}
		if book, err := planbook.Current(); err == nil {
			if g, err := book.Find(f.target); err == nil {
				e.hint = fmt.Sprintf("--gpu %s --target gpu plans for the whole memory of %s", f.target, g.Name)
			}
		}
		return 0, e
	}
	if f.reserve > 0 && budget == 0 {
		return 0, errors.New("--reserve: needs --fit or --target")
	}
	if f.reserve > 0 && f.reserve >= budget {
		return 0, fmt.Errorf("--reserve %s: must be less than %s", table.Bytes(f.reserve), table.Bytes(budget))
	}
	return budget - f.reserve, nil
}

// freeOnGPU is the free memory of a GPU, of which our own context and libraries have taken
// their part.
func freeOnGPU(number string) (int64, error) {
	index, err := strconv.Atoi(cmp.Or(number, "0"))
	if err != nil || index < 0 {
		return 0, fmt.Errorf("got cuda:%s, want a number such as cuda:0", number)
	}
	d, err := engine.Open("cuda", engine.Options{Device: index})
	if err != nil {
		return 0, err
	}
	defer d.Close()
	has, ok := d.(interface{ FreeBytes() int64 })
	if !ok {
		return 0, errors.New("the backend does not tell its free memory, give it with --fit")
	}
	return has.FreeBytes(), nil
}

// onDevice opens a device that plans all specs, as their own one or as the GPU of that name. Where it stands for a GPU that
// is not here, the first table says so, and whether the workspaces are known. The GPU's name is empty for other backends.
func onDevice(specs []results.Spec, gpu string, use func(d engine.Device, gpu string) ([]table.Table, error)) ([]table.Table, error) {
	d, absent, err := suite.OpenPlanner(specs[0], gpu)
	var missing *engine.Unavailable
	note := ""
	if errors.As(err, &missing) && gpu != "" {
		var cudnn string
		if d, absent, cudnn, err = suite.OpenWithoutLibrary(specs[0], gpu); err == nil {
			book := "the plan book has no entries for it, so no workspace is known"
			if cudnn != "" {
				book = "workspaces are those that the plan book has for cuDNN " + cudnn + ", and the others are not known"
			}
			note = fmt.Sprintf("Planned for %s without the CUDA library: %s. `make cuda-deps cuda` builds the library.", absent, book)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	defer d.Close()
	tables, err := use(d, cmp.Or(absent, d.Facts()["device"]))
	if version := d.Facts()["cuDNN"]; absent != "" && version != "" {
		note = fmt.Sprintf("Planned for %s, which is not here: its engines, and their workspaces, are those of the plan book, and else those that cuDNN %s chooses for it.", absent, version)
	}
	if err == nil && note != "" && len(tables) > 0 {
		tables[0].Notes = append(tables[0].Notes, note)
	}
	return tables, err
}

// planTables are the sizes of every spec, and what the peaks are made of.
func planTables(d engine.Device, gpu string, specs []results.Spec, f planFlags) ([]table.Table, []profiled, error) {
	all := make([]profiled, len(specs))
	for i, s := range specs {
		c, err := suite.CompileJob(d, s, f.job)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", results.SpecID(s), err)
		}
		all[i].Compiled = c
	}
	if f.policy == policyEager {
		return []table.Table{eagerTable(all, f.gpu)}, all, nil
	}
	tables := []table.Table{sizesTable(all), categoryTable(all, f.forPeople)}
	if t, err := overlapTable(d, all); err != nil {
		return nil, nil, err
	} else if len(t.Rows) > 0 {
		tables = append(tables, t)
	}
	if t, err := budgetTable(d, all); err != nil {
		return nil, nil, err
	} else if len(t.Rows) > 0 {
		tables = append(tables, t)
	}
	if t, err := gpuTables(gpu, all, &tables[0]); err != nil {
		return nil, nil, err
	} else if len(t.Rows) > 0 {
		tables = append(tables, t)
	}
	if f.details || len(all) == 1 {
		for _, p := range all {
			tables = append(tables, moduleTable(p), scopeTable(p), topTable(p))
			if f.sparklines {
				tables = append(tables, sparklineTable(p))
			}
		}
	}
	return tables, all, nil
}

// relatedNote explains the brackets of a table.
const relatedNote = "In brackets: relative to bp with the same network, data set and batch."

func sizesTable(all []profiled) table.Table {
	title := "Memory of a training step"
	if p := all[0].Spec.Precision; p != suite.PrecisionF32 { // one for all runs of a request
		title += ", " + p
	}
	t := table.Table{ID: "memory", Title: title, Columns: append(specColumns(),
		numberColumn("planned_peak_bytes", "planned peak"), numberColumn("step_arena_bytes", "step arena"),
		numberColumn("arena_bytes", "arena"), numberColumn("lower_bound_bytes", "lower bound"), numberColumn("fragmentation_bytes", "fragmentation"), textColumn("peak_op", "peak at"))}
	unknown := slices.ContainsFunc(all, func(p profiled) bool { return p.UnknownWorkspaces > 0 })
	if unknown {
		t.Columns = append(t.Columns, numberColumn("unknown_workspaces", "ops without workspace"))
		t.Notes = append(t.Notes, "The workspace of some ops is not known and in none of the figures, which are lower bounds for that reason: see the last column.")
	}
	for _, c := range all {
		m, bp := c.Memory, baselineOf(all, c.Spec)
		if bp.PlannedPeakBytes != nil && !slices.Contains(t.Notes, relatedNote) {
			t.Notes = append(t.Notes, relatedNote)
		}
		row := append(specCells(c.Spec),
			over(bytesCell(m.PlannedPeakBytes), bp.PlannedPeakBytes), over(bytesCell(m.StepArenaBytes), bp.StepArenaBytes),
			over(bytesCell(m.ArenaBytes), bp.ArenaBytes), bytesCell(m.LowerBoundBytes), bytesCell(&c.Profile.FragmentationBytes), table.Text(m.PeakOp))
		if unknown {
			row = append(row, wholeCell(new(int64(c.UnknownWorkspaces))))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// overlapTable holds modules in flight side by side against one after the other; it has no
// rows where there are none.
func overlapTable(d engine.Device, all []profiled) (table.Table, error) {
	t := table.Table{ID: "overlap", Title: "What modules in flight cost", Columns: append(specColumns(), numberColumn("overlap", "in flight"),
		numberColumn("planned_peak_bytes", "planned peak"), numberColumn("step_arena_bytes", "step arena"),
		numberColumn("alone_planned_peak_bytes", "planned peak of one"), numberColumn("alone_step_arena_bytes", "step arena of one")),
		Notes: []string{"In brackets: relative to one module after the other. The planned peak is the largest sum of what may be alive at the same time."}}
	for _, p := range all {
		settings := p.Settings
		inFlight := settings.Overlap
		if inFlight < 2 {
			continue
		}
		settings.Overlap = 1
		spec := p.Spec.WithSettings(settings)
		alone, err := suite.CompileOn(d, spec)
		if err != nil {
			return t, fmt.Errorf("%s: %w", results.SpecID(spec), err)
		}
		one, m := alone.Memory, p.Memory
		t.Rows = append(t.Rows, append(specCells(p.Spec), table.Number(float64(inFlight), fmt.Sprint(inFlight)),
			over(bytesCell(m.PlannedPeakBytes), one.PlannedPeakBytes), over(bytesCell(m.StepArenaBytes), one.StepArenaBytes),
			bytesCell(one.PlannedPeakBytes), bytesCell(one.StepArenaBytes)))
	}
	return t, nil
}

// budgetTable says what steps that were made to fit pay for it; it has no rows where there are none.
func budgetTable(d engine.Device, all []profiled) (table.Table, error) {
	t := table.Table{ID: "budget", Title: "What fitting into the budget costs", Columns: append(specColumns(), numberColumn("budget_bytes", "budget"),
		numberColumn("arena_bytes", "arena"), numberColumn("free_arena_bytes", "arena without"), numberColumn("again", "recomputed"),
		numberColumn("step_flops", "FLOPs of a sample")),
		Notes: []string{"The budget bounds the arena: all that the run allocates. In brackets: relative to the same run without a budget.",
			"Recomputed: results of forward ops that the backward pass computes again. The results of the step are the same to the bit."}}
	for _, p := range all {
		settings := p.Settings
		budget := settings.Budget
		if budget == 0 {
			continue
		}
		settings.Budget = 0
		spec := p.Spec.WithSettings(settings)
		free, err := suite.CompileOn(d, spec)
		if err != nil {
			return t, fmt.Errorf("%s: %w", results.SpecID(spec), err)
		}
		count := int64(p.Again)
		t.Rows = append(t.Rows, append(specCells(p.Spec), bytesCell(&budget), over(bytesCell(p.Memory.ArenaBytes), free.Memory.ArenaBytes),
			bytesCell(free.Memory.ArenaBytes), wholeCell(&count), over(wholeCell(p.Model.FLOPsPerSample.Step), free.Model.FLOPsPerSample.Step)))
	}
	return t, nil
}

// gpuTables add what the plan book knows of a GPU: whether the runs fit, as notes of the first table,
// and what their steps take by its data sheet. The other table has no rows where the book does not know the
// rates, or not for these steps.
func gpuTables(gpu string, all []profiled, sizes *table.Table) (table.Table, error) {
	t := table.Table{ID: "roofline", Title: "A step by the data sheet of " + gpu, Columns: append(specColumns(), numberColumn("step_flops", "operations [GFLOP]"),
		numberColumn("step_bytes", "bytes moved [GB]"), numberColumn("arithmetic_ms", "arithmetic [ms]"), numberColumn("memory_ms", "memory [ms]"),
		numberColumn("roofline_ms", "op by op [ms]"), numberColumn("samples_per_second", "samples/s"), numberColumn("epoch_s", "epoch [s]"))}
	book, err := planbook.Current()
	if err != nil || gpu == "" {
		return t, err
	}
	kind, err := book.Find(gpu)
	if err != nil || kind.Name != gpu {
		return t, nil
	}
	if has := kind.MemoryBytes(); has > 0 {
		sizes.Notes = append(sizes.Notes, fitNote(has, all))
	}
	if kind.Rates == nil {
		return t, nil
	}
	number := func(x float64) table.Cell {
		return table.Number(x, fmt.Sprintf("%.*f", max(0, 3-int(math.Log10(x))), x))
	}
	for _, p := range all {
		r, err := p.Roofline(*kind.Rates)
		if err != nil {
			continue
		}
		entry, err := datasets.Find(p.Spec.Dataset)
		if err != nil {
			return t, err
		}
		steps := (int64(entry.TrainSamples) + p.Spec.Batch - 1) / p.Spec.Batch
		t.Rows = append(t.Rows, append(specCells(p.Spec), number(float64(r.FLOPs)/1e9), number(float64(r.Bytes)/1e9), number(1e3*r.Arithmetic), number(1e3*r.Memory),
			number(1e3*r.Seconds), number(float64(p.Spec.Batch)/r.Seconds), number(float64(steps)*r.Seconds)))
	}
	t.Notes = []string{"Op by op: each takes as long as its operations or its bytes at the rates of the data sheet (" + kind.Rates.Source +
		"), each operand read once. No measurement and no prediction: kernels stay behind it, and caches may beat it."}
	return t, nil
}

// fitNote says which runs do not fit into so many bytes.
func fitNote(has int64, all []profiled) string {
	var large []string
	for _, p := range all {
		if arena := *p.Memory.ArenaBytes; arena > has {
			large = append(large, fmt.Sprintf("%s of %s with batch %d needs %s", p.Spec.Method, p.Spec.Network, p.Spec.Batch, table.Bytes(arena)))
		}
	}
	memory := "the GPU's memory of " + table.Bytes(has) + ", of which driver and libraries take their part"
	if len(large) == 0 && slices.ContainsFunc(all, func(p profiled) bool { return p.UnknownWorkspaces > 0 }) {
		return "Without the workspaces that are not known all fit into " + memory + "; with them it cannot be told."
	}
	if len(large) == 0 {
		return "All fit into " + memory + "."
	}
	return "Does not fit into " + memory + ": " + strings.Join(large, "; ") + "."
}

// eagerTable is what an eager framework would report, on a GPU of that name if there is one.
func eagerTable(all []profiled, gpu string) table.Table {
	t := table.Table{ID: "eager", Title: "The same step in an eager framework, predicted", Columns: append(specColumns(),
		numberColumn("eager_requested_bytes", "tensors alive"), numberColumn("eager_allocated_bytes", "max_memory_allocated"),
		numberColumn("eager_reserved_bytes", "max_memory_reserved"), numberColumn("eager_searched_bytes", "allocated, with search"), numberColumn("planned_peak_bytes", "our planned peak")),
		Notes: []string{"Without memory of libraries. Workspaces of convolutions are in \"allocated, with search\" only: an estimate of the first step of a program that tries all algorithms."}}
	library, known := suite.LibraryBytes(gpu)
	switch {
	case known:
		t.Columns = append(t.Columns, numberColumn("eager_library_bytes", "cuBLAS workspaces"))
		t.Notes = append(t.Notes, "cuBLAS workspaces, on "+gpu+", are in none of the other figures: a program there reports them on top of max_memory_allocated.")
	case gpu != "":
		t.Notes = append(t.Notes, "How much workspace cuBLAS gets on "+gpu+" is not known.")
	default:
		t.Notes = append(t.Notes, "On a GPU the workspaces of cuBLAS come on top of max_memory_allocated: --gpu h100 shows them.")
	}
	variants := map[string]bool{}
	for _, c := range all {
		if variant := c.Settings.Eager; variant != "" && !variants[variant] {
			variants[variant] = true
			t.Notes = append(t.Notes, "The program of "+c.Spec.Method+" differs from PyTorch's defaults: "+variant+".")
		}
	}
	related := false
	for _, c := range all {
		m, bp := c.Memory, baselineOf(all, c.Spec)
		if bp.EagerAllocatedBytes != nil && !related {
			related = true
			t.Notes = append(t.Notes, relatedNote)
		}
		if c.Spec.Precision == suite.PrecisionBF16 {
			t.Notes = []string{"Of a step in bf16 nothing is predicted: the casts that frameworks add of themselves are not in the model."}
		}
		t.Rows = append(t.Rows, append(specCells(c.Spec), over(bytesCell(m.EagerRequestedBytes), bp.EagerRequestedBytes),
			over(bytesCell(m.EagerAllocatedBytes), bp.EagerAllocatedBytes), over(bytesCell(m.EagerReservedBytes), bp.EagerReservedBytes),
			over(bytesCell(m.EagerSearchedBytes), bp.EagerSearchedBytes), bytesCell(m.PlannedPeakBytes)))
		if known {
			last := len(t.Rows) - 1
			t.Rows[last] = append(t.Rows[last], bytesCell(&library))
		}
	}
	return t
}

// moduleTable and scopeTable say whose bytes are alive at the peak.
func moduleTable(p profiled) table.Table {
	t := table.Table{ID: "modules", Run: results.SpecID(p.Spec), Title: "Bytes alive at the peak, by local module: " + runLabel(p.Spec),
		Columns: []table.Column{textColumn("module", "module"), numberColumn("bytes", "bytes")}}
	for _, m := range p.Memory.ByModule {
		t.Rows = append(t.Rows, []table.Cell{table.Text(m.Name), bytesCell(&m.Bytes)})
	}
	return t
}

// scopeCount is how many scopes a table has; the rest is summed.
const scopeCount = 15

func scopeTable(p profiled) table.Table {
	t := table.Table{ID: "scopes", Run: results.SpecID(p.Spec), Title: "Bytes alive at the peak, by scope: " + runLabel(p.Spec),
		Columns: []table.Column{textColumn("scope", "scope"), numberColumn("bytes", "bytes")}}
	rest := int64(0)
	for i, s := range p.Profile.ByScope {
		if i >= scopeCount {
			rest += s.Bytes
			continue
		}
		t.Rows = append(t.Rows, []table.Cell{table.Text(s.Scope), bytesCell(&s.Bytes)})
	}
	if rest > 0 {
		t.Rows = append(t.Rows, []table.Cell{table.Text(fmt.Sprintf("%d others", len(p.Profile.ByScope)-scopeCount)), bytesCell(&rest)})
	}
	return t
}

func topTable(p profiled) table.Table {
	t := table.Table{ID: "largest", Run: results.SpecID(p.Spec), Title: "Largest values at the peak: " + runLabel(p.Spec), Columns: []table.Column{textColumn("value", "value"),
		textColumn("category", "category"), textColumn("scope", "scope"), numberColumn("bytes", "bytes")}}
	for _, v := range p.Memory.Top {
		t.Rows = append(t.Rows, []table.Cell{table.Text(v.Name), table.Text(v.Category), table.Text(v.Scope), bytesCell(&v.Bytes)})
	}
	return t
}

// sparklineTable draws the bytes alive over the step in a line of text.
func sparklineTable(p profiled) table.Table {
	totals := make([]int64, len(p.Profile.Timeline))
	for i, s := range p.Profile.Timeline {
		totals[i] = s.Total()
	}
	highest := slices.Max(totals)
	t := table.Table{ID: "timeline", Run: results.SpecID(p.Spec), Title: "Bytes alive over the step: " + runLabel(p.Spec),
		Columns: []table.Column{textColumn("timeline", "from the first op to the last"), numberColumn("peak_bytes", "highest")},
		Rows:    [][]table.Cell{{table.Text(sparkline(totals, 72)), bytesCell(&highest)}}}
	if p.Step.Graph.Lanes() > 1 {
		t.Notes = []string{"In the order of the program. Side by side modules keep more alive: the planned peak."}
	}
	return t
}

// sparkline draws values in so many characters; each shows the largest of its share,
// relative to the largest of all.
func sparkline(values []int64, width int) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	width = min(width, len(values))
	highest := slices.Max(values)
	var out []rune
	for i := range width {
		part := slices.Max(values[i*len(values)/width : (i+1)*len(values)/width])
		out = append(out, levels[int(float64(part)/float64(max(highest, 1))*float64(len(levels)-1)+0.5)])
	}
	return string(out)
}

// baselineOf is the memory of bp for the same task; empty for bp itself and where there is none.
func baselineOf(all []profiled, s results.Spec) results.Memory {
	for _, c := range all {
		if c.Spec.Method == "bp" && s.Method != "bp" && c.Spec.Network == s.Network && c.Spec.Dataset == s.Dataset && c.Spec.Batch == s.Batch {
			return c.Memory
		}
	}
	return results.Memory{}
}

// categoryTable has a row for each run and a column for each category. People who look at up to three runs, for which a
// terminal has the width, get a row for each category and a column for each run.
func categoryTable(all []profiled, forPeople bool) table.Table {
	t := table.Table{ID: "categories", Title: "Bytes alive at the peak, by category"}
	most := map[string]int64{}
	for _, c := range all {
		for name, bytes := range c.Memory.ByCategory {
			most[name] = max(most[name], bytes)
		}
	}
	key := func(name string) string { return strings.ReplaceAll(name, " ", "_") + "_bytes" }
	cell := func(p profiled, name string) table.Cell {
		if p.UnknownWorkspaces > 0 && name == graph.CategoryWorkspace.String() {
			return table.Text("not known")
		}
		return bytesCell(new(p.Memory.ByCategory[name]))
	}
	if slices.ContainsFunc(all, func(p profiled) bool { return p.UnknownWorkspaces > 0 }) {
		most[graph.CategoryWorkspace.String()] += 0 // the category is listed
	}
	if !forPeople { // every category, in a fixed order: a script may count on a column
		t.Columns = specColumns()
		for _, c := range graph.Categories() {
			t.Columns = append(t.Columns, numberColumn(key(c.String()), c.String()))
		}
		for _, c := range all {
			row := specCells(c.Spec)
			for _, category := range graph.Categories() {
				row = append(row, cell(c, category.String()))
			}
			t.Rows = append(t.Rows, row)
		}
		return t
	}
	names := slices.SortedFunc(maps.Keys(most), func(a, b string) int {
		return cmp.Or(cmp.Compare(most[b], most[a]), strings.Compare(a, b))
	})
	if len(all) > 3 {
		t.Columns = specColumns()
		for _, name := range names {
			t.Columns = append(t.Columns, numberColumn(key(name), name))
		}
		for _, c := range all {
			row := specCells(c.Spec)
			for _, name := range names {
				row = append(row, cell(c, name))
			}
			t.Rows = append(t.Rows, row)
		}
		return t
	}
	t.Columns = []table.Column{textColumn("category", "category")}
	for i, c := range all {
		label := c.Spec.Method
		if len(all) > 2 {
			label = strings.TrimSpace(strings.Join([]string{c.Spec.Network, c.Spec.Method, settings(c.Spec)}, " "))
		}
		t.Columns = append(t.Columns, numberColumn(fmt.Sprintf("run%d_bytes", i+1), label))
	}
	for _, name := range names {
		row := []table.Cell{table.Text(name)}
		for _, c := range all {
			row = append(row, cell(c, name))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// settings tells the runs of one method apart.
func settings(s results.Spec) string {
	text := fmt.Sprintf("%s b%d", s.Dataset, s.Batch)
	if s.AuxDepth > 0 {
		text += fmt.Sprintf(" d%d", s.AuxDepth)
	}
	if s.Modules > 0 {
		text += fmt.Sprintf(" K%d", s.Modules)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Options)) {
		if _, err := strconv.Atoi(s.Options[key]); err == nil {
			text += " " + key // a number alone says nothing
		}
		text += " " + s.Options[key]
	}
	return text
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/names"
	"github.com/localbench/localbench/reports/diff"
	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/planned"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results/planbook"
	"github.com/localbench/localbench/suite"
)

func planCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "plan [NETWORK]",
		Short: "plan the memory of runs, without running or allocating anything",
		Long: "plan compiles the programs of every run and prints their exact memory without\n" +
			"allocating it. The planned peak and the step arena are those of the training\n" +
			"step; the arena is the memory that the run allocates for training, evaluation and the\n" +
			"last batches of both. With --fit it finds the largest batch whose arena fits.\n" +
			"NETWORK is short for --networks. With --against it compares the plan with another one, and\n" +
			"names the modules and tensors that changed.",
		Example: "  benchctl plan --methods bp,auglocal --networks resnet110 --batch 1024\n  benchctl plan --networks resnet110 --fit 8GiB\n  benchctl plan --networks resnet110 --batch 1024 --gpu a100 --precision bf16\n" +
			"  benchctl plan new.pt2 --against old.pt2 --policy eager --limit 2%",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return noArguments(c, args[1:])
			}
			return nil
		},
	}
	s := addShared(c, "memory", "categories", "overlap", "budget", "roofline", "modules", "scopes", "largest", "timeline", "fit", "eager",
		"against", "against_categories", "against_modules", "against_tensors")
	f := planFlags{policy: policyPlanned, processLimit: string(suite.LimitContainer)}
	cli.Define(c.Flags(), "fit", "size", "",
		"find the largest batch whose arena, the memory that a run allocates, has at most this size, such as 512MiB or 8GiB; with "+
			"--policy eager: for which PyTorch reserves at most this size", cli.One(&f.budget, cli.Size))
	cli.Define(c.Flags(), "fit-process", "size", "",
		"find the largest batch whose process stays within this memory, libraries and data set included: measured, by short runs",
		cli.One(&f.process, cli.Size))
	cli.Define(c.Flags(), "process-limit", "name", f.processLimit,
		"with --fit-process, what limits the process: container, the memory limit of a control group (resident memory of the run "+
			"and of the command that starts it), or data, RLIMIT_DATA of each process (ulimit -d)",
		cli.Word(&f.processLimit))
	f.dataDir = env.dataDir()
	cli.Define(c.Flags(), "data-dir", "folder", f.dataDir,
		"with --fit-process: folder of the data sets; $BENCHCTL_DATA sets the default", cli.Word(&f.dataDir))
	cli.Define(c.Flags(), "reserve", "size", "", "with --fit or --target: memory to leave free", cli.One(&f.reserve, cli.Size))
	cli.Define(c.Flags(), "target", "device", "",
		"find the largest batch that fits the free memory of cpu, or of cuda:0, or the whole memory of the gpu that --gpu names",
		cli.Word(&f.target))
	cli.Define(c.Flags(), "gpu", "name", "",
		"plan with backend cuda for a GPU that this machine need not have, by its name or a part of it, such as h100; with --policy "+
			"eager predict the workspaces of cuBLAS on it. --backend cuda without --gpu plans for this machine's GPU, or else for the "+
			"first one of the tuning cache", cli.Word(&f.gpu))
	cli.Define(c.Flags(), "policy", "name", policyPlanned,
		"planned: our arena; eager: what an eager framework with a caching allocator would report", cli.Word(&f.policy))
	addSamples(c, &s.request)
	c.Flags().BoolVar(&f.job.EvalHeads, "eval-heads", false, "plan for a run that evaluates every module's classifier")
	c.Flags().BoolVar(&f.details, "details", false,
		"print modules, scopes, largest values and the timeline of every run; always printed for a single run")
	cli.Define(c.Flags(), "export", "folder", "",
		"write the planned timelines there: Chrome trace (ui.perfetto.dev), CSV, PyTorch snapshot, plots", cli.Word(&f.export))
	cli.Define(c.Flags(), "dump", "pass", "",
		"print only the program of the training step after this pass, one op per line; for one run: "+
			strings.Join(suite.PassNames(), ", ")+" (none: before any pass)", cli.Word(&f.dump))
	cli.Define(c.Flags(), "curve", "points", "",
		"plan every run for this many budgets, such as 8, from everything saved to the smallest arena that the search of "+
			"--budget finds: memory against computation; with --export the plot is written there", cli.One(&f.curve, cli.Number(2, 100)))
	cli.Define(c.Flags(), "against", "plan", "",
		"compare with the same run of another network (a name, or PATH.pt2), under another method, or in a baseline or record (PATH.json); "+
			"a file may be one of a git revision, REVISION:PATH", cli.Word(&f.against))
	cli.Define(c.Flags(), "limit", "size or percentage", "",
		"with --against: exit code 1 if a figure grew by more than this, such as 16MiB, 2% or 0",
		func(s string) error {
			l, err := diff.ParseLimit(s)
			f.limit = &l
			return err
		})
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 1 {
			if c.Flags().Changed("networks") {
				return usage(fmt.Errorf("--networks and the argument %q: give one of them", args[0]))
			}
			if err := c.Flags().Set("networks", args[0]); err != nil {
				return usage(err)
			}
		}
		return f.run(env, c, s)
	}
	return c
}

func (f *planFlags) run(env Env, c *cobra.Command, s *shared) error {
	request, format, err := s.expand(c)
	if err != nil {
		return err
	}
	f.forPeople = !slices.Contains([]string{"csv", "json"}, format.Name())
	f.sparklines = f.forPeople && format.Name() != "latex"
	budget, err := f.fitBudget(env.host())
	if err != nil {
		return usage(err)
	}
	if f.limit != nil && f.against == "" {
		return usage(errors.New("--limit: needs --against"))
	}
	if f.against != "" {
		return f.runAgainst(env, request, format)
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
	runs, err := request.Build()
	if err != nil {
		return usage(err)
	}
	if f.process > 0 && runs[0].Spec.Backend != "cpu" {
		return usage(fmt.Errorf("--fit-process with --backend %s: must be cpu: it measures the memory of the process, where other backends do not keep the arena",
			runs[0].Spec.Backend))
	}
	if f.dump != "" {
		return f.dumpPass(env, runs, planner)
	}
	a := answer{backend: runs[0].Spec.Backend, precision: runs[0].Spec.Precision}
	var verdict error
	a.tables, err = onDevice(env.host(), runs[0], planner, func(d engine.Device, gpu string) (tables []table.Table, err error) {
		if planner != "" {
			a.gpu = gpu
		}
		switch {
		case f.process > 0 || budget > 0:
			tables, verdict, err = f.fit(env, d, runs, budget)
		case f.curve > 0:
			tables, a.plots, err = f.curves(env, d, gpu, runs)
		default:
			var compiled []*suite.Compiled
			tables, compiled, err = planTables(env.host(), d, gpu, runs, *f)
			if err == nil && f.export != "" {
				a.plots, err = export(env, f.export, compiled, nil)
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

// curves are the runs' curves, and the files of their plot.
func (f *planFlags) curves(env Env, d engine.Device, gpu string, runs []*suite.Run) ([]table.Table, []string, error) {
	kind, err := suite.KnownGPU(env.host(), gpu)
	if err != nil {
		return nil, nil, err
	}
	var rates *planbook.Rates
	if kind != nil {
		rates = kind.Rates
	}
	curves, err := suite.Curves(d, runs, f.curve, rates)
	if err != nil {
		return nil, nil, err
	}
	var plots []string
	if f.export != "" {
		drawn, err := figure.MemoryAgainstFLOPs(curves)
		if err != nil {
			return nil, nil, err
		}
		if err := os.MkdirAll(f.export, 0o777); err != nil {
			return nil, nil, unwritten(fmt.Errorf("export: %w", err))
		}
		if plots, err = figure.Save(drawn, filepath.Join(f.export, "curve")); err != nil {
			return nil, nil, unwritten(fmt.Errorf("export: %w", err))
		}
	}
	return []table.Table{planned.Curves(curves)}, plots, nil
}

// dumpPass prints the program of the training step of one run after a pass.
func (f *planFlags) dumpPass(env Env, runs []*suite.Run, planner string) error {
	if len(runs) > 1 {
		return usage(fmt.Errorf("--dump with %d runs: must be one run: choose one method, network and batch", len(runs)))
	}
	_, err := onDevice(env.host(), runs[0], planner, func(d engine.Device, _ string) ([]table.Table, error) {
		return nil, runs[0].DumpPass(env.Stdout, d, f.dump)
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
	curve                  int    // points of each run's curve; 0: no curve
	dump                   string // the pass after which the program is printed; empty: none
	gpu                    string
	against                string      // what the plan is compared with; empty: nothing
	limit                  *diff.Limit // growth that is accepted; nil: any
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

// fitBudget is the memory that a batch has to fit into; 0 if no fit is asked for.
func (f *planFlags) fitBudget(h suite.Host) (int64, error) {
	if f.policy != policyPlanned && f.policy != policyEager {
		return 0, fmt.Errorf("--policy %s: must be %s or %s", f.policy, policyPlanned, policyEager)
	}
	if limit := suite.ProcessLimit(f.processLimit); limit != suite.LimitContainer && limit != suite.LimitData {
		return 0, fmt.Errorf("--process-limit %s: must be %s or %s", f.processLimit, suite.LimitContainer, suite.LimitData)
	}
	budget := f.budget
	if f.target != "" {
		bytes, err := suite.TargetBytes(h, f.target, f.gpu)
		if err != nil {
			return 0, err
		}
		budget = bytes
	}
	if f.reserve > 0 && budget == 0 {
		return 0, errors.New("--reserve: needs --fit or --target")
	}
	if f.reserve > 0 && f.reserve >= budget {
		return 0, fmt.Errorf("--reserve %s: must be less than %s", table.Bytes(f.reserve), table.Bytes(budget))
	}
	return budget - f.reserve, nil
}

// onDevice opens a device that plans all runs of a request, of which this is one, as their own one or as the GPU of that name. The first table says what is
// not exact about such plans.
func onDevice(h suite.Host, run *suite.Run, gpu string, use func(d engine.Device, gpu string) ([]table.Table, error)) ([]table.Table, error) {
	d, name, note, err := run.OpenPlannerOrBook(h, gpu)
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	defer d.Close()
	tables, err := use(d, name)
	if err == nil && note != "" && len(tables) > 0 {
		tables[0].Notes = append(tables[0].Notes, note)
	}
	return tables, err
}

// planTables are the sizes of every run, and what the peaks are made of.
func planTables(h suite.Host, d engine.Device, gpu string, runs []*suite.Run, f planFlags) ([]table.Table, []*suite.Compiled, error) {
	plans, compiled, err := suite.Plans(d, runs, f.job)
	if err != nil {
		return nil, nil, err
	}
	if f.policy == policyEager {
		return []table.Table{planned.Eager(plans, f.gpu, library(f.gpu))}, compiled, nil
	}
	tables := []table.Table{planned.Sizes(plans), planned.Categories(plans, f.forPeople)}
	for _, t := range []table.Table{planned.Overlap(plans), planned.Budget(plans)} {
		if len(t.Rows) > 0 {
			tables = append(tables, t)
		}
	}
	kind, err := suite.KnownGPU(h, gpu)
	if err != nil {
		return nil, nil, err
	}
	if kind != nil {
		if has := kind.MemoryBytes(); has > 0 {
			tables[0].Notes = append(tables[0].Notes, planned.FitNote(has, plans))
		}
		if kind.Rates != nil {
			suite.AddRooflines(plans, compiled, *kind.Rates)
			if t := planned.Roofline(gpu, kind.Rates.Source, plans); len(t.Rows) > 0 {
				tables = append(tables, t)
			}
		}
	}
	if f.details || len(plans) == 1 {
		for _, p := range plans {
			tables = append(tables, planned.Details(p, f.sparklines)...)
		}
	}
	return tables, compiled, nil
}

// library is the workspace of cuBLAS on a GPU; nil where it is not known.
func library(gpu string) *int64 {
	if bytes, ok := suite.LibraryBytes(gpu); ok {
		return &bytes
	}
	return nil
}

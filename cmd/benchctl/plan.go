package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/plans"
	"github.com/localbench/localbench/reports/diff"
	"github.com/localbench/localbench/reports/planned"
	"github.com/localbench/localbench/results"
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
		Example: "  benchctl plan --methods bp,auglocal --networks resnet110 --batch 1024\n" +
			"  benchctl plan --networks resnet110 --fit 8GiB\n" +
			"  benchctl plan --networks resnet110 --batch 1024 --gpu a100 --precision bf16\n" +
			"  benchctl plan new.pt2 --against old.pt2 --policy eager --limit 2%",
		Args: oneNetwork,
	}
	s := addShared(c, "memory", "categories", "overlap", "store", "budget", "roofline", "modules", "scopes", "largest", "timeline",
		"fit", "eager", "against", "against_categories", "against_modules", "against_tensors")
	f := planFlags{Options: plans.Options{Host: env.host(), Policy: plans.PolicyPlanned,
		Fit: plans.Fit{Limit: suite.LimitContainer}}}
	cli.Define(c.Flags(), "fit", "size", "",
		"find the largest batch whose arena, the memory that a run allocates, has at most this size, such as 512MiB or 8GiB; with "+
			"--policy eager: for which PyTorch reserves at most this size", cli.One(&f.Fit.Budget, cli.Size))
	cli.Define(c.Flags(), "fit-process", "size", "",
		"find the largest batch whose process stays within this memory, libraries and data set included: measured, by short runs",
		cli.One(&f.Fit.Process, cli.Size))
	cli.Define(c.Flags(), "process-limit", "name", string(f.Fit.Limit),
		"with --fit-process, what limits the process: container, the memory limit of a control group (resident memory of the run "+
			"and of the command that starts it), or data, RLIMIT_DATA of each process (ulimit -d)",
		func(s string) error {
			f.Fit.Limit = suite.ProcessLimit(s)
			return nil
		})
	f.dataDir = env.dataDir()
	cli.Define(c.Flags(), "data-dir", "folder", f.dataDir,
		"with --fit-process: folder of the data sets; $BENCHCTL_DATA sets the default", cli.Word(&f.dataDir))
	cli.Define(c.Flags(), "reserve", "size", "", "with --fit or --target: memory to leave free", cli.One(&f.Fit.Reserve, cli.Size))
	cli.Define(c.Flags(), "target", "device", "",
		"find the largest batch that fits the free memory of cpu, or of cuda:0, or the whole memory of the gpu that --gpu names",
		cli.Word(&f.Fit.Target))
	cli.Define(c.Flags(), "gpu", "name", "",
		"plan with backend cuda for a GPU that this machine need not have, by its name or a part of it, such as h100; with --policy "+
			"eager predict the workspaces of cuBLAS on it. --backend cuda without --gpu plans for this machine's GPU, or else for the "+
			"first one of the tuning cache", cli.Word(&f.GPU))
	cli.Define(c.Flags(), "policy", "name", f.Policy,
		"planned: our arena; eager: what an eager framework with a caching allocator would report", cli.Word(&f.Policy))
	addSamples(c, &s.request)
	c.Flags().BoolVar(&f.Job.EvalHeads, "eval-heads", false, "plan for a run that evaluates every module's classifier")
	c.Flags().BoolVar(&f.Details, "details", false,
		"print modules, scopes, largest values and the timeline of every run; always printed for a single run")
	cli.Define(c.Flags(), "export", "folder", "",
		"write the planned timelines there: Chrome trace (ui.perfetto.dev), CSV, PyTorch snapshot, plots", cli.Word(&f.Export))
	cli.Define(c.Flags(), "dump", "pass", "",
		"print only the program of the training step after this pass, one op per line; for one run: "+
			strings.Join(suite.PassNames(), ", ")+" (none: before any pass)", cli.Word(&f.dump))
	cli.Define(c.Flags(), "curve", "points", "",
		"plan every run for this many budgets, such as 8, from everything saved to the smallest arena that the search of "+
			"--budget finds: memory against computation; with --export the plot is written there", cli.One(&f.Curve, cli.Number(2, 100)))
	cli.Define(c.Flags(), "against", "plan", "",
		"compare with the same run of another network (a name, or PATH.pt2), under another method, or in a baseline or record "+
			"(PATH.json); a file may be one of a git revision, REVISION:PATH", cli.Word(&f.Against))
	cli.Define(c.Flags(), "limit", "size or percentage", "",
		"with --against: exit code 1 if a figure grew by more than this, such as 16MiB, 2% or 0",
		func(s string) error {
			l, err := diff.ParseLimit(s)
			f.Limit = &l
			return err
		})
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := setNetwork(c, args); err != nil {
			return err
		}
		return f.run(env, c, s)
	}
	return c
}

// planFlags are those of `plan` alone.
type planFlags struct {
	plans.Options
	dataDir string // for processes that are measured
	dump    string // the pass after which the program is printed; empty: none
}

func (f *planFlags) run(env Env, c *cobra.Command, s *shared) error {
	request, format, err := s.expand(c)
	if err != nil {
		return err
	}
	for _, mode := range []string{"fit", "fit-process", "target", "against"} {
		if len(request.More) > 0 && c.Flags().Changed(mode) {
			return usage(fmt.Errorf("--%s: takes no configuration file with %s", mode, strings.Join(sweepKeys(), ", ")))
		}
	}
	f.Whole = slices.Contains([]string{"csv", "json"}, format.Name())
	f.Plain = f.Whole || format.Name() == "latex"
	if f.dump != "" {
		return usage(f.Dump(env.Stdout, request, f.dump))
	}
	if f.Fit.Process > 0 {
		ctx, stop := interrupts(env, "the probe ends")
		defer stop()
		f.Fit.Probe = func(s results.Spec) (suite.ProcessMemory, error) { return f.probe(ctx, env, s) }
	}
	a, err := f.Run(request)
	if err != nil {
		return usage(err)
	}
	if f.Curve == 0 && len(a.Plots) > 0 {
		fmt.Fprintf(env.Stderr, "timelines: %d files in %s\n", len(a.Plots), f.Export)
	}
	if err := env.emit(format, answerOf(a), a.Verdict); err != nil {
		return err
	}
	return a.Verdict
}

// probe measures a run in a process of its own.
func (f *planFlags) probe(ctx context.Context, env Env, s results.Spec) (suite.ProcessMemory, error) {
	if env.IsTTY {
		fmt.Fprintf(env.Stderr, "probe: %s\n", planned.Label(s))
	}
	m, err := suite.StartProbe(ctx, []string{env.Program, "probe"}, suite.Job{Spec: s, DataDir: f.dataDir, JobOptions: f.Job})
	if ctx.Err() != nil {
		err = &suite.InterruptedError{Left: "no batch was found"}
	}
	return m, err
}

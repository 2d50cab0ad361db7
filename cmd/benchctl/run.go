package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/launch"
	"github.com/localbench/localbench/plans"
	"github.com/localbench/localbench/progress"
	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// runFlags are those of `run` alone.
type runFlags struct {
	*shared
	suite.Runner
	dryRun, quiet bool
	metrics       []string
	*placeFlags
	*launchFlags
}

func runCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "run",
		Short: "train every combination of the lists, write one record per run, print the tables",
		Long: "run combines methods, networks, data sets, batches, depths, modules and seeds into\n" +
			"runs, trains each in a separate process, writes one record per run, and prints the\n" +
			"summary table. Plots are written to the folder plots inside that of the records.",
		Example: "  benchctl run\n  benchctl run --methods bp,auglocal --datasets cifar10 --data-dir data --epochs 10",
		Args:    noArguments,
	}
	f := &runFlags{shared: addShared(c), Runner: env.runner(filepath.Join("results", "runs"))}
	addTraining(c, &f.request)
	addSamples(c, &f.request)
	flags := c.Flags()
	f.addJob(flags)
	cli.Define(flags, "out", "folder", f.Out, "folder for the records", cli.Word(&f.Out))
	f.placeFlags = addPlaces(flags, &f.Runner)
	flags.BoolVar(&f.Resume, "resume", false, "skip finished runs and continue interrupted ones")
	flags.BoolVar(&f.SaveWeights, "save-weights", false,
		"write parameters and running statistics next to the record, as safetensors")
	flags.BoolVar(&f.EvalHeads, "eval-heads", false, "evaluate every module's classifier after each epoch")
	flags.BoolVar(&f.FailFast, "fail-fast", false, "stop at the first run that fails")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the runs and stop")
	cli.Define(flags, "metrics", "names", "",
		"measured columns of the table, comma separated: "+strings.Join(table.Metrics(), ", "), metricNames(&f.metrics))
	flags.BoolVar(&f.quiet, "quiet", false, "no progress on standard error")
	f.launchFlags = addLaunch(flags)
	f.addOnOOM(flags)
	c.RunE = func(c *cobra.Command, _ []string) error { return f.run(env, c) }
	return c
}

// addJob defines flags of a single run's process.
func (f *runFlags) addJob(flags *pflag.FlagSet) {
	cli.Define(flags, "data-dir", "folder", f.DataDir,
		"folder of the data sets; $BENCHCTL_DATA sets the default", cli.Word(&f.DataDir))
	cli.Define(flags, "init", "file", "",
		"file with initial parameters and running statistics: safetensors, or PATH.pt2 of torch.export", cli.Word(&f.Init))
}

func (f *runFlags) run(env Env, c *cobra.Command) error {
	request, format, err := f.expand(c)
	if err != nil {
		return err
	}
	request.Init = f.Init
	runs, err := request.Build()
	if err != nil {
		return usage(err)
	}
	if err := f.Check(); err != nil {
		return usage(err)
	}
	if f.dryRun {
		return env.emit(format, answer{tables: []table.Table{plans.Runs(runs)}}, nil)
	}
	if _, err := table.Select([]table.Table{table.SummaryColumns(suite.Specs(runs))}, "", format.columns); err != nil {
		return usage(err) // before the runs: afterwards the table would be lost
	}
	if err := f.Preflight(env.host(), runs); err != nil {
		return usage(err)
	}
	if f.Launcher != launch.Local {
		return f.start(env, f.Runner, runs, format)
	}
	if err := f.place(&f.Runner, suite.Specs(runs)); err != nil {
		return err
	}
	f.limit(&f.Runner)
	f.Trim = func(r *results.Record) { results.Brief(r); results.Slim(r) }
	debug.FreeOSMemory() // a data set that was opened to check it is not kept beside the runs
	records, verdict := sweepUntilInterrupted(env, f.Runner, suite.Specs(runs), f.quiet)
	summary, err := table.Summary(records).WithMetrics(f.metrics)
	if err != nil {
		return usage(err)
	}
	if known, missing := summary.Known(format.columns); len(missing) > 0 { // SummaryColumns has them
		fmt.Fprintf(env.Stderr, "columns: left out %s: all runs agree in it, or it was not measured\n", strings.Join(missing, ", "))
		format.columns = known
	}
	a := answer{tables: []table.Table{summary}}
	if len(records) > 0 {
		if n := f.Written(records); n > 0 && !f.quiet {
			fmt.Fprintf(env.Stderr, "records: %d in %s\n", n, f.Out)
		}
		if a.plots, err = draw(env, records, filepath.Join(f.Out, "plots"), f.quiet); err != nil {
			verdict = withoutPlots(verdict, err, len(records), f.Out)
		}
	}
	if err := env.emit(format, a, verdict); err != nil {
		return err
	}
	return verdict
}

// withoutPlots is the verdict of a sweep whose plots could not be drawn: what became of the runs, and of the plots.
func withoutPlots(verdict, plots error, runs int, out string) error {
	if verdict != nil {
		return errors.Join(verdict, plots)
	}
	return unwritten(fmt.Errorf("%s done and recorded in %s, but %w", english.Plural(runs, "run is", "runs are"), out, plots))
}

// sweep runs the specs and shows their progress.
func sweep(ctx context.Context, env Env, r suite.Runner, specs []results.Spec, quiet bool) ([]results.Record, error) {
	p := progress.OfSweep(env.screen(), specs, r.Jobs, quiet)
	defer p.Finish()
	r.On, r.Stderr = p.On, p
	return r.Run(ctx, specs)
}

// sweepUntilInterrupted is sweep; a first signal lets the runs save their state, a second ends everything at once.
func sweepUntilInterrupted(env Env, r suite.Runner, specs []results.Spec, quiet bool) ([]results.Record, error) {
	ctx, stop := interrupts(env, "the runs save their state")
	defer stop()
	return sweep(ctx, env, r, specs, quiet)
}

// interrupts returns a context that the first SIGINT, SIGTERM or SIGHUP cancels, saying what comes then. The second ends the
// process at once; the kernel ends the runs with it.
func interrupts(env Env, then string) (context.Context, func()) {
	return cli.Interrupts(
		func() { fmt.Fprintln(env.Stderr, "benchctl: interrupted: "+then+"; press again to stop at once") },
		func() { os.Exit(int(exitInterrupted)) })
}

// draw writes the plots. A figure that the records have nothing for is left out.
func draw(env Env, records []results.Record, dir string, quiet bool) ([]string, error) {
	files, err := figure.SaveAll(records, dir)
	if err != nil {
		return files, unwritten(fmt.Errorf("plots: %w", err))
	}
	if len(files) > 0 && !quiet {
		fmt.Fprintf(env.Stderr, "plots: %d files in %s\n", len(files), dir)
	}
	return files, nil
}

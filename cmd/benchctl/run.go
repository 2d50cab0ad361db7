package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// runFlags are those of `run` alone.
type runFlags struct {
	*shared
	dataDir, out                    string
	resume, dryRun, failFast, quiet bool
	jobs                            int
	metrics                         []string
	suite.JobOptions
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
	f := &runFlags{shared: addShared(c)}
	addTraining(c, &f.request)
	addSamples(c, &f.request)
	flags := c.Flags()
	f.addJob(env, flags)
	f.out = filepath.Join("results", "runs")
	cli.Define(flags, "out", "folder", f.out, "folder for the records", cli.Word(&f.out))
	cli.Define(flags, "jobs", "count", "1",
		"number of parallel runs; with more than one, times are meaningless", cli.One(&f.jobs, cli.Number(1, 1024)))
	flags.BoolVar(&f.resume, "resume", false, "skip finished runs and continue interrupted ones")
	flags.BoolVar(&f.SaveWeights, "save-weights", false,
		"write parameters and running statistics next to the record, as safetensors")
	flags.BoolVar(&f.EvalHeads, "eval-heads", false, "evaluate every module's classifier after each epoch")
	flags.BoolVar(&f.failFast, "fail-fast", false, "stop at the first run that fails")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the runs and stop")
	cli.Define(flags, "metrics", "names", "",
		"measured columns of the table, comma separated: "+strings.Join(table.Metrics(), ", "), metricNames(&f.metrics))
	flags.BoolVar(&f.quiet, "quiet", false, "no progress on standard error")
	c.RunE = func(c *cobra.Command, _ []string) error { return f.run(env, c) }
	return c
}

// defaultDataDir is the default folder of the data sets.
func defaultDataDir(env Env) string { return cmp.Or(env.Getenv("BENCHCTL_DATA"), "data") }

// addJob defines flags of a single run's process.
func (f *runFlags) addJob(env Env, flags *pflag.FlagSet) {
	f.dataDir = defaultDataDir(env)
	cli.Define(flags, "data-dir", "folder", f.dataDir,
		"folder of the data sets; $BENCHCTL_DATA sets the default", cli.Word(&f.dataDir))
	cli.Define(flags, "init", "file", "", "safetensors file with initial parameters and running statistics", cli.Word(&f.Init))
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
	if f.dryRun {
		return env.emit(format, answer{tables: []table.Table{dryRun(suite.Specs(runs))}}, nil)
	}
	if err := preflight(env.host(), runs, f.out, f.dataDir, f.Init); err != nil {
		return err
	}
	debug.FreeOSMemory() // a data set that was opened to check it is not kept beside the runs
	records, verdict := f.sweep(env, suite.Specs(runs))
	summary, err := table.Summary(records).WithMetrics(f.metrics)
	if err != nil {
		return usage(err)
	}
	a := answer{tables: []table.Table{summary}}
	if len(records) > 0 {
		if n := written(f.out, records); n > 0 && !f.quiet {
			fmt.Fprintf(env.Stderr, "records: %d in %s\n", n, f.out)
		}
		if a.plots, err = draw(env, records, filepath.Join(f.out, "plots"), f.quiet); err != nil {
			verdict = withoutPlots(verdict, err, len(records), f.out)
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

// written counts the records that lie in a folder: a disk may have been full.
func written(dir string, records []results.Record) (count int) {
	for _, r := range records {
		if _, err := os.Stat(results.Path(dir, r.ID)); err == nil {
			count++
		}
	}
	return count
}

// preflight finds what would stop runs before the first one starts, and sorts the errors by exit code.
func preflight(h suite.Host, runs []*suite.Run, out, dataDir, init string) error {
	err := suite.Preflight(h, runs, out, dataDir, init)
	var folder *suite.OutError
	var newer *results.NewerSchemaError
	switch {
	case errors.As(err, &folder) && !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, fs.ErrExist):
		return unwritten(err)
	case errors.As(err, &newer):
		return newer
	}
	return usage(err)
}

// sweep runs the specs; a first signal lets them save their state, a second ends
// everything at once.
func (f *runFlags) sweep(env Env, specs []results.Spec) ([]results.Record, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, stop := interrupts(env, "the runs save their state")
	defer stop()
	p := newProgress(env, len(specs), f.quiet, f.jobs > 1)
	records, err := suite.Sweep(ctx, specs, suite.SweepOptions{
		Command: []string{self, "execute"}, Out: f.out, DataDir: f.dataDir, Resume: f.resume,
		FailFast: f.failFast, Jobs: f.jobs, JobOptions: f.JobOptions, Now: env.Now, On: p.on, Stderr: p,
	})
	p.finish()
	return records, f.verdict(ctx, records, len(specs), err)
}

// verdict turns the end of a sweep into an error for the exit code.
func (f *runFlags) verdict(ctx context.Context, records []results.Record, total int, err error) error {
	done := 0
	for _, r := range records {
		if r.Status == results.StatusDone {
			done++
		}
	}
	switch {
	case ctx.Err() != nil:
		again := "the same command with --resume goes on"
		if f.resume {
			again = "the same command goes on"
		}
		return &interruptedError{fmt.Sprintf("%d of %d runs are done, what the others had is saved", done, total), again}
	case len(records) > done:
		failed := &sweepError{failed: len(records) - done, total: total}
		var file *atomicfile.Error
		if errors.As(err, &file) { // or else, with --fail-fast, it says no more
			failed.cause = err
		} else {
			failed.cause = unrecorded(f.out, records)
		}
		return failed
	case err != nil:
		return &sweepError{total: total, cause: err}
	}
	return nil
}

// unrecorded is why the first run failed whose record does not say it, because that of an earlier run is kept; nil if all do.
func unrecorded(dir string, records []results.Record) error {
	for _, r := range records {
		if r.Status == results.StatusDone {
			continue
		}
		if on, err := results.Read(results.Path(dir, r.ID)); err != nil || on.Attempt != r.Attempt {
			return fmt.Errorf("%s: %s", r.ID, r.Error)
		}
	}
	return nil
}

// interrupts returns a context that the first SIGINT, SIGTERM or SIGHUP cancels, saying what comes then. The
// second ends the process at once; the kernel ends the runs with it.
func interrupts(env Env, then string) (context.Context, func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup asks for
		signal.Notify(signals, syscall.SIGHUP)
	}
	ctx, cancel := watch(signals, func() {
		fmt.Fprintln(env.Stderr, "benchctl: interrupted: "+then+"; press again to stop at once")
	}, func() { os.Exit(int(exitInterrupted)) })
	return ctx, func() {
		signal.Stop(signals)
		cancel()
	}
}

// watch cancels at the first signal and kills at the second.
func watch(signals <-chan os.Signal, say, kill func()) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			select {
			case <-done:
				return
			case <-signals:
			}
			if !first {
				kill()
				return
			}
			say()
			cancel()
		}
	}()
	return ctx, func() {
		close(done)
		cancel()
	}
}

// draw writes the plots. A figure that the records have nothing for is left out.
func draw(env Env, records []results.Record, dir string, quiet bool) ([]string, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, unwritten(fmt.Errorf("plots: %w", err))
	}
	_, _ = atomicfile.RemoveAbandoned(dir) // what processes left that were killed; the plots do not need it
	var files []string
	for _, f := range figure.All(records) {
		saved, err := figure.Save(f.Figure, filepath.Join(dir, f.Name))
		if err != nil {
			return files, unwritten(fmt.Errorf("plots: %w", err))
		}
		files = append(files, saved...)
	}
	if len(files) > 0 && !quiet {
		fmt.Fprintf(env.Stderr, "plots: %d files in %s\n", len(files), dir)
	}
	return files, nil
}

// dryRun is the table of what would be run.
func dryRun(specs []results.Spec) table.Table {
	t := table.Table{ID: "runs", Title: english.Plural(len(specs), "run", ""), Columns: append(table.SpecColumns(),
		table.NumberColumn("seed", "seed"), table.NumberColumn("epochs", "epochs"), table.TextColumn("id", "id"))}
	for _, s := range specs {
		t.Rows = append(t.Rows, append(specCells(s),
			table.Number(float64(s.Seed), fmt.Sprint(s.Seed)), table.Number(float64(s.Epochs), fmt.Sprint(s.Epochs)), table.Text(results.SpecID(s))))
	}
	return t
}

// specCells are the cells of table.SpecColumns.
func specCells(s results.Spec) []table.Cell { return table.SpecCells(s, int64(suite.ModuleCount(s))) }

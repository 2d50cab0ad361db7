package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/launch"
	"github.com/localbench/localbench/reports/gate"
	"github.com/localbench/localbench/reports/reproduce"
	"github.com/localbench/localbench/results/published"
	"github.com/localbench/localbench/suite"
)

// reproduceFlags are those of `reproduce`.
type reproduceFlags struct {
	table, scale, quirks, published string
	output                          *output
	runner                          suite.Runner
	runs                            suite.Reproduction
	methods, networks               []string // of the cells; empty: all
	noRun, quiet                    bool
	*placeFlags
	*launchFlags
}

func reproduceCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "reproduce",
		Short: "reproduce a paper's table: run missing cells, print published and measured values",
		Long: "reproduce contains published results with their sources and settings. It runs the cells\n" +
			"without a record and gives each cell a verdict. Accuracies are judged at full scale\n" +
			"only; at reduced scale the order of methods is. Memory is that of the eager model in\n" +
			"f32: it needs no run and no device, whatever the flags for these say. A cell that is not\n" +
			"reproduced, or an order of methods that is another one than in the paper, ends with exit\n" +
			"code 1. Some values could not be verified: --published takes a file in the format of\n" +
			"results/published/published.json with values from the paper. With --launcher the missing\n" +
			"cells are submitted; the same command judges them when they are done.",
		Example: "  benchctl reproduce --table memory --quirks paper\n" +
			"  benchctl reproduce --table cifar10 --scale smoke --data-dir data",
		Args: noArguments,
	}
	f := &reproduceFlags{scale: string(published.ScaleSmoke), quirks: suite.QuirksNone,
		runs: suite.Reproduction{Request: suite.Defaults()}, runner: env.runner(filepath.Join("results", "reproductions"))}
	f.runner.Resume = true
	flags := c.Flags()
	flags.SortFlags = false
	cli.Define(flags, "table", "name", "",
		"cifar10, infopro-cifar10, svhn, stl10, imagenet, memory, or ablation: its parts are ablation-selection, -pyramid and "+
			"-depth", cli.Word(&f.table))
	cli.Define(flags, "methods", "names", "", "only cells of these methods, comma separated", cli.Words(&f.methods))
	cli.Define(flags, "networks", "names", "", "only cells of these networks, comma separated", cli.Words(&f.networks))
	cli.Define(flags, "scale", "name", f.scale,
		"full: the paper's epochs; reduced: a tenth; smoke: one epoch of 2048 samples", cli.Word(&f.scale))
	cli.Define(flags, "seeds", cli.CountOrList, "1",
		"3: the seeds 1 to 3; 1,2,5: these seeds", cli.Seeds(&f.runs.Request.Seeds, maxSeeds))
	cli.Define(flags, "quirks", "name", f.quirks,
		"paper (paper compatibility mode): as the published programs: the best epoch on the test set, stl10 with 100 classes, "+
			"memory with the search for algorithms, and the effects of run --quirks; none: sound evaluation, the last epoch or that of "+
			"--val-fraction", cli.Word(&f.quirks))
	cli.Define(flags, "val-fraction", "fraction", "0",
		"fraction of the training set held out to choose the epoch", cli.One(&f.runs.Request.ValFraction, cli.Real))
	cli.Define(flags, "published", "file", "",
		"values from papers for the cells without one, in the format of results/published/published.json", cli.Word(&f.published))
	cli.Define(flags, "data-dir", "folder", f.runner.DataDir,
		"folder of the data sets; $BENCHCTL_DATA sets the default", cli.Word(&f.runner.DataDir))
	cli.Define(flags, "out", "folder", f.runner.Out, "folder for the records", cli.Word(&f.runner.Out))
	addDevice(flags, &f.runs.Request)
	addStorage(flags, &f.runs.Request)
	f.output = addOutput(flags)
	flags.BoolVar(&f.noRun, "no-run", false, "run nothing, judge the existing records")
	flags.BoolVar(&f.quiet, "quiet", false, "no progress on standard error")
	f.placeFlags, f.launchFlags = addPlaces(flags, &f.runner), addLaunch(flags)
	c.RunE = func(*cobra.Command, []string) error { return f.run(env) }
	return c
}

// checkMemory returns an error if a flag for how runs train has no effect, because all cells are of memory.
func (f *reproduceFlags) checkMemory(cells []published.Cell) error {
	if slices.ContainsFunc(cells, published.Cell.Accuracy) {
		return nil
	}
	r, d := f.runs.Request, suite.Defaults()
	for _, c := range []struct{ flag, value, none string }{
		{"store", r.Store, graph.StoreF32.String()}, {"fuse-norm", r.FuseNorm, suite.FuseNone},
		{"precision", r.Precision, d.Precision}, {"backend", r.Backend, d.Backend},
		{"device", strconv.Itoa(r.Device), strconv.Itoa(d.Device)}} {
		if c.value != "" && c.value != c.none {
			return fmt.Errorf("--%s %s has no effect on these cells: their memory is that of an eager framework in f32, which is "+
				"predicted without a device", c.flag, c.value)
		}
	}
	return nil
}

func (f *reproduceFlags) run(env Env) error {
	if err := f.output.open(); err != nil {
		return err
	}
	if err := f.Check(); err != nil {
		return usage(err)
	}
	cells, err := published.Select(f.published, f.table, f.methods, f.networks)
	if err != nil {
		return usage(err)
	}
	if err := f.checkMemory(cells); err != nil {
		return usage(err)
	}
	f.runs.Request.Quirks, f.runs.Scale = f.quirks, published.Scale(f.scale)
	if err := f.runs.Check(); err != nil {
		return usage(err)
	}
	all := reproduce.Cells(cells, f.runs.Specs)
	if missing := reproduce.Missing(all, f.runner.Record); len(missing) > 0 && !f.noRun {
		built, err := suite.BuildAll(missing)
		if err == nil {
			err = f.runner.Preflight(env.host(), built)
		}
		if err != nil {
			return usage(err)
		}
		if f.Launcher != launch.Local {
			return f.start(env, f.runner, built, f.output)
		}
		if err := f.place(&f.runner, missing); err != nil {
			return err
		}
		f.limit(&f.runner)
		if _, err = sweepUntilInterrupted(env, f.runner, missing, f.quiet); err != nil {
			return err
		}
	}
	settings := reproduce.Settings{Table: f.table, Scale: f.runs.Scale, Paper: f.quirks == suite.QuirksPaper,
		ValFraction: f.runs.Request.ValFraction}
	if err := settings.Fill(all, f.runner.Record, f.runs.Memories()); err != nil {
		return usage(err)
	}
	tables, failed := settings.Report(all)
	var verdict error
	if failed != "" {
		verdict = &gate.FailedError{Text: "reproduce: " + failed}
	}
	if err := env.emit(f.output, answer{tables: tables}, verdict); err != nil {
		return err
	}
	return verdict
}

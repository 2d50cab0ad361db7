package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/gate"
	"github.com/localbench/localbench/reports/reproduce"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/published"
	"github.com/localbench/localbench/suite"
)

// reproduceFlags are those of `reproduce`.
type reproduceFlags struct {
	table, scale, quirks, published string
	output                          *output
	runner                          suite.Runner
	request                         suite.Request // seeds, what is held out, and what computes
	methods, networks               []string      // of the cells; empty: all
	noRun, quiet                    bool
}

func reproduceCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "reproduce",
		Short: "reproduce a paper's table: run missing cells, print published and measured values",
		Long: "reproduce contains published results with their sources and settings. It runs the cells\n" +
			"without a record and gives each cell a verdict. Accuracies are judged at full scale\n" +
			"only; at reduced scale the order of methods is. Memory is that of the eager model, and\n" +
			"needs no run. A cell that is not reproduced, or an order of methods that is another one\n" +
			"than in the paper, ends with exit code 1. Some values could not be verified: --published\n" +
			"takes a file in the format of results/published/published.json with values from the paper.",
		Example: "  benchctl reproduce --table memory --quirks paper\n  benchctl reproduce --table cifar10 --scale smoke --data-dir data",
		Args:    noArguments,
	}
	f := &reproduceFlags{scale: string(published.ScaleSmoke), quirks: suite.QuirksNone, request: suite.Defaults(),
		runner: env.runner(filepath.Join("results", "reproductions"))}
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
		"3: the seeds 1 to 3; 1,2,5: these seeds", cli.Seeds(&f.request.Seeds, maxSeeds))
	cli.Define(flags, "quirks", "name", f.quirks,
		"paper (paper compatibility mode): as the published programs: the best epoch on the test set, stl10 with 100 classes, "+
			"memory with the search for algorithms, and the effects of run --quirks; none: sound evaluation, the last epoch or that of "+
			"--val-fraction", cli.Word(&f.quirks))
	cli.Define(flags, "val-fraction", "fraction", "0",
		"fraction of the training set held out to choose the epoch", cli.One(&f.request.ValFraction, cli.Real))
	cli.Define(flags, "published", "file", "",
		"values from papers for the cells without one, in the format of results/published/published.json", cli.Word(&f.published))
	cli.Define(flags, "data-dir", "folder", f.runner.DataDir,
		"folder of the data sets; $BENCHCTL_DATA sets the default", cli.Word(&f.runner.DataDir))
	cli.Define(flags, "out", "folder", f.runner.Out, "folder for the records", cli.Word(&f.runner.Out))
	addDevice(flags, &f.request)
	f.output = addOutput(flags)
	flags.BoolVar(&f.noRun, "no-run", false, "run nothing, judge the existing records")
	flags.BoolVar(&f.quiet, "quiet", false, "no progress on standard error")
	c.RunE = func(*cobra.Command, []string) error { return f.run(env) }
	return c
}

func (f *reproduceFlags) run(env Env) error {
	if err := f.output.open(); err != nil {
		return err
	}
	cells, err := f.cells()
	if err != nil {
		return usage(err)
	}
	if err := f.check(); err != nil {
		return usage(err)
	}
	runs := suite.Reproduction{Scale: published.Scale(f.scale), Request: f.request}
	all := make([]reproduce.Cell, len(cells))
	var missing []results.Spec
	asked := map[string]bool{} // several cells are of one run
	for i, c := range cells {
		all[i].Cell = c
		if all[i].Specs, err = runs.Specs(c); err != nil {
			all[i].Why = printable.Line(err.Error())
		}
		for _, s := range all[i].Specs {
			id := results.SpecID(s)
			if _, ok := f.runner.Record(s); !ok && c.Accuracy() && !asked[id] {
				missing, asked[id] = append(missing, s), true
			}
		}
	}
	if err := f.runMissing(env, missing); err != nil {
		return err
	}
	settings := reproduce.Settings{Table: f.table, Scale: runs.Scale, Paper: f.quirks == suite.QuirksPaper, ValFraction: f.request.ValFraction}
	known := map[string]float64{}
	for i, c := range cells {
		switch {
		case c.Accuracy():
			settings.Measure(&all[i], f.runner.Record)
		case all[i].Why == "":
			own, err := runs.Memory(c, known)
			if err != nil {
				return usage(err)
			}
			all[i].SetMemory(own)
		}
	}
	t, failed := settings.Judge(all)
	var verdict error
	if failed > 0 {
		verdict = &gate.FailedError{Text: fmt.Sprintf("reproduce: %d of %d cells of %s do not hold", failed, len(all), f.table)}
	}
	tables := []table.Table{t}
	if runs.Scale == published.ScaleReduced {
		order, reversed := reproduce.Order(all)
		tables = append(tables, order)
		if reversed > 0 && verdict == nil {
			verdict = &gate.FailedError{Text: fmt.Sprintf("reproduce: %d of %d pairs of methods are in another order than in the paper",
				reversed, len(order.Rows))}
		}
	}
	if err := env.emit(f.output, answer{tables: tables}, verdict); err != nil {
		return err
	}
	return verdict
}

// cells are those of the table, with what a person has filled in.
func (f *reproduceFlags) cells() ([]published.Cell, error) {
	cells, err := published.All()
	if err == nil && f.published != "" {
		cells, err = published.Fill(cells, f.published)
	}
	if err != nil {
		return nil, err
	}
	if cells, err = published.Table(cells, f.table); err != nil {
		return nil, err
	}
	all := len(cells)
	cells = slices.DeleteFunc(cells, func(c published.Cell) bool {
		return len(f.methods) > 0 && !slices.Contains(f.methods, c.Method) || len(f.networks) > 0 && !slices.Contains(f.networks, c.Network)
	})
	if len(cells) == 0 {
		return nil, fmt.Errorf("--table: none of the %d cells of %s has the methods %s and networks %s", all, f.table, cmp.Or(strings.Join(f.methods, ","), "any"), cmp.Or(strings.Join(f.networks, ","), "any"))
	}
	return cells, nil
}

func (f *reproduceFlags) check() error {
	all := []published.Scale{published.ScaleFull, published.ScaleReduced, published.ScaleSmoke}
	if scale := published.Scale(f.scale); !slices.Contains(all, scale) {
		return fmt.Errorf("--scale %q: must be %s, %s or %s", scale, all[0], all[1], all[2])
	}
	f.request.Quirks = f.quirks
	if f.quirks == suite.QuirksPaper && f.request.ValFraction > 0 {
		return fmt.Errorf("--val-fraction %g and --quirks paper can't be combined: the published programs hold no samples out", f.request.ValFraction)
	}
	_, err := f.request.Expand()
	return err
}

func (f *reproduceFlags) runMissing(env Env, missing []results.Spec) error {
	if f.noRun || len(missing) == 0 {
		return nil
	}
	built, err := suite.BuildAll(missing)
	if err == nil {
		err = f.runner.Preflight(env.host(), built)
	}
	if err != nil {
		return usage(err)
	}
	_, err = sweepUntilInterrupted(env, f.runner, missing, f.quiet)
	return err
}

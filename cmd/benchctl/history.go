package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/reports/history"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/baseline"
)

// historyFlags are those of `history`.
type historyFlags struct {
	baseline, since, plots string
	output                 *output
	metrics                []string
}

func historyCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "history [PATH ...] | history --baseline NAME",
		Short: "metrics over commits, and the commits at which they changed",
		Long: "history follows a baseline through the commits that changed it, or records through the\n" +
			"commits of the programs that made them, in the order of git's history. Exact metrics,\n" +
			"such as planned memory, changed where they differ; step time, process peak and accuracy\n" +
			"where a rank test is significant, corrected for the number of series. Without paths it is the\n" +
			"history of the baseline memory.",
		Example: "  benchctl history\n  benchctl history results/runs results/older --metrics step_time --plots plots",
	}
	f := &historyFlags{}
	flags := c.Flags()
	flags.SortFlags = false
	cli.Define(flags, "baseline", "name", "",
		"a file under version control, or a name below results/baselines", cli.Word(&f.baseline))
	cli.Define(flags, "since", "revision", "", "show only changes in commits that this one does not contain", cli.Word(&f.since))
	cli.Define(flags, "metrics", "names", "", "follow only these: "+strings.Join(compare.Metrics(), ", "), cli.Words(&f.metrics))
	cli.Define(flags, "plots", "folder", "",
		"draw each metric that changed over the commits, as PNG, SVG and PDF", cli.Word(&f.plots))
	f.output = addOutput(flags)
	c.RunE = func(_ *cobra.Command, args []string) error { return f.run(env, args) }
	return c
}

func (f *historyFlags) run(env Env, paths []string) error {
	err := f.output.open()
	if err != nil {
		return err
	}
	if err := compare.CheckMetrics(f.metrics); err != nil {
		return usage(err)
	}
	if f.baseline != "" && len(paths) > 0 {
		return usage(errors.New("paths and --baseline can't be combined: --baseline reads the history of one file from git"))
	}
	var revisions []compare.Revision
	order := history.GitOrder
	say := func(line string) { warn(env.Stderr, line) }
	if len(paths) > 0 {
		records, err := readAll(env, paths, results.Slim)
		if err != nil {
			return err
		}
		since, err := history.Since("", f.since)
		if err != nil {
			return usage(err)
		}
		revisions, order = history.OfRecords(records, since, say)
	} else {
		path := baseline.Path(cmp.Or(f.baseline, baseline.Planned))
		since, err := history.Since(filepath.Dir(path), f.since)
		if err != nil {
			return usage(err)
		}
		if revisions, err = history.OfBaseline(path, since, say); err != nil {
			return &baseline.NoneError{Text: err.Error()}
		}
	}
	h := history.New(revisions, order, f.metrics...)
	if h.Empty() {
		return &baseline.NoneError{Text: fmt.Sprintf("history: no two of the %d commits have a measurement in common", len(revisions))}
	}
	a := answer{tables: []table.Table{h.Table()}}
	if f.plots != "" {
		if a.plots, err = h.Draw(f.plots); err != nil {
			return usage(fmt.Errorf("plots: %w", err))
		}
	}
	return env.emit(f.output, a, nil)
}

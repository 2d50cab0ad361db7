package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/plans"
	"github.com/localbench/localbench/reports/page"
	"github.com/localbench/localbench/reports/publish"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// reportFlags are those of `report`.
type reportFlags struct {
	output                     *output
	plots, html, title, policy string
	metrics, times             []string
	results                    string
	quiet                      bool
}

func reportCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "report [PATH...]",
		Short: "make tables, plots and an HTML page from records",
		Long: "report reads records (folders, files or collections; results/runs if none is named)\n" +
			"and prints their table: mean and standard deviation over seeds, relative to bp, the\n" +
			"best marked. It draws the plots and writes a page of one file on request. Damaged\n" +
			"records are listed and skipped.",
		Example: "  benchctl report results/runs --html report.html\n  benchctl report a/runs b/runs --format latex --plots plots",
	}
	f := &reportFlags{title: "Training methods side by side", policy: plans.PolicyPlanned}
	flags := c.Flags()
	flags.SortFlags = false
	f.output = addOutput(flags, "summary", "eager")
	cli.Define(flags, "plots", "folder", "", "folder for the plots, as PNG, SVG and PDF", cli.Word(&f.plots))
	cli.Define(flags, "html", "file", "", "write tables and plots as one self-contained page", cli.Word(&f.html))
	cli.Define(flags, "results", "file", "",
		"write a page of results in Markdown there, with links to the records, and its plots beside it in images/results",
		cli.Word(&f.results))
	cli.Define(flags, "times", "paths", "",
		"with --results: records with the step times, comma separated, if other runs were timed", cli.Words(&f.times))
	cli.Define(flags, "title", "text", "Training methods side by side", "title of the page", cli.Word(&f.title))
	cli.Define(flags, "policy", "name", f.policy,
		"planned: our arena; eager: also the predicted memory of an eager framework", cli.Word(&f.policy))
	cli.Define(flags, "metrics", "names", "",
		"measured columns of the table, comma separated: "+strings.Join(table.Metrics(), ", "), metricNames(&f.metrics))
	flags.BoolVar(&f.quiet, "quiet", false, "print only errors on standard error")
	c.RunE = func(_ *cobra.Command, args []string) error { return f.run(env, args) }
	return c
}

func (f *reportFlags) run(env Env, paths []string) error {
	if err := f.output.open(); err != nil {
		return err
	}
	if err := plans.CheckPolicy(f.policy); err != nil {
		return usage(err)
	}
	if len(paths) == 0 {
		paths = []string{filepath.Join("results", "runs")}
	}
	details := results.Totals
	if f.plots != "" || f.html != "" {
		details = results.Slim
	}
	records, err := readAll(env, paths, details)
	if err != nil {
		return err
	}
	summary, err := table.Summary(records).WithMetrics(f.metrics)
	if err != nil {
		return usage(err)
	}
	a := answer{tables: []table.Table{summary}}
	if f.policy == plans.PolicyEager {
		a.tables = append(a.tables, table.Eager(records))
	}
	if f.plots != "" {
		if a.plots, err = draw(env, records, f.plots, f.quiet); err != nil {
			return usage(err)
		}
	}
	if f.html != "" {
		report, err := page.Of(records, page.Options{Title: f.title, Paths: paths, Eager: f.policy == plans.PolicyEager})
		if err != nil {
			return err
		}
		if err := atomicfile.WriteThrough(f.html, 0o666, func(w io.Writer) error { return page.Write(w, report) }); err != nil {
			return usage(fmt.Errorf("html: %w", err))
		}
		a.plots = append(a.plots, f.html)
		if !f.quiet {
			fmt.Fprintln(env.Stderr, "page: "+f.html)
		}
	}
	if f.results != "" {
		files, err := f.publish(env, paths)
		if err != nil {
			return err
		}
		a.plots = append(a.plots, files...)
	}
	return env.emit(f.output, a, nil)
}

// publish writes the page of results and its plots, and returns their files.
func (f *reportFlags) publish(env Env, paths []string) (files []string, err error) {
	p := publish.Page{Images: "images/results", InDocs: true}
	for _, linked := range []string{"measurement.md", "frontier.md"} {
		if _, err := os.Stat(filepath.Join(filepath.Dir(f.results), linked)); err != nil {
			p.InDocs = false
		}
	}
	for _, part := range []struct {
		sources *[]publish.Source
		paths   []string
	}{{&p.Trained, paths}, {&p.Timed, f.times}} {
		var skipped []results.Warning
		if *part.sources, skipped, err = publish.Sources(f.results, part.paths); err != nil {
			return nil, usage(err)
		}
		for _, w := range skipped {
			warn(env.Stderr, w.String())
		}
	}
	files, err = p.Save(f.results)
	if err != nil {
		return nil, fmt.Errorf("results: %w", err)
	}
	return files, nil
}

// readAll reads the records of all paths and warns of those that are skipped. details removes what is not needed of each.
func readAll(env Env, paths []string, details func(*results.Record)) ([]results.Record, error) {
	records, skipped, err := results.ReadAll(paths, details)
	for _, w := range skipped {
		warn(env.Stderr, w.String())
	}
	var newer *results.NewerSchemaError
	if errors.As(err, &newer) {
		return nil, newer
	}
	return records, usage(err)
}

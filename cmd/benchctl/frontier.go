package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/frontier"
	"github.com/localbench/localbench/results"
)

func frontierCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "frontier [PATH...]",
		Short: "which ways of training no other one beats in memory, time and accuracy",
		Long: "frontier reads records (folders, files or collections; results/runs if none is named)\n" +
			"and prints, for each network, data set and number of epochs, the memory, the step time\n" +
			"and the accuracy of every way of training, and whether another one beats it. Runs whose\n" +
			"results have the same bits, such as bp and checkpoint, share one accuracy.",
		Example: "  benchctl frontier results/runs --plots plots\n  benchctl frontier results/runs --times results/times",
	}
	var times []string
	var plots string
	flags := c.Flags()
	flags.SortFlags = false
	o := addOutput(flags, "frontier")
	cli.Define(flags, "times", "paths", "", "records with the step times, comma separated, if other runs were timed than those "+
		"that were trained to the end", cli.Words(&times))
	cli.Define(flags, "plots", "folder", "", "folder for the plots, as PNG, SVG and PDF", cli.Word(&plots))
	c.RunE = func(_ *cobra.Command, args []string) error {
		if err := o.open(); err != nil {
			return err
		}
		if len(args) == 0 {
			args = []string{filepath.Join("results", "runs")}
		}
		records, err := readAll(env, args, results.Totals)
		if err != nil {
			return err
		}
		var timed []results.Record
		if len(times) > 0 {
			if timed, err = readAll(env, times, results.Totals); err != nil {
				return err
			}
		}
		var a answer
		tasks := frontier.Of(records, timed)
		for _, task := range tasks {
			a.tables = append(a.tables, task.Table())
		}
		if plots != "" {
			if a.plots, err = figure.SaveFrontiers(tasks, plots); err != nil {
				return fmt.Errorf("plots: %w", err)
			}
		}
		if len(a.tables) == 0 {
			return usage(fmt.Errorf("frontier: none of the %d records is of a finished run with a step arena and a test accuracy",
				len(records)))
		}
		return env.emit(o, a, nil)
	}
	return c
}

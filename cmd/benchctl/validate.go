package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/plans"
)

func validateCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "validate FILE.csv --networks FOLDER",
		Short: "compare predictions for PyTorch with measured training peaks",
		Long: "validate predicts the peak of each measured run in a CSV file, as `plan --policy eager` does for\n" +
			"the exported network FOLDER/NETWORK_SIDE.pt2, and prints the errors beside those of other\n" +
			"predictors in the file. docs/validation.md lists the columns and what is modelled.",
		Example: "  benchctl validate measured.csv --networks networks\n" +
			"  benchctl validate measured.csv --networks networks --fit-on ResNet152 --format markdown",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(fmt.Errorf("validate with %d arguments: must be one CSV file of measured runs", len(args)))
			}
			return nil
		},
	}
	o := plans.Validation{Usable: 0.9}
	c.Flags().SortFlags = false
	cli.Define(c.Flags(), "networks", "folder", "", "folder of the exported networks, NETWORK_SIDE.pt2 each", cli.Word(&o.Networks))
	cli.Define(c.Flags(), "fit-on", "network", "",
		"fit the memory outside of the allocator, a constant, on the runs of this network, and report the errors of the others",
		cli.Word(&o.FitOn))
	cli.Define(c.Flags(), "usable", "fraction", "0.9",
		"part of a GPU's memory that the allocator can get; the rest is of the driver, CUDA's context, libraries and other programs",
		cli.One(&o.Usable, cli.Within(0.01, 1, "from 0.01 to 1")))
	cli.Define(c.Flags(), "median-limit", "percentage", "", "exit code 1 if the median error is larger than this, such as 3.6",
		cli.One(&o.MedianLimit, cli.Within(0.001, 100, "from 0.001 to 100")))
	out := addOutput(c.Flags(), "summary", "cells")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.open(); err != nil {
			return err
		}
		o.File = args[0]
		a, err := o.Run()
		if err != nil {
			return usage(err)
		}
		if err := env.emit(out, answerOf(a), a.Verdict); err != nil {
			return err
		}
		return a.Verdict
	}
	return c
}

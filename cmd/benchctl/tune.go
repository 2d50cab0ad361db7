package main

import (
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/plans"
	"github.com/localbench/localbench/reports/table"
)

func tuneCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "tune",
		Short: "time the convolution engines of this GPU and store the fastest in the tuning cache",
		Long: "tune times the engines that cuDNN proposes for each convolution of the training step of\n" +
			"every run, the best guesses first and for about a second, and our own kernel if there is\n" +
			"one. Of those within 3 % of the fastest the tuning cache stores the one with the smallest\n" +
			"workspace, so that the memory of a step is known before it runs, on a machine without\n" +
			"that GPU too. The cache is written after each convolution. Existing entries are kept. All\n" +
			"commands use the tuning cache in $BENCHCTL_PLAN_BOOK, or else the built-in one.",
		Example: "  benchctl tune --backend cuda --methods bp,auglocal --networks resnet32,resnet110 --batch 1024",
		Args:    noArguments,
	}
	s := addShared(c)
	path := filepath.Join("results", "planbook", "book.json")
	cli.Define(c.Flags(), "book", "file", path, "the tuning cache", cli.Word(&path))
	limit := time.Duration(0)
	c.Flags().DurationVar(&limit, "time-limit", 0, "begin no other convolution after this time, such as 2m (0: no limit)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		request, format, err := s.expand(c)
		if err != nil {
			return err
		}
		runs, err := request.Build()
		if err != nil {
			return usage(err)
		}
		t, err := plans.Tune(env.host(), runs, path, limit)
		if err != nil {
			return usage(err)
		}
		return env.emit(format, answer{tables: []table.Table{t}}, nil)
	}
	return c
}

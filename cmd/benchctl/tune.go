package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/plans"
	"github.com/localbench/localbench/reports/table"
)

func tuneCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "tune",
		Short: "time the convolution engines of this GPU and store the fastest in the tuning cache",
		Long: "tune prepares the training step of every run and times the engines that cuDNN proposes\n" +
			"for each of its convolutions, the best guesses first and for about three seconds, and\n" +
			"our own kernel if there is one. The tuning cache stores the fastest with its workspace,\n" +
			"so that the memory of a step is known before it runs, on a machine without that GPU\n" +
			"too. Existing entries are kept. All commands use the tuning cache in $BENCHCTL_PLAN_BOOK,\n" +
			"or else the built-in one.",
		Example: "  benchctl tune --backend cuda --methods bp,auglocal --networks resnet32,resnet110 --batch 1024",
		Args:    noArguments,
	}
	s := addShared(c)
	path := filepath.Join("results", "planbook", "book.json")
	cli.Define(c.Flags(), "book", "file", path, "the tuning cache", cli.Word(&path))
	c.RunE = func(c *cobra.Command, _ []string) error {
		request, format, err := s.expand(c)
		if err != nil {
			return err
		}
		runs, err := request.Build()
		if err != nil {
			return usage(err)
		}
		t, err := plans.Tune(env.host(), runs, path)
		if err != nil {
			return usage(err)
		}
		return env.emit(format, answer{tables: []table.Table{t}}, nil)
	}
	return c
}

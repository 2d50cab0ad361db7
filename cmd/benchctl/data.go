package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/progress"
	"github.com/localbench/localbench/reports/catalog"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/datasets"
)

func dataCommand(env Env) *cobra.Command {
	c := &cobra.Command{Use: "data", Short: "list, download and verify data sets", Args: noArguments}
	c.RunE = func(*cobra.Command, []string) error {
		return &usageError{errors.New("data: needs a command: list, pull or verify"), "benchctl data --help describes them"}
	}
	c.AddCommand(dataListCommand(env), dataPullCommand(env), dataVerifyCommand(env))
	return c
}

func dataListCommand(env Env) *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "every data set with its size, licence and origin", Args: noArguments}
	out := addOutput(c.Flags())
	c.RunE = func(*cobra.Command, []string) error {
		if err := out.open(); err != nil {
			return err
		}
		return env.emit(out, answer{tables: []table.Table{catalog.Datasets()}}, nil)
	}
	return c
}

// dataPullCommand fetches sets from where their authors publish them.
func dataPullCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "pull NAME...",
		Short:   "download data sets, check them and unpack them",
		Example: "  benchctl data pull cifar10 --data-dir data",
	}
	dir := env.dataDir()
	cli.Define(c.Flags(), "data-dir", "folder", dir, "folder for the data sets; $BENCHCTL_DATA sets the default", cli.Word(&dir))
	c.RunE = func(_ *cobra.Command, names []string) error {
		if len(names) == 0 {
			return usage(errors.New("data pull: needs one or more data sets; benchctl data list lists them"))
		}
		ctx, stop := interrupts(env, "the download ends")
		defer stop()
		for _, name := range names {
			entry, err := datasets.Find(name)
			if err != nil {
				return usage(err)
			}
			line, err := entry.Provide(dir, func() error { return pull(ctx, env, entry, dir) })
			if ctx.Err() != nil {
				return &suite.InterruptedError{Left: name + " is unchanged",
					Next: "run the command again: it continues where the download stopped"}
			}
			if err != nil {
				return usage(err)
			}
			fmt.Fprintln(env.Stdout, line)
		}
		return nil
	}
	return c
}

// pull fetches a set, with a bar on a terminal.
func pull(ctx context.Context, env Env, entry datasets.Entry, dir string) error {
	if entry.Archive == nil || !env.IsTTY {
		return entry.Pull(ctx, dir, nil)
	}
	bar := progress.NewBar(env.screen(), entry.Archive.Bytes(),
		progressbar.OptionShowBytes(true), progressbar.OptionSetDescription(entry.Name))
	defer func() { _ = bar.Clear() }()
	return entry.Pull(ctx, dir, func(received int64) { _ = bar.Set64(received) })
}

// dataVerifyCommand reads whole sets, which checks every size and every label.
func dataVerifyCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "verify [NAME...]",
		Short:   "read data sets to the end and check sizes and labels",
		Example: "  benchctl data verify cifar10 --data-dir data",
	}
	dir := env.dataDir()
	var flag []string
	cli.Define(c.Flags(), "datasets", "names", "",
		"data sets, comma separated (default: those whose folder exists)", cli.Words(&flag))
	cli.Define(c.Flags(), "data-dir", "folder", dir, "folder of the data sets; $BENCHCTL_DATA sets the default", cli.Word(&dir))
	c.RunE = func(_ *cobra.Command, names []string) error {
		ctx, stop := interrupts(env, "reading ends")
		defer stop()
		if names = append(names, flag...); len(names) == 0 {
			names = datasets.Present(dir)
		}
		var faults []error
		for _, name := range names {
			line, err := datasets.Verify(ctx, name, dir)
			if ctx.Err() != nil {
				return &suite.InterruptedError{Left: name + " was not read to the end"}
			}
			if err != nil {
				faults = append(faults, err)
				continue
			}
			if _, err := fmt.Fprintln(env.Stdout, line); err != nil {
				return err
			}
		}
		return usage(errors.Join(faults...))
	}
	return c
}

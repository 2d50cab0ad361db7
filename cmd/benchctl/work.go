package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/progress"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/sweepdir"
)

func workCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "work FOLDER",
		Short: "run cells of a sweep that was written by run --launcher",
		Long: "work runs one cell of a sweep (--cell), or every cell that waits, one after the other.\n" +
			"Several processes, on several machines, may work on one folder: each cell is run by\n" +
			"one of them. A process that is told to stop (SIGTERM) saves the state of its cell, and\n" +
			"the next one goes on from there. Schedulers start this command; so can you.",
		Example: "  benchctl work results/runs\n  benchctl work results/runs --cell 3",
		Args:    cobra.ExactArgs(1),
	}
	flags := c.Flags()
	flags.SortFlags = false
	w := suite.Worker{Runner: env.runner(""), Job: env.slurmTask()}
	var manifest string
	cell, quiet := -1, false
	cli.Define(flags, "manifest", "name", "", "file of the sweep in FOLDER/sweep, if it has several", cli.Word(&manifest))
	cli.Define(flags, "cell", "number", "", "only this cell, from 0", cli.One(&cell, cli.Number(0, math.MaxInt32)))
	flags.BoolVar(&w.RetryFailed, "retry-failed", false, "run cells again that failed")
	flags.DurationVar(&w.TimeLimit, "limit-time", 0, "stop a cell that takes longer, such as 90m or 4h; its state is kept")
	cli.Define(flags, "limit-memory", "size", "",
		"stop a cell whose process has more memory; it is recorded as out of memory", cli.One(&w.MemoryLimit, cli.Size))
	flags.BoolVar(&quiet, "quiet", false, "no progress on standard error")
	c.RunE = func(_ *cobra.Command, args []string) error {
		w.Out = args[0]
		manifests, err := sweepdir.Named(w.Out, manifest)
		if err != nil {
			return usage(err)
		}
		if cell >= 0 && len(manifests) > 1 {
			return usage(fmt.Errorf("--cell %d: %s has %d sweeps: --manifest says which one", cell, w.Out, len(manifests)))
		}
		ctx, stop := interrupts(env, "the cell saves its state")
		defer stop()
		p := progress.New(progress.Screen{Writer: env.Stderr}, len(manifests[0].Cells), quiet)
		w.On, w.Stderr, w.DataDir = p.On, p, manifests[0].DataDir
		if cell >= 0 {
			one, err := manifests[0].Cell(cell)
			if err != nil {
				return usage(fmt.Errorf("--cell: %w", err))
			}
			r, err := w.Cell(ctx, manifests[0], one)
			return env.worked(suite.Worked(ctx, []results.Record{r}, err))
		}
		all, err := w.Any(ctx, manifests)
		return env.worked(suite.Worked(ctx, all, err))
	}
	return c
}

// slurmTask is the task of an array job that this process is, as Slurm's commands name it; empty without Slurm.
func (e Env) slurmTask() string {
	job, task := e.Getenv("SLURM_ARRAY_JOB_ID"), e.Getenv("SLURM_ARRAY_TASK_ID")
	if job == "" {
		return e.Getenv("SLURM_JOB_ID")
	}
	return job + "_" + task
}

// worked is the end of a command whose cells another process may run, which is no failure.
func (e Env) worked(err error) error {
	var held *sweepdir.HeldError
	if errors.As(err, &held) || errors.Is(err, sweepdir.ErrLost) {
		warn(e.Stderr, err.Error())
		return nil
	}
	return err
}

func statusCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "status FOLDER",
		Short: "how far a sweep is, from its files alone",
		Long: "status reads the folder of a sweep that was written by run --launcher: how many cells are\n" +
			"done, run, wait or failed, how far those are that run, and why others failed. It asks no\n" +
			"scheduler and needs no process to answer: the folder says everything.",
		Example: "  benchctl status results/runs\n  benchctl status results/runs --watch 10s",
		Args:    cobra.ExactArgs(1),
	}
	flags := c.Flags()
	flags.SortFlags = false
	o := addOutput(flags, "status", "running", "failed", "cells")
	var every time.Duration
	var all bool
	flags.DurationVar(&every, "watch", 0, "print it again after this time, such as 10s, until every cell is done or has failed")
	flags.BoolVar(&all, "all", false, "list every cell")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if err := o.open(); err != nil {
			return err
		}
		manifests, err := sweepdir.ReadAll(args[0])
		if err != nil {
			return usage(err)
		}
		ctx, stop := interrupts(env, "status ends")
		defer stop()
		for {
			states, err := sweepdir.StatusOf(args[0], manifests)
			if err != nil {
				return usage(err)
			}
			a := answer{tables: progress.StatusTables(states)}
			if all {
				a.tables = append(a.tables, progress.AllCells(states))
			}
			if err := env.emit(o, a, nil); err != nil || every <= 0 || sweepdir.Settled(states) {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(every):
			}
			fmt.Fprintln(env.Stdout)
		}
	}
	return c
}

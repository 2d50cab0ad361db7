package main

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/launch"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// launchFlags are those of a sweep that other processes run.
type launchFlags struct {
	launch.Options
	times []string
}

// addLaunch defines the flags.
func addLaunch(flags *pflag.FlagSet) *launchFlags {
	f := &launchFlags{Options: launch.Options{Launcher: launch.Local, OnOOM: suite.OnOOMSkip, Heartbeat: 20 * time.Second,
		Kubernetes: launch.Kubernetes{Mount: "/sweep"}}}
	cli.Define(flags, "launcher", "name", f.Launcher,
		"what starts the runs: local: this process; slurm: sbatch, an array job for each class of like runs; k8s: prints indexed "+
			"jobs; print: prints a shell command for each run (docs/scaling.md)", cli.Word(&f.Launcher))
	cli.Define(flags, "slurm", "settings", "",
		"options of sbatch by name, comma separated, such as partition=gpu,account=x; they replace ours of the same name",
		cli.Words(&f.Pass))
	cli.Define(flags, "at-a-time", "cells", "0",
		"with --launcher slurm: cells of an array that run at a time; 0: no limit", cli.One(&f.AtATime, cli.Number(0, 1<<20)))
	cli.Define(flags, "node-memory", "size", "",
		"memory of the largest machine (slurm: asked of sinfo): runs that need more are not submitted, and recorded as out of memory",
		cli.One(&f.NodeBytes, cli.Size))
	cli.Define(flags, "gpu-memory", "size", "", "the same of the largest GPU", cli.One(&f.GPUBytes, cli.Size))
	cli.Define(flags, "times", "paths", "",
		"records with measured step times, comma separated, by which time is asked for", cli.Words(&f.times))
	cli.Define(flags, "on-oom", "name", f.OnOOM,
		"what to do with a run that is out of memory: "+strings.Join(suite.OnOOMPolicies(), ", "), cli.Word(&f.OnOOM))
	flags.BoolVar(&f.RetryFailed, "retry-failed", false, "submit runs again that failed; without a launcher --resume does")
	flags.DurationVar(&f.Limit, "limit-time", 0, "stop a run that takes longer, such as 4h; its state is kept")
	cli.Define(flags, "limit-memory", "size", "",
		"stop a run whose process has more memory; it is recorded as out of memory", cli.One(&f.MemoryLimit, cli.Size))
	flags.DurationVar(&f.Heartbeat, "heartbeat", f.Heartbeat,
		"time between two signs of life of a run; without three of them another process may go on with it")
	k := &f.Kubernetes
	cli.Define(flags, "image", "name", "", "with --launcher k8s: image of the container, with benchctl", cli.Word(&k.Image))
	cli.Define(flags, "claim", "name", "",
		"with --launcher k8s: persistent volume claim with --out and --data-dir", cli.Word(&k.Claim))
	cli.Define(flags, "mount", "folder", k.Mount, "with --launcher k8s: where the claim is mounted", cli.Word(&k.Mount))
	cli.Define(flags, "namespace", "name", "", "with --launcher k8s: of the jobs", cli.Word(&k.Namespace))
	return f
}

// start hands the runs to the launcher.
func (f *launchFlags) start(env Env, o suite.Runner, runs []*suite.Run, format *output) (err error) {
	if len(f.times) > 0 {
		if f.Measured, err = readAll(env, f.times, results.Totals); err != nil {
			return err
		}
	}
	ctx, stop := interrupts(env, "no more jobs are submitted")
	defer stop()
	f.Program = env.Program
	jobs, err := f.Start(ctx, env.host(), o, runs, env.Stdout, func(text string) { warn(env.Stderr, text) })
	if err != nil || jobs == nil {
		return usage(err)
	}
	return env.emit(format, answer{tables: []table.Table{*jobs}}, nil)
}

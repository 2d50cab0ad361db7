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
		"with --launcher slurm or k8s: cells of an array or a job that run at a time; 0: no limit",
		cli.One(&f.AtATime, cli.Number(0, 1<<20)))
	cli.Define(flags, "node-memory", "size", "",
		"memory of the largest machine (slurm: asked of sinfo): runs that need more are not submitted, and recorded as out of memory",
		cli.One(&f.NodeBytes, cli.Size))
	cli.Define(flags, "gpu-memory", "size", "", "the same of the largest GPU", cli.One(&f.GPUBytes, cli.Size))
	cli.Define(flags, "times", "paths", "",
		"records with measured step times, comma separated, by which time is asked for", cli.Words(&f.times))
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

// addOnOOM defines the flag of commands whose runs may be replaced by smaller ones.
func (f *launchFlags) addOnOOM(flags *pflag.FlagSet) {
	cli.Define(flags, "on-oom", "name", f.OnOOM,
		"what to do with a run that is out of memory: "+strings.Join(suite.OnOOMPolicies(), ", "), cli.Word(&f.OnOOM))
}

// limit gives a runner of this process the limits of a run.
func (f *launchFlags) limit(r *suite.Runner) {
	r.OnOOM, r.TimeLimit, r.MemoryLimit = f.OnOOM, f.Limit, f.MemoryLimit
}

// placeFlags are those of runs of this process, several at a time.
type placeFlags struct {
	gpus       []int
	shareCores bool
}

// addPlaces defines the flags.
func addPlaces(flags *pflag.FlagSet, r *suite.Runner) *placeFlags {
	f := &placeFlags{}
	cli.Define(flags, "jobs", "count", "1",
		"runs at a time, each with processor cores of its own; with more than one, step times are those of a busy machine",
		cli.One(&r.Jobs, cli.Number(1, 1024)))
	cli.Define(flags, "gpus", "numbers", "",
		"GPUs of this machine, comma separated, from 0: one run at a time on each", cli.List(&f.gpus, cli.Number(0, 1023)))
	flags.BoolVar(&f.shareCores, "share-cores", false, "with --jobs or --gpus: all runs may use all cores")
	return f
}

// place gives a runner the places of its runs.
func (f *placeFlags) place(r *suite.Runner, specs []results.Spec) (err error) {
	if r.Places, err = suite.PlacesHere(specs, r.Jobs, f.gpus, f.shareCores); err != nil {
		return usage(err)
	}
	r.Jobs = len(r.Places)
	return nil
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

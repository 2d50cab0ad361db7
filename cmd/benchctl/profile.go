package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/launch"
	"github.com/localbench/localbench/plans"
	"github.com/localbench/localbench/reports/planned"
	"github.com/localbench/localbench/results"
)

// profileFlags are those of `profile` alone.
type profileFlags struct {
	*shared
	plans.Profile
	*launchFlags
}

func profileCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "profile",
		Short: "run a few steps and compare the plan with the memory that was used",
		Long: "profile plans the step of every run, runs a few of them in a separate process,\n" +
			"and compares the plan with the bytes of the arena that were overwritten (it is filled\n" +
			"with a canary pattern) and with the resident set of the process. A violated plan ends\n" +
			"with exit code 1. The data are synthetic: the cost of a step does not depend on them.\n" +
			"With --out profiles are kept, and those that are there are not measured again: after\n" +
			"--launcher has had them measured elsewhere, the same command without it compares them.",
		Example: "  benchctl profile --methods bp,auglocal --networks resnet32 --batch 256\n" +
			"  benchctl profile --methods bp,auglocal --networks resnet110 --export timeline",
		Args: noArguments,
	}
	s := addShared(c, "checks", "process", "residency", "definitions", "device", "kernels", "largest")
	f := &profileFlags{shared: s, Profile: plans.Profile{
		Host: env.host(), Runner: env.runner(""), Steps: 5, Tolerance: 1}}
	cli.Define(c.Flags(), "steps", "count", "5", "steps to time after the first", cli.One(&f.Steps, cli.Number(1, 1000)))
	cli.Define(c.Flags(), "tolerance", "percent", "1",
		"maximum difference between the arena's resident memory and the plan", cli.One(&f.Tolerance, cli.Real))
	cli.Define(c.Flags(), "export", "folder", "",
		"write the timelines there: Chrome trace (ui.perfetto.dev), CSV, PyTorch snapshot, plots", cli.Word(&f.Export))
	cli.Define(c.Flags(), "out", "folder", "", "keep the profiles there", cli.Word(&f.Runner.Out))
	f.launchFlags = addLaunch(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error { return f.run(env, c) }
	return c
}

func (f *profileFlags) run(env Env, c *cobra.Command) error {
	request, format, err := f.expand(c)
	if err != nil {
		return err
	}
	runs, err := request.Build()
	if err != nil {
		return usage(err)
	}
	if err := f.Check(); err != nil {
		return usage(err)
	}
	if f.Launcher != launch.Local {
		if f.Runner.Out == "" {
			return usage(fmt.Errorf("--launcher %s: needs --out, the folder for the profiles", f.Launcher))
		}
		if runs, err = f.Profile.Cells(runs); err != nil {
			return usage(err)
		}
		f.Runner.JobOptions.Profile = f.Steps
		return f.start(env, f.Runner, runs, format)
	}
	f.Keep = f.Runner.Out != ""
	f.limit(&f.Runner)
	ctx, stop := interrupts(env, "the steps end")
	defer stop()
	f.Next = func(run int, s results.Spec) {
		if env.IsTTY {
			fmt.Fprintf(env.Stderr, "profile %d of %d: %s\n", run+1, len(runs), planned.Label(s))
		}
	}
	found, err := f.Profile.Run(ctx, runs)
	if err != nil {
		return usage(err)
	}
	if found.Runs == 0 {
		return found.Ended
	}
	if len(found.Plots) > 0 {
		fmt.Fprintf(env.Stderr, "timelines: %d files in %s\n", len(found.Plots), f.Export)
	}
	if err := env.emit(format, answerOf(found.Answer), found.Verdict); err != nil {
		return err
	}
	if found.Ended != nil {
		return found.Ended
	}
	if found.Verdict == nil {
		fmt.Fprintf(env.Stderr, "verdict: the plan holds in %d of %d runs\n", found.Runs, found.Runs)
	}
	return found.Verdict
}

package main

import (
	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
)

// exclusives are the pairs of flags of one command that can't be combined. Where several are given, the first one counts.
func exclusives() (all []cli.Exclusive) {
	add := func(first, why string, seconds ...string) {
		for _, second := range seconds {
			all = append(all, cli.Exclusive{First: first, Second: second, Why: why})
		}
	}
	add("fit-process", "--fit-process has a size of its own", "fit", "target")
	add("fit-process", "it measures processes of benchctl; --fit SIZE --policy eager predicts PyTorch's memory", "policy eager")
	add("fit", "--target has a size of its own", "target")
	for _, flag := range []string{"fit", "fit-process", "target"} {
		add(flag, "--"+flag+" searches for the batch size, --budget for what to recompute", "budget")
		add(flag, "--"+flag+" searches for the batch size", "batch")
		add(flag, "plan the batch size that it finds with --batch and --export", "export")
	}
	add("dump", "--dump prints the program of one run, as text",
		"fit", "fit-process", "target", "export", "format", "table", "columns")
	add("dump", "--dump prints the program that benchctl runs", "policy eager")
	add("curve", "--curve plans each run for many budgets", "budget", "fit", "fit-process", "target", "dump", "details")
	add("curve", "what an eager framework reports does not depend on what benchctl recomputes", "policy eager")
	add("against", "--against compares plans of one batch size and budget", "fit", "fit-process", "target", "curve")
	add("against", "--against prints differences only", "dump", "export", "details")
	add("from", "records are either read or planned", "plan")
	for _, flag := range []string{"jobs", "gpus", "share-cores", "fail-fast"} {
		add(flag, "the launcher decides what runs, and when", "launcher slurm", "launcher k8s", "launcher print")
	}
	add("no-run", "--no-run runs nothing", "jobs", "gpus", "launcher slurm", "launcher k8s", "launcher print")
	add("gpus", "--gpus runs one at a time on each", "jobs", "device")
	add("interleave", "--interleave measures both sides itself", "baseline", "self-test", "confirm")
	return all
}

// requirements are the flags of one command that mean something only together with another one.
func requirements() []cli.Requirement {
	all := []cli.Requirement{
		{Flag: "old", With: []string{"confirm"}, Why: "--interleave takes OLD and NEW as arguments"},
		{Flag: "limit", With: []string{"against"}},
		{Flag: "reserve", With: []string{"fit", "target"}},
		{Flag: "share-cores", With: []string{"jobs", "gpus"}},
		{Flag: "slurm", With: []string{"launcher slurm"}},
		{Flag: "at-a-time", With: []string{"launcher slurm", "launcher k8s"}},
	}
	for _, flag := range []string{"image", "claim", "mount", "namespace"} {
		all = append(all, cli.Requirement{Flag: flag, With: []string{"launcher k8s"}})
	}
	for _, flag := range []string{"node-memory", "gpu-memory", "times", "retry-failed", "heartbeat"} {
		all = append(all, cli.Requirement{Flag: flag, With: []string{"launcher slurm", "launcher k8s", "launcher print"}})
	}
	return all
}

// fromConfiguration are flags whose value in a configuration file does not count: they describe other commands that the file
// serves as well.
var fromConfiguration = []string{"batch", "format"}

// checkFlags refuses flags that can't be combined, and those that lack the one they need.
func checkFlags(c *cobra.Command) error {
	if err := cli.CheckExclusive(c, exclusives(), fromConfiguration...); err != nil {
		return usage(err)
	}
	return usage(cli.CheckRequired(c, requirements(), fromConfiguration...))
}

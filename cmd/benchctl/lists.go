package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/launch"
	"github.com/localbench/localbench/plans"
	"github.com/localbench/localbench/reports/catalog"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/suite"
)

// listCommand prints a list of names with one line each.
func listCommand(env Env, use, short, title string, entries func() []suite.Listed) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: noArguments}
	out := addOutput(c.Flags())
	c.RunE = func(*cobra.Command, []string) error {
		if err := out.open(); err != nil {
			return err
		}
		return env.emit(out, answer{tables: []table.Table{catalog.Names(use, title, entries())}}, nil)
	}
	return c
}

func methodsCommand(env Env) *cobra.Command {
	return listCommand(env, "methods", "the training methods, one line each", "Methods", suite.ListMethods)
}

func networksCommand(env Env) *cobra.Command {
	return listCommand(env, "networks", "the built-in networks, one line each", "Networks", suite.ListNetworks)
}

// completeNames completes the last entry of a comma separated list, with a description.
func completeNames(entries func() []suite.Listed) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, given string) ([]cobra.Completion, cobra.ShellCompDirective) {
		before := ""
		if i := strings.LastIndexByte(given, ','); i >= 0 {
			before = given[:i+1]
		}
		var all []cobra.Completion
		for _, e := range entries() {
			if strings.HasPrefix(before+e.Name, given) {
				all = append(all, cobra.CompletionWithDesc(before+e.Name, e.About))
			}
		}
		return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// addCompletions completes the values of flags whose values are names, on every command that has them.
func addCompletions(root *cobra.Command) {
	values := map[string]cobra.CompletionFunc{
		"methods":  completeNames(suite.ListMethods),
		"networks": completeNames(suite.ListNetworks),
		"datasets": completeNames(suite.ListDatasets),
	}
	for flag, names := range wordValues() {
		values[flag] = cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)
	}
	values["cuts"] = cobra.FixedCompletions([]string{"published", "balanced", "even"}, cobra.ShellCompDirectiveNoFileComp)
	cli.Complete(root, values)
}

// wordValues are all values of flags that take one of a few words.
func wordValues() map[string][]string {
	values := map[string][]string{
		"precision":    {"f32", "tf32", "bf16"},
		"backend":      {"auto", "cpu", "cuda", "reference"},
		"selection":    {"uniform", "sequential", "repetitive"},
		"infopro-mode": {"softmax", "contrast"},
		"dropout":      {"on", "off"},
		"recompute":    {"none", "norm"},
		"store":        {"f32", "bf16", "int8", "int4"},
		"fuse-norm":    suite.FuseNames(),
		"update":       {"early", "deferred"}, "quirks": {"none", "paper"}, "policy": {plans.PolicyPlanned, plans.PolicyEager},
		"optimizer": suite.OptimizerNames(), "launcher": launch.Launchers(), "on-oom": suite.OnOOMPolicies(),
	}
	for _, f := range table.Formats() {
		values["format"] = append(values["format"], f.Name())
	}
	return values
}

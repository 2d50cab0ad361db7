package main

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/names"
	"github.com/localbench/localbench/reports/table"
)

// run is the whole command: arguments in, exit code out.
func run(env Env) exitCode {
	out := &checkedOutput{to: env.Stdout}
	env.Stdout = out
	root := newRoot(env)
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.Execute()
	if out.err != nil {
		err = errors.Join(err, unwritten(fmt.Errorf("standard output was not written: %w", out.err)))
	}
	var ended *runError
	if err != nil && !(errors.As(err, &ended) && ended.code() == exitInterrupted) {
		printError(env.Stderr, err)
	}
	return codeOf(err)
}

func newRoot(env Env) *cobra.Command {
	root := &cobra.Command{
		Use:     "benchctl",
		Short:   "measure what training a deep network costs in memory and time",
		Long:    longHelp,
		Version: version(),
		Example: "  benchctl plan --networks resnet110 --batch 1024        plan the memory of a training step, without running it\n" +
			"  benchctl run                                           train and measure, on generated images\n" +
			"  benchctl report --html report.html                     tables and plots of the runs",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		// Before any command, whose own checks may need the values that the flags choose.
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return checkFlags(c) },
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{cli.FlagError(c, err), c.CommandPath() + " --help lists the flags"}
	})
	for _, g := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"measure", "Plan and measure:", []*cobra.Command{
			planCommand(env), runCommand(env), profileCommand(env), auditCommand(env), tuneCommand(env),
		}},
		{"share", "Sweeps over several machines (run --launcher):", []*cobra.Command{workCommand(env), statusCommand(env)}},
		{"judge", "Report and compare:", []*cobra.Command{
			reportCommand(env), frontierCommand(env), compareCommand(env), baselineCommand(env), historyCommand(env),
			reproduceCommand(env), validateCommand(env),
		}},
		{"lookup", "Look up:", []*cobra.Command{
			methodsCommand(env), networksCommand(env), describeCommand(env), dataCommand(env), devicesCommand(env), schemaCommand(env),
			versionCommand(env),
		}},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
	root.AddCommand(executeCommand(env), probeCommand(env))
	addCompletions(root)
	help := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		cli.BreakHelp(c, cmp.Or(env.Columns, helpColumns), table.Wrap)
		help(c, args)
		if c == root {
			fmt.Fprint(env.Stdout, "\n"+exitCodeHelp())
		}
	})
	return root
}

// helpColumns is where help breaks its lines if it is not on a terminal.
const helpColumns = 100

const longHelp = "benchctl measures what training a deep network costs in memory and time, for\n" +
	"back-propagation, its memory-saving variants, and methods that train a network in\n" +
	"local modules."

// exitCodeHelp ends the help of the root command.
func exitCodeHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, m := range exitMeanings() {
		fmt.Fprintf(&b, "  %3d  %s\n", m.code, m.sentence)
	}
	return b.String()
}

// noArguments refuses words that are neither commands nor flags.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !c.HasSubCommands() {
		return &usageError{fmt.Errorf("argument %q: this command takes flags only", args[0]),
			c.CommandPath() + " --help lists the flags"}
	}
	var known []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			known = append(known, sub.Name())
		}
	}
	return &usageError{&names.UnknownError{Kind: "command", Name: args[0], Known: known}, c.CommandPath() + " --help lists them"}
}

// versionCommand prints what `benchctl --version` prints, for those who look for a command.
func versionCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version of benchctl",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(env.Stdout, "benchctl version "+version())
			return err
		},
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

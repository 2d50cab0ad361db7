package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/git"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/remeasure"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// addTurns defines the flags of measurements in turns: in each pair both programs run as often, in random order.
func addTurns(flags *pflag.FlagSet, t *suite.Turns) {
	t.Pairs, t.Turns, t.Order = 9, 5, 1
	cli.Define(flags, "pairs", "count", "9", "with --interleave or --confirm: pairs of old and new",
		cli.One(&t.Pairs, cli.Number(1, maxSeeds)))
	cli.Define(flags, "turns", "count", "5",
		"with --interleave or --confirm: runs of each program in a pair, of which the mean counts",
		cli.One(&t.Turns, cli.Number(1, maxSeeds)))
	cli.Define(flags, "order-seed", "seed", "1", "with --interleave or --confirm: of the random order in which old and new run",
		func(s string) error {
			n, err := cli.Number(0, 1<<31-1)(s)
			t.Order = uint64(n)
			return err
		})
}

// measurer measures programs as the flags say.
func (f *compareFlags) measurer(env Env) remeasure.Measurer {
	m := remeasure.Measurer{Turns: f.turns, Host: env.host(), Build: builds(env), Log: env.Stderr}
	if env.IsTTY {
		m.Turns.Done = func(pair int) { fmt.Fprintf(env.Stderr, "interleave: pair %d of %d\n", pair, f.turns.Pairs) }
	}
	return m
}

// interleave is `compare --interleave OLD NEW -- FLAGS`: it returns the comparison and the records of the new side.
func (f *compareFlags) interleave(env Env, c *cobra.Command, args []string,
	t compare.Thresholds) (compare.Comparison, []results.Record, error) {
	dash := c.ArgsLenAtDash()
	if dash < 0 {
		dash = len(args)
	}
	if dash != 2 {
		return compare.Comparison{}, nil, fmt.Errorf("--interleave: %s: give OLD and NEW, each a benchctl program or a git revision, "+
			"then `--` and flags of run", english.Plural(dash, "argument", ""))
	}
	runs, runner, err := runsOf(env, args[dash:])
	if err != nil {
		return compare.Comparison{}, nil, err
	}
	runner.Out = filepath.Join("results", "interleave", env.Now().UTC().Format("20060102-150405"))
	if c.Flags().Changed("out") {
		runner.Out = f.turns.Out
	}
	f.turns.Runner = runner
	ctx, stop := interrupts(env, "the run under way is given up")
	defer stop()
	pairs, err := f.measurer(env).Interleave(ctx, runs, args[0], args[1])
	if err != nil {
		return compare.Comparison{}, nil, err
	}
	var fresh []results.Record
	for _, p := range pairs {
		fresh = append(fresh, p.New...)
	}
	return compare.RunPaired(pairs, t, f.metrics...), fresh, nil
}

// confirm measures the flagged cells of a comparison again.
func (f *compareFlags) confirm(env Env, c *compare.Comparison, old, new []results.Record, t compare.Thresholds) error {
	ctx, stop := interrupts(env, "the run under way is given up")
	defer stop()
	return remeasure.Confirmation{Measurer: f.measurer(env), Old: f.old, Repeats: f.repeats,
		Sweep: func(ctx context.Context, r suite.Runner, specs []results.Spec) ([]results.Record, error) {
			return sweep(ctx, env, r, specs, false)
		}}.Confirm(ctx, c, old, new, t)
}

// notInTurns are flags of run that say nothing about what one measurement is.
var notInTurns = []string{"seeds", "format", "table", "columns"}

// runsOf reads flags of run that describe measurements.
func runsOf(env Env, args []string) ([]*suite.Run, suite.Runner, error) {
	root, c := &cobra.Command{}, &cobra.Command{Use: "run"}
	root.AddCommand(c) // where --config looks its keys up
	f := &runFlags{shared: addShared(c), Runner: env.runner("")}
	addTraining(c, &f.request)
	addSamples(c, &f.request)
	f.addJob(c.Flags())
	if err := c.ParseFlags(args); err != nil {
		return nil, f.Runner, &usageError{fmt.Errorf("flags of run: %w", err),
			"flags after -- are those of benchctl run that describe runs; the output is set before it"}
	}
	if rest := c.Flags().Args(); len(rest) > 0 {
		return nil, f.Runner, usage(fmt.Errorf("flags of run: %s is not a flag", printable.Quote(rest[0])))
	}
	request, _, err := f.expand(c)
	if err != nil {
		return nil, f.Runner, err
	}
	for _, name := range notInTurns {
		if flag := c.Flags().Lookup(name); flag != nil && (flag.Changed || flag.Value.String() != flag.DefValue) {
			return nil, f.Runner, usage(fmt.Errorf("flags of run: --%s can't be combined with --interleave, "+
				"which sets the seeds and prints one table", name))
		}
	}
	request.Init = f.Init
	runs, err := request.Build()
	return runs, f.Runner, usage(err)
}

// builds builds old programs and says so.
func builds(env Env) git.Build {
	return git.Build{Flags: env.Getenv("GOFLAGS"), Say: func(line string) { fmt.Fprintln(env.Stderr, line) }}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/git"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// turns is how old and new are measured in turns: in each pair both run as often, in random order, each run a process of
// its own.
type turns struct{ suite.Turns }

func (t *turns) define(flags *pflag.FlagSet) {
	t.Pairs, t.Turns.Turns, t.Order = 9, 5, 1
	cli.Define(flags, "pairs", "count", "9",
		"with --interleave or --confirm: pairs of old and new", cli.One(&t.Pairs, cli.Number(1, maxSeeds)))
	cli.Define(flags, "turns", "count", "5", "with --interleave or --confirm: runs of each program in a pair, of which the mean counts",
		cli.One(&t.Turns.Turns, cli.Number(1, maxSeeds)))
	cli.Define(flags, "order-seed", "seed", "1", "with --interleave or --confirm: of the random order in which old and new run",
		func(s string) error {
			n, err := cli.Number(0, 1<<31-1)(s)
			t.Order = uint64(n)
			return err
		})
}

// measure runs every spec in turns and returns the pairs.
func (t turns) measure(ctx context.Context, env Env, specs []results.Spec, first uint64, old, new string) ([]compare.Pair, error) {
	fmt.Fprintf(env.Stderr, "interleave: %s, %s of %s each: %s in %s\n", english.Plural(len(specs), "measurement", ""),
		english.Plural(t.Pairs, "pair", ""), english.Plural(t.Turns.Turns, "turn", ""), english.Plural(t.Runs(len(specs)), "run", ""), t.Out)
	if env.IsTTY {
		t.Done = func(pair int) { fmt.Fprintf(env.Stderr, "interleave: pair %d of %d\n", pair, t.Pairs) }
	}
	pairs, err := t.Measure(ctx, specs, first, old, new)
	var side *suite.SideError
	switch {
	case ctx.Err() != nil:
		return nil, &suite.InterruptedError{Left: "the runs that are done are in " + t.Out}
	case errors.As(err, &side):
		failed := &suite.SweepError{Total: 1, Cause: side}
		if side.Status != "" {
			failed.Failed = 1
		}
		return nil, failed
	}
	return pairs, err
}

// interleave is `compare --interleave OLD NEW -- FLAGS`: it returns the comparison and the records of the new side.
func (f *compareFlags) interleave(env Env, c *cobra.Command, args []string,
	t compare.Thresholds) (compare.Comparison, []results.Record, error) {
	fail := func(err error) (compare.Comparison, []results.Record, error) { return compare.Comparison{}, nil, err }
	dash := c.ArgsLenAtDash()
	if dash < 0 {
		dash = len(args)
	}
	if dash != 2 {
		return fail(usage(fmt.Errorf("--interleave: %s: give OLD and NEW, each a benchctl program or a git revision, "+
			"then `--` and flags of run",
			english.Plural(dash, "argument", ""))))
	}
	runs, runner, err := runsOf(env, args[dash:])
	if err != nil {
		return fail(err)
	}
	f.turns.Runner = runner
	f.turns.Out = filepath.Join("results", "interleave", env.Now().UTC().Format("20060102-150405"))
	if c.Flags().Changed("out") {
		f.turns.Out = f.runner.Out
	}
	for _, side := range []string{"old", "new"} {
		if files, err := os.ReadDir(filepath.Join(f.turns.Out, side)); err == nil && len(files) > 0 {
			return fail(usage(fmt.Errorf("--out %s: has runs of an earlier comparison; give another folder or remove it", f.turns.Out)))
		}
	}
	if err := f.turns.Preflight(env.host(), runs); err != nil {
		return fail(usage(err))
	}
	programs, err := os.MkdirTemp("", "benchctl-programs-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(programs)
	ctx, stop := interrupts(env, "the run under way is given up")
	defer stop()
	old, err := builds(env).FindProgram(ctx, args[0], programs)
	if err != nil {
		return fail(usage(fmt.Errorf("OLD: %w", err)))
	}
	new, err := builds(env).FindProgram(ctx, args[1], programs)
	if err != nil {
		return fail(usage(fmt.Errorf("NEW: %w", err)))
	}
	pairs, err := f.turns.measure(ctx, env, suite.Specs(runs), 1, old, new)
	if err != nil {
		return fail(err)
	}
	var fresh []results.Record
	for _, p := range pairs {
		fresh = append(fresh, p.New...)
	}
	return compare.RunPaired(pairs, t, f.metrics...), fresh, nil
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

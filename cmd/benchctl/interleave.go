package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/git"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// turns is how old and new are measured in turns: in each pair both run as often, in random order, each run a process of
// its own.
type turns struct {
	pairs, turns int
	order        uint64 // seed of the random order
	out, dataDir string
	suite.JobOptions
}

func (t *turns) define(flags *pflag.FlagSet) {
	t.pairs, t.turns, t.order = 9, 5, 1
	define(flags, "pairs", "count", "9", "with --interleave or --confirm: pairs of old and new", one(&t.pairs, number(1, maxSeeds)))
	define(flags, "turns", "count", "5", "with --interleave or --confirm: runs of each program in a pair, of which the mean counts",
		one(&t.turns, number(1, maxSeeds)))
	define(flags, "order-seed", "seed", "1", "with --interleave or --confirm: of the random order in which old and new run",
		func(s string) error {
			n, err := number(0, 1<<31-1)(s)
			t.order = uint64(n)
			return err
		})
}

// measure runs every spec in turns and returns the pairs. Both programs run the same seeds, from first on, t.turns of them a
// pair; their records lie in the folders old and new below t.out. The first run that fails ends it: a pair without one side
// says nothing.
func (t turns) measure(ctx context.Context, env Env, specs []results.Spec, first uint64,
	old, new string) ([]compare.Pair, error) {
	random := rand.New(rand.NewPCG(t.order, 0))
	total := len(specs) * t.pairs * t.turns * 2
	fmt.Fprintf(env.Stderr, "interleave: %s, %s of %s each: %s in %s\n", english.Plural(len(specs), "measurement", ""),
		english.Plural(t.pairs, "pair", ""), english.Plural(t.turns, "turn", ""), english.Plural(total, "run", ""), t.out)
	pairs := make([]compare.Pair, t.pairs)
	for k := range pairs {
		for _, i := range random.Perm(len(specs)) {
			p, err := t.pair(ctx, env, specs[i], first+uint64(k*t.turns), random, old, new)
			if err != nil {
				return nil, err
			}
			pairs[k].Old, pairs[k].New = append(pairs[k].Old, p.Old...), append(pairs[k].New, p.New...)
		}
		if env.IsTTY {
			fmt.Fprintf(env.Stderr, "interleave: pair %d of %d\n", k+1, t.pairs)
		}
	}
	return pairs, nil
}

// pair measures one pair of one measurement.
func (t turns) pair(ctx context.Context, env Env, spec results.Spec, first uint64, random *rand.Rand,
	old, new string) (p compare.Pair, err error) {
	for _, slot := range random.Perm(2 * t.turns) {
		program, side, records := old, "old", &p.Old
		if slot >= t.turns {
			program, side, records = new, "new", &p.New
		}
		spec.Seed = first + uint64(len(*records))
		one, err := suite.Sweep(ctx, []results.Spec{spec}, suite.SweepOptions{Command: []string{program, "execute"},
			Out: filepath.Join(t.out, side), DataDir: t.dataDir, JobOptions: t.JobOptions, Now: env.Now})
		switch {
		case ctx.Err() != nil:
			return p, &interruptedError{"the runs that are done are in " + t.out, ""}
		case err != nil:
			return p, &sweepError{total: 1, cause: fmt.Errorf("%s program %s: %w", side, program, err)}
		case one[0].Status != results.StatusDone:
			return p, &sweepError{failed: 1, total: 1,
				cause: fmt.Errorf("%s program %s: %s: %s", side, program, one[0].Status, one[0].Error)}
		}
		*records = append(*records, one...)
	}
	return p, nil
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
	runs, options, dataDir, err := runsOf(env, args[dash:])
	if err != nil {
		return fail(err)
	}
	f.turns.JobOptions, f.turns.dataDir = options, dataDir
	f.turns.out = filepath.Join("results", "interleave", env.Now().UTC().Format("20060102-150405"))
	if c.Flags().Changed("out") {
		f.turns.out = f.out
	}
	for _, side := range []string{"old", "new"} {
		if files, err := os.ReadDir(filepath.Join(f.turns.out, side)); err == nil && len(files) > 0 {
			return fail(usage(fmt.Errorf("--out %s: has runs of an earlier comparison; give another folder or remove it", f.turns.out)))
		}
	}
	if err := (&runFlags{shared: &shared{}, dataDir: dataDir, out: f.turns.out, JobOptions: options}).preflight(runs); err != nil {
		return fail(err)
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
func runsOf(env Env, args []string) ([]*suite.Run, suite.JobOptions, string, error) {
	root, c := &cobra.Command{}, &cobra.Command{Use: "run"}
	root.AddCommand(c) // where --config looks its keys up
	f := &runFlags{shared: addShared(c)}
	addTraining(c, &f.request)
	addSamples(c, &f.request)
	f.addJob(env, c.Flags())
	if err := c.ParseFlags(args); err != nil {
		return nil, f.JobOptions, "", &usageError{fmt.Errorf("flags of run: %w", err),
			"flags after -- are those of benchctl run that describe runs; the output is set before it"}
	}
	if rest := c.Flags().Args(); len(rest) > 0 {
		return nil, f.JobOptions, "", usage(fmt.Errorf("flags of run: %s is not a flag", printable.Quote(rest[0])))
	}
	request, _, err := f.expand(c)
	if err != nil {
		return nil, f.JobOptions, "", err
	}
	for _, name := range notInTurns {
		if flag := c.Flags().Lookup(name); flag != nil && (flag.Changed || flag.Value.String() != flag.DefValue) {
			return nil, f.JobOptions, "", usage(fmt.Errorf("flags of run: --%s can't be combined with --interleave, "+
				"which sets the seeds and prints one table", name))
		}
	}
	request.Init = f.Init
	runs, err := request.Build()
	return runs, f.JobOptions, f.dataDir, usage(err)
}

// builds builds old programs and says so.
func builds(env Env) git.Build {
	return git.Build{Flags: env.Getenv("GOFLAGS"), Say: func(line string) { fmt.Fprintln(env.Stderr, line) }}
}

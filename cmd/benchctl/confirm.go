package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/git"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// measureAgain measures the flagged measurements again, with seeds that neither side has, and judges their cells by these
// runs: old and new in turns, if the old program is at hand, and else the new one alone. What cannot be measured here is
// said and keeps its verdict.
func (f *compareFlags) measureAgain(env Env, c *compare.Comparison, old, new []results.Record, t compare.Thresholds) error {
	if len(c.Flagged()) == 0 {
		return nil
	}
	programs, err := os.MkdirTemp("", "benchctl-programs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(programs)
	ctx, stop := interrupts(env, "the run under way is given up")
	program, err := f.oldProgram(ctx, env, old, new, programs)
	if err == nil {
		defer stop()
		return f.measureInTurns(ctx, env, c, program, old, new, t)
	}
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		return &interruptedError{"nothing was measured", ""}
	case f.old != "":
		return usage(fmt.Errorf("--old: %w", err))
	}
	fmt.Fprintf(env.Stderr,
		"confirm: only the new program is measured, so a machine that changed since the old records were made looks like a "+
			"program that changed: %s; --old PROGRAM measures both in turns\n", printable.Line(err.Error()))
	return f.measureNew(env, c, old, new, t)
}

// oldProgram is the program of the old side: the one that --old names, or one built of the commit that the records name.
func (f *compareFlags) oldProgram(ctx context.Context, env Env, old, new []results.Record, folder string) (string, error) {
	if f.old != "" {
		return builds(env).FindProgram(ctx, f.old, folder)
	}
	of := func(records []results.Record) (programs []string) {
		for _, r := range records {
			programs = append(programs, strings.TrimSpace(r.Environment.Commit+" "+r.Environment.Version))
		}
		slices.Sort(programs)
		return slices.Compact(programs)
	}
	e, programs := old[0].Environment, of(old)
	switch {
	case len(programs) > 1:
		return "", fmt.Errorf("the old records are of %d programs", len(programs))
	case e.Commit == "":
		return "", errors.New("the old records name no commit")
	case strings.HasSuffix(e.Version, suite.WithLocalChanges):
		return "", fmt.Errorf("the old records are of commit %s with local changes", git.Short(e.Commit))
	case slices.Equal(programs, of(new)):
		return os.Executable()
	}
	commit, err := git.Resolve(e.Commit)
	if err != nil {
		return "", fmt.Errorf("commit %s of the old records is not in a git repository here", git.Short(e.Commit))
	}
	return builds(env).Program(ctx, commit, folder)
}

// measureInTurns is measureAgain with the old program.
func (f *compareFlags) measureInTurns(ctx context.Context, env Env, c *compare.Comparison, program string,
	old, new []results.Record, t compare.Thresholds) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	flagged := map[string]bool{}
	for _, cell := range c.Flagged() {
		flagged[cell.Run] = true
	}
	f.turns.out, f.turns.dataDir = f.out, f.dataDir
	var specs []results.Spec
	for _, r := range newest(new) {
		if !flagged[seedless(r.Spec)] {
			continue
		}
		// Both sides are measured here: that the old records are of another machine does not matter.
		if err := repeatable(&runFlags{shared: &shared{}, dataDir: f.dataDir, out: f.out}, nil, r); err != nil {
			warn(env.Stderr, fmt.Sprintf("confirm: %s cannot be measured again here: %s", seedless(r.Spec), err))
			continue
		}
		specs = append(specs, r.Spec)
	}
	if len(specs) == 0 {
		return nil
	}
	fmt.Fprintf(env.Stderr, "confirm: %s, old and new in turns\n", english.Plural(len(c.Flagged()), "flagged cell", ""))
	pairs, err := f.turns.measure(ctx, env, specs, lastSeed(append(slices.Clone(old), new...))+1, program, self)
	if err != nil {
		return err
	}
	c.ConfirmPaired(pairs, t)
	return nil
}

// measureNew is measureAgain of the new side alone.
// There are as many runs as the old side has, at least as many as a verdict takes, and at
// most those of --repeats; rounds go over all measurements, so that a machine that becomes
// slower does so for all of them.
func (f *compareFlags) measureNew(env Env, c *compare.Comparison, old, new []results.Record, t compare.Thresholds) error {
	flagged := c.Flagged()
	need := compare.Repetitions(len(flagged))
	runs := map[string]int{}
	for _, cell := range flagged {
		if cell.OldN < need {
			fmt.Fprintf(env.Stderr, "confirm: %s of %s: new runs cannot tell: the old side has %s, want %d\n", cell.Metric, cell.Run,
				english.Plural(cell.OldN, "repetition", ""), need)
			continue
		}
		runs[cell.Run] = min(max(runs[cell.Run], need, cell.OldN), f.repeats)
	}
	sweep := &runFlags{shared: &shared{}, dataDir: f.dataDir, out: f.out, jobs: 1}
	var specs []results.Spec
	for _, r := range newest(new) {
		id := seedless(r.Spec)
		if runs[id] == 0 {
			continue
		}
		if err := repeatable(sweep, old, r); err != nil {
			fmt.Fprintf(env.Stderr, "benchctl: confirm: %s cannot be measured again here: %s\n", id, printable.Line(err.Error()))
			continue
		}
		seed := lastSeed(append(slices.Clone(old), new...))
		for range runs[id] {
			seed++
			r.Spec.Seed = seed
			specs = append(specs, r.Spec)
		}
	}
	if len(specs) == 0 {
		return nil
	}
	slices.SortStableFunc(specs, func(a, b results.Spec) int { return cmp.Compare(a.Seed, b.Seed) })
	fmt.Fprintf(env.Stderr, "confirm: %s, %s\n", english.Plural(len(flagged), "flagged cell", ""),
		english.Plural(len(specs), "new run", ""))
	fresh, err := sweep.sweep(env, specs)
	var failed *sweepError
	if errors.As(err, &failed) && failed.cause == nil {
		fmt.Fprintln(env.Stderr, "benchctl: confirm: "+err.Error())
		err = nil
	}
	if err != nil {
		return err
	}
	c.Confirm(old, fresh, t)
	return nil
}

// repeatable says why a run of the new side cannot be repeated by this program on this
// machine and be held against the old side.
func repeatable(sweep *runFlags, old []results.Record, r results.Record) error {
	run, err := suite.Build(r.Spec)
	if err != nil {
		return usage(err)
	}
	if err := sweep.preflight([]*suite.Run{run}); err != nil {
		return err
	}
	here, err := run.Environment()
	if err != nil {
		return err
	}
	for _, before := range old {
		if seedless(before.Spec) != seedless(r.Spec) {
			continue
		}
		if differ := compare.Machine(before.Environment, here); len(differ) > 0 {
			return fmt.Errorf("the machine is another: got %s", strings.Join(differ, ", "))
		}
	}
	if e := r.Environment; e.Commit != here.Commit || e.Version != here.Version {
		return fmt.Errorf("this is another program: got commit %q, version %q, want %q, %q of the new records", here.Commit,
			here.Version, e.Commit, e.Version)
	}
	return nil
}

// newest is the last finished run of each measurement, in the order of their names.
func newest(records []results.Record) (out []results.Record) {
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b results.Record) int {
		return cmp.Or(strings.Compare(seedless(a.Spec), seedless(b.Spec)), b.Started.Compare(a.Started))
	})
	for _, r := range records {
		if r.Status == results.StatusDone && (len(out) == 0 || seedless(out[len(out)-1].Spec) != seedless(r.Spec)) {
			out = append(out, r)
		}
	}
	return out
}

func lastSeed(records []results.Record) (last uint64) {
	for _, r := range records {
		last = max(last, r.Spec.Seed)
	}
	return last
}

// seedless is the id of a measurement: that of its spec without the seed.
func seedless(s results.Spec) string {
	s.Seed = 0
	return results.SpecID(s)
}

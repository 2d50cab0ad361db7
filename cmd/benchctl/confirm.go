package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

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
		return &suite.InterruptedError{Left: "nothing was measured"}
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
	named, same, err := compare.OldCommit(old, new)
	switch {
	case err != nil:
		return "", err
	case same:
		return env.Program, nil
	}
	commit, err := git.Resolve(named)
	if err != nil {
		return "", fmt.Errorf("commit %s of the old records is not in a git repository here", git.Short(named))
	}
	return builds(env).Program(ctx, commit, folder)
}

// measureInTurns is measureAgain with the old program.
func (f *compareFlags) measureInTurns(ctx context.Context, env Env, c *compare.Comparison, program string,
	old, new []results.Record, t compare.Thresholds) error {
	flagged := map[string]bool{}
	for _, cell := range c.Flagged() {
		flagged[cell.Run] = true
	}
	f.turns.Runner = f.runner
	var specs []results.Spec
	for _, r := range compare.Newest(new) {
		if !flagged[results.ExperimentID(r.Spec)] {
			continue
		}
		// Both sides are measured here: that the old records are of another machine does not matter.
		if err := f.repeatable(env, nil, r); err != nil {
			warn(env.Stderr, fmt.Sprintf("confirm: %s can't be measured again here: %s", results.ExperimentID(r.Spec), err))
			continue
		}
		specs = append(specs, r.Spec)
	}
	if len(specs) == 0 {
		return nil
	}
	fmt.Fprintf(env.Stderr, "confirm: %s, old and new in turns\n", english.Plural(len(c.Flagged()), "flagged cell", ""))
	pairs, err := f.turns.measure(ctx, env, specs, compare.LastSeed(slices.Concat(old, new)...)+1, program, env.Program)
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
	runs, tooFew, need := c.Repeats(f.repeats)
	for _, cell := range tooFew {
		fmt.Fprintf(env.Stderr, "confirm: %s of %s: new runs would not help: the old side has %s, but %d are needed\n", cell.Metric, cell.Run,
			english.Plural(cell.OldN, "repetition", ""), need)
	}
	var specs []results.Spec
	for _, r := range compare.Newest(new) {
		id := results.ExperimentID(r.Spec)
		if runs[id] == 0 {
			continue
		}
		if err := f.repeatable(env, old, r); err != nil {
			fmt.Fprintf(env.Stderr, "benchctl: confirm: %s can't be measured again here: %s\n", id, printable.Line(err.Error()))
			continue
		}
		specs = append(specs, compare.Again(r.Spec, runs[id], compare.LastSeed(slices.Concat(old, new)...))...)
	}
	if len(specs) == 0 {
		return nil
	}
	compare.Rounds(specs)
	fmt.Fprintf(env.Stderr, "confirm: %s, %s\n", english.Plural(len(c.Flagged()), "flagged cell", ""),
		english.Plural(len(specs), "new run", ""))
	fresh, err := sweep(env, f.runner, specs, false)
	var failed *suite.SweepError
	if errors.As(err, &failed) && failed.Cause == nil {
		fmt.Fprintln(env.Stderr, "benchctl: confirm: "+err.Error())
		err = nil
	}
	if err != nil {
		return err
	}
	c.Confirm(old, fresh, t)
	return nil
}

// repeatable says why a run of the new side can't be repeated by this program on this machine and compared with the old side.
func (f *compareFlags) repeatable(env Env, old []results.Record, r results.Record) error {
	run, err := suite.Build(r.Spec)
	if err != nil {
		return usage(err)
	}
	if err := f.runner.Preflight(env.host(), []*suite.Run{run}); err != nil {
		return usage(err)
	}
	here, err := run.Environment(env.host())
	if err != nil {
		return err
	}
	return compare.Repeatable(here, old, r)
}

package remeasure

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

// Confirmation measures the flagged cells of a comparison again.
type Confirmation struct {
	Measurer
	Old     string // program or git revision of the old side; empty: built of the commit that the old records name
	Repeats int    // of each flagged measurement at most, if the new side alone is measured
	// Sweep runs the new side alone.
	Sweep func(ctx context.Context, r suite.Runner, specs []results.Spec) ([]results.Record, error)
}

// Confirm measures the flagged measurements again, with seeds that neither side has, and judges their cells by these runs: old
// and new in turns if the old program is at hand, and else the new one alone. What can't be measured here is logged and keeps
// its verdict.
func (m Confirmation) Confirm(ctx context.Context, c *compare.Comparison, old, new []results.Record, t compare.Thresholds) error {
	if len(c.Flagged()) == 0 {
		return nil
	}
	folder, err := os.MkdirTemp("", "benchctl-programs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	program, err := m.oldProgram(ctx, old, new, folder)
	switch {
	case err == nil:
		return m.bothSides(ctx, c, program, old, new, t)
	case ctx.Err() != nil:
		return &suite.InterruptedError{Left: "nothing was measured"}
	case m.Old != "":
		return fmt.Errorf("--old: %w", err)
	}
	fmt.Fprintf(m.Log, "confirm: only the new program is measured, so a machine that changed since the old records were made looks "+
		"like a program that changed: %s; --old PROGRAM measures both in turns\n", printable.Line(err.Error()))
	return m.newSide(ctx, c, old, new, t)
}

// oldProgram is the program of the old side: the one that is named, or one built of the commit that the records name.
func (m Confirmation) oldProgram(ctx context.Context, old, new []results.Record, folder string) (string, error) {
	if m.Old != "" {
		return m.Build.FindProgram(ctx, m.Old, folder)
	}
	named, same, err := compare.OldCommit(old, new)
	switch {
	case err != nil:
		return "", err
	case same:
		return m.Turns.Command[0], nil
	}
	commit, err := git.Resolve(named)
	if err != nil {
		return "", fmt.Errorf("commit %s of the old records is not in a git repository here", git.Short(named))
	}
	return m.Build.Program(ctx, commit, folder)
}

// bothSides is Confirm with the old program.
func (m Confirmation) bothSides(ctx context.Context, c *compare.Comparison, program string,
	old, new []results.Record, t compare.Thresholds) error {
	flagged := map[string]bool{}
	for _, cell := range c.Flagged() {
		flagged[cell.Run] = true
	}
	// Both sides are measured here: that the old records are of another machine does not matter.
	specs := m.again(nil, new, func(id string) bool { return flagged[id] }, func(s results.Spec) []results.Spec {
		return []results.Spec{s}
	})
	if len(specs) == 0 {
		return nil
	}
	fmt.Fprintf(m.Log, "confirm: %s, old and new in turns\n", english.Plural(len(c.Flagged()), "flagged cell", ""))
	last := compare.LastSeed(slices.Concat(old, new)...)
	pairs, err := m.inTurns(ctx, specs, last+1, program, m.Turns.Command[0])
	if err != nil {
		return err
	}
	c.ConfirmPaired(pairs, t)
	return nil
}

// newSide is Confirm of the new side alone. There are as many runs as the old side has, at least as many as a verdict takes,
// and at most Repeats.
func (m Confirmation) newSide(ctx context.Context, c *compare.Comparison, old, new []results.Record, t compare.Thresholds) error {
	runs, tooFew, need := c.Repeats(m.Repeats)
	for _, cell := range tooFew {
		fmt.Fprintf(m.Log, "confirm: %s of %s: new runs would not help: the old side has %s, but %d are needed\n",
			cell.Metric, cell.Run, english.Plural(cell.OldN, "repetition", ""), need)
	}
	last := compare.LastSeed(slices.Concat(old, new)...)
	specs := m.again(old, new, func(id string) bool { return runs[id] > 0 }, func(s results.Spec) []results.Spec {
		return compare.Again(s, runs[results.ExperimentID(s)], last)
	})
	if len(specs) == 0 {
		return nil
	}
	compare.Rounds(specs)
	fmt.Fprintf(m.Log, "confirm: %s, %s\n", english.Plural(len(c.Flagged()), "flagged cell", ""),
		english.Plural(len(specs), "new run", ""))
	fresh, err := m.Sweep(ctx, m.Turns.Runner, specs)
	if ctx.Err() != nil {
		return &suite.InterruptedError{Left: "the runs that are done are in " + m.Turns.Out}
	}
	var failed *suite.SweepError
	if errors.As(err, &failed) && failed.Cause == nil { // the other runs count
		fmt.Fprintln(m.Log, suite.MessagePrefix+"confirm: "+err.Error())
		err = nil
	}
	if err != nil {
		return err
	}
	c.Confirm(old, fresh, t)
	return nil
}

// again returns the specs by which the chosen measurements of the new side are measured again. One that can't be measured
// here, and compared with the old records, is logged and left out.
func (m Confirmation) again(old, new []results.Record, chosen func(id string) bool,
	specsOf func(results.Spec) []results.Spec) (specs []results.Spec) {
	for _, r := range compare.Newest(new) {
		id := results.ExperimentID(r.Spec)
		if !chosen(id) {
			continue
		}
		if err := m.repeatable(old, r); err != nil {
			fmt.Fprintf(m.Log, suite.MessagePrefix+"confirm: %s can't be measured again here: %s\n", id, printable.Line(err.Error()))
			continue
		}
		specs = append(specs, specsOf(r.Spec)...)
	}
	return specs
}

// repeatable says why a run of the new side can't be repeated by this program on this machine and compared with the old side.
func (m Confirmation) repeatable(old []results.Record, r results.Record) error {
	run, err := suite.Build(r.Spec)
	if err != nil {
		return err
	}
	runner := m.Turns.Runner
	runner.Init = ""
	if err := runner.Preflight(m.Host, []*suite.Run{run}); err != nil {
		return err
	}
	here, err := run.Environment(m.Host)
	if err != nil {
		return err
	}
	return compare.Repeatable(here, old, r)
}

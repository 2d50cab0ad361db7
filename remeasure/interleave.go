// Package remeasure measures programs for a comparison: an old and a new one in turns, or the noisy cells of a comparison
// again, by runs that decide about them.
package remeasure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/git"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// Measurer measures two programs.
type Measurer struct {
	Turns suite.Turns // the command of its Runner is that of this program
	Host  suite.Host
	Build git.Build // of programs that are git revisions
	Log   io.Writer // is told what is measured
}

// Interleave measures the runs by two programs in turns. Each is the file of a program or a git revision.
func (m Measurer) Interleave(ctx context.Context, runs []*suite.Run, old, new string) ([]compare.Pair, error) {
	for _, side := range []string{"old", "new"} {
		if files, err := os.ReadDir(filepath.Join(m.Turns.Out, side)); err == nil && len(files) > 0 {
			return nil, fmt.Errorf("--out %s: has runs of an earlier comparison; give another folder or remove it", m.Turns.Out)
		}
	}
	if err := m.Turns.Preflight(m.Host, runs); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "benchctl-programs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	if old, err = m.Build.FindProgram(ctx, old, folder); err != nil {
		return nil, fmt.Errorf("OLD: %w", err)
	}
	if new, err = m.Build.FindProgram(ctx, new, folder); err != nil {
		return nil, fmt.Errorf("NEW: %w", err)
	}
	return m.inTurns(ctx, suite.Specs(runs), 1, old, new)
}

// inTurns measures specs by two programs, with seeds from first on.
func (m Measurer) inTurns(ctx context.Context, specs []results.Spec, first uint64, old, new string) ([]compare.Pair, error) {
	t := m.Turns
	fmt.Fprintf(m.Log, "interleave: %s, %s of %s each: %s in %s\n", english.Plural(len(specs), "measurement", ""),
		english.Plural(t.Pairs, "pair", ""), english.Plural(t.Turns, "turn", ""), english.Plural(t.Runs(len(specs)), "run", ""), t.Out)
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

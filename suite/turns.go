package suite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"github.com/localbench/localbench/results"
)

// Turns is how two programs are measured in turns: in each pair both run as often, in random order, each run a process of its
// own.
type Turns struct {
	Runner       // of both sides, apart from the program; the records lie in folders below Out
	Pairs, Turns int
	Order        uint64         // seed of the random order
	Done         func(pair int) // is told of each pair that is done, from 1; may be nil
}

// SideError says that a run of one of two programs failed.
type SideError struct {
	Side   string         // old or new
	Status results.Status // of the run; empty: it could not even be recorded
	Err    error
}

// Error names the program.
func (e *SideError) Error() string {
	if e.Status == "" {
		return fmt.Sprintf("%s: %v", e.Side, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.Side, e.Status, e.Err)
}

// Unwrap leads to the cause.
func (e *SideError) Unwrap() error { return e.Err }

// Runs is the number of runs that Measure starts for the given number of specs.
func (t Turns) Runs(specs int) int { return specs * t.Pairs * t.Turns * 2 }

// Measure runs every spec in turns and returns the pairs. Both programs run the same seeds, from first on, t.Turns of them a
// pair; their records lie in the folders old and new below t.Out. The first run that fails ends it, with a *SideError: a pair
// without one side says nothing.
func (t Turns) Measure(ctx context.Context, specs []results.Spec, first uint64, old, new string) ([]results.Pair, error) {
	random := rand.New(rand.NewPCG(t.Order, 0))
	pairs := make([]results.Pair, t.Pairs)
	for k := range pairs {
		for _, i := range random.Perm(len(specs)) {
			p, err := t.pair(ctx, specs[i], first+uint64(k*t.Turns), random, old, new)
			if err != nil {
				return nil, err
			}
			pairs[k].Old, pairs[k].New = append(pairs[k].Old, p.Old...), append(pairs[k].New, p.New...)
		}
		if t.Done != nil {
			t.Done(k + 1)
		}
	}
	return pairs, nil
}

// pair measures one pair of one measurement.
func (t Turns) pair(ctx context.Context, spec results.Spec, first uint64, random *rand.Rand,
	old, new string) (p results.Pair, err error) {
	for _, slot := range random.Perm(2 * t.Turns) {
		program, side, records := old, "old", &p.Old
		if slot >= t.Turns {
			program, side, records = new, "new", &p.New
		}
		spec.Seed = first + uint64(len(*records))
		runner := t.Runner
		runner.Command, runner.Out = []string{program, "execute"}, filepath.Join(t.Out, side)
		one, err := runner.Sweep(ctx, []results.Spec{spec})
		side += " program " + program
		switch {
		case ctx.Err() != nil:
			return p, ctx.Err()
		case err != nil:
			return p, &SideError{side, "", err}
		case one[0].Status != results.StatusDone:
			return p, &SideError{side, one[0].Status, fmt.Errorf("%s", one[0].Error)}
		}
		*records = append(*records, one...)
	}
	return p, nil
}

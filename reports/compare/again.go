package compare

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/localbench/localbench/results"
)

// Newest is the last finished run of each experiment, in the order of their ids.
func Newest(records []results.Record) (out []results.Record) {
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b results.Record) int {
		return cmp.Or(strings.Compare(results.ExperimentID(a.Spec), results.ExperimentID(b.Spec)), b.Started.Compare(a.Started))
	})
	for _, r := range records {
		if r.Status == results.StatusDone &&
			(len(out) == 0 || results.ExperimentID(out[len(out)-1].Spec) != results.ExperimentID(r.Spec)) {
			out = append(out, r)
		}
	}
	return out
}

// LastSeed is the largest seed of records.
func LastSeed(records ...results.Record) (last uint64) {
	for _, r := range records {
		last = max(last, r.Spec.Seed)
	}
	return last
}

// Repeats is the number of new runs for each experiment that has flagged cells, by id, if the new side alone is measured: as
// many as the old side has, at least as many as a verdict takes, and at most most. tooFew are the cells whose old side has
// too few repetitions for new runs to change anything; need is the number that it takes.
func (c Comparison) Repeats(most int) (runs map[string]int, tooFew []Cell, need int) {
	flagged := c.Flagged()
	need = Repetitions(len(flagged))
	runs = map[string]int{}
	for _, cell := range flagged {
		if cell.OldN < need {
			tooFew = append(tooFew, cell)
			continue
		}
		runs[cell.Run] = min(max(runs[cell.Run], need, cell.OldN), most)
	}
	return runs, tooFew, need
}

// Again returns n specs of an experiment with the seeds after last.
func Again(s results.Spec, count int, last uint64) (specs []results.Spec) {
	for i := range count {
		s.Seed = last + 1 + uint64(i)
		specs = append(specs, s)
	}
	return specs
}

// Rounds sorts specs by their seeds, so that each round goes over all experiments, and a machine that becomes slower does so
// for all of them.
func Rounds(specs []results.Spec) {
	slices.SortStableFunc(specs, func(a, b results.Spec) int { return cmp.Compare(a.Seed, b.Seed) })
}

// Repeatable says why the run of a new record can't be repeated in an environment and compared with the old side: the machine
// is not that of the old records, or the program not that of the new one.
func Repeatable(here results.Environment, old []results.Record, r results.Record) error {
	for _, before := range old {
		if results.ExperimentID(before.Spec) != results.ExperimentID(r.Spec) {
			continue
		}
		if differ := Timing(before, results.Record{Spec: r.Spec, Environment: here}); len(differ) > 0 {
			return fmt.Errorf("this machine or its libraries are not those of the old records: %s", strings.Join(differ, ", "))
		}
	}
	if e := r.Environment; e.Commit != here.Commit || e.Version != here.Version {
		return fmt.Errorf("this program (commit %q, version %q) differs from that of the new records (%q, %q)", here.Commit,
			here.Version, e.Commit, e.Version)
	}
	return nil
}

// OldCommit is the commit of the program of the old records. same reports that the new records are of the same program. An
// error says why the program can't be told.
func OldCommit(old, new []results.Record) (commit string, same bool, err error) {
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
		return "", false, fmt.Errorf("the old records are of %d programs", len(programs))
	case e.Commit == "":
		return "", false, errors.New("the old records name no commit")
	case strings.HasSuffix(e.Version, results.WithLocalChanges):
		return "", false, fmt.Errorf("the old records are of commit %s with local changes", e.Commit[:min(len(e.Commit), 10)])
	}
	return e.Commit, slices.Equal(programs, of(new)), nil
}

// Package gate checks baselines of planned memory: it compares the records in their files with what is planned now, to the
// byte. How a run is planned is a function that it is given.
package gate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/localbench/localbench/git"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/baseline"
)

// OtherLibraryError says that a plan depends on a library, or a processor, that differs here.
type OtherLibraryError struct {
	Path string // of the plan
	What string // differs: "planned with …"
}

// Error names the file and what differs.
func (e *OtherLibraryError) Error() string {
	return fmt.Sprintf("%s: cannot be compared here: %s", e.Path, e.What)
}

// FailedError says that a check failed.
type FailedError struct{ Text string }

// Error says which, and why.
func (e *FailedError) Error() string { return e.Text }

// Gate is what a check needs.
type Gate struct {
	// Plan returns the records that a baseline should have: of its stored flags, or of the built-in grid if they are nil.
	Plan func(path string, flags []string) ([]results.Record, error)
	// Absent reports whether an error of Plan says that this machine lacks what the plans for a GPU need.
	Absent func(error) bool
	// Explain plans the old side again, with details; nil: changes are not explained.
	Explain func(path string, flags []string) ([]results.Record, error)
	Warn    func(text string)
}

// Checked is a baseline that was checked.
type Checked struct {
	Path    string
	Runs    int                 // that were planned
	Skipped bool                // it is for a GPU that can't be planned for here, which Err says
	Changes *compare.Comparison // nil if it was not compared
	Err     error               // *FailedError, or why it was not compared; nil if nothing has changed
}

// Check checks the named baselines, or, without names, all of planned memory in baseline.Dir.
func (g Gate) Check(names []string) (all []Checked, err error) {
	var paths []string
	for _, name := range names {
		paths = append(paths, baseline.File(name))
	}
	if len(names) == 0 {
		if paths, err = baseline.Files(); err != nil {
			return nil, err
		}
	}
	for _, path := range paths {
		old, flags, err := baseline.Read(path)
		gpu, builtIn := baseline.GPU(path)
		if err == nil && !builtIn && flags == nil {
			if len(names) == 0 {
				continue // measured records
			}
			err = &baseline.UnreadableError{Err: fmt.Errorf("baseline check: %s has measured records, not planned memory: "+
				"`benchctl compare --baseline %s NEW` compares with it", path, path)}
		}
		one := Checked{Path: path, Err: err}
		if err == nil {
			one = g.compare(path, old, flags)
		}
		if len(names) == 0 && builtIn && gpu != "" && one.Err != nil {
			one.Skipped = errors.As(one.Err, new(*OtherLibraryError)) || g.Absent(one.Err)
		}
		all = append(all, one)
	}
	if !slices.ContainsFunc(all, func(c Checked) bool { return !c.Skipped }) {
		return all, &baseline.MissingError{Path: filepath.Join(baseline.Dir, baseline.Planned+".json")}
	}
	return all, nil
}

// Update writes a baseline and returns the number of its records: those in from, if that is not empty, or else planned ones, of
// the flags if plan is set, or of the built-in grid. Without details the bytes by module and the largest tensors are left out.
func (g Gate) Update(path, from string, plan, details bool, flags []string) (count int, err error) {
	_, builtIn := baseline.GPU(path)
	var records []results.Record
	switch {
	case from != "":
		if records, err = baseline.ReadRecords(from); err != nil {
			return 0, fmt.Errorf("--from: %w", err)
		}
	case !plan && !builtIn:
		return 0, fmt.Errorf("baseline update %s: --from or --plan is missing; only %s and %s-GPU have a built-in grid", path,
			baseline.Planned, baseline.Planned)
	default:
		if records, err = g.Plan(path, flags); err != nil {
			return 0, err
		}
	}
	for i := range records {
		if !details {
			results.Brief(&records[i])
		}
	}
	return len(records), results.WriteCollection(path, flags, records)
}

// Worst is the error that a gate should end with: a baseline that could not be checked before one that changed.
func Worst(all []Checked) (worst error) {
	for _, c := range all {
		var changed *FailedError
		if c.Err != nil && !c.Skipped && (worst == nil || errors.As(worst, &changed)) {
			worst = c.Err
		}
	}
	return worst
}

// compare plans a baseline again and compares.
func (g Gate) compare(path string, old []results.Record, flags []string) Checked {
	fail := func(err error) Checked { return Checked{Path: path, Err: err} }
	now, err := g.Plan(path, flags)
	if err != nil {
		return fail(err)
	}
	if differ := compare.OtherPlanner(old[0].Environment, now[0].Environment); len(differ) > 0 {
		return fail(&OtherLibraryError{"baseline check: " + path, "planned with " + strings.Join(differ, ", ")})
	}
	c := compare.Run(old, now, compare.Defaults())
	checked := Checked{Path: path, Runs: len(now), Changes: &c}
	if c.Unchanged() {
		return checked
	}
	checked.Err = &FailedError{fmt.Sprintf("baseline: planned memory has changed: %s; if that is intended, `%s` accepts it",
		c.PlannedSentence(), baseline.UpdateLine(path, flags))}
	if g.Explain == nil {
		return checked
	}
	before, err := g.Explain(path, flags)
	if err != nil {
		return fail(fmt.Errorf("--explain: %w", err))
	}
	if !compare.Run(old, before, compare.Defaults()).Unchanged() {
		g.Warn(path + ": the old program plans other figures than the file holds; the explanation is of its figures")
	}
	// If both programs plan the same it is the file that differs from them.
	if explained := compare.Run(before, now, compare.Defaults()); !explained.Unchanged() {
		checked.Changes = &explained
	}
	return checked
}

// OldPlan plans a baseline by an old program, the file of one or a git revision, with the details that tell modules and
// tensors. A program from before baselines left them out keeps them without being asked.
func OldPlan(ctx context.Context, build git.Build, program, path string, flags []string) ([]results.Record, error) {
	folder, err := os.MkdirTemp("", "benchctl-explain-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	if program, err = build.FindProgram(ctx, program, folder); err != nil {
		return nil, err
	}
	file, args := "old.json", append([]string{"baseline", "update", "old.json", "--plan"}, flags...)
	if flags == nil {
		name, _ := baseline.Name(path)
		file, args = path, []string{"baseline", "update", name}
	}
	var text []byte
	for _, more := range [][]string{{"--details"}, nil} {
		command := exec.CommandContext(ctx, program, append(slices.Clone(args), more...)...)
		command.Dir = folder
		if text, err = command.CombinedOutput(); err == nil {
			records, _, err := baseline.Read(filepath.Join(folder, file))
			return records, err
		}
	}
	return nil, fmt.Errorf("%s can't plan %s: %s", program, path, printable.Line(git.LastLines(string(text), 2)))
}

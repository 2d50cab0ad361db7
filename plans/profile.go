package plans

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/localbench/localbench/reports/gate"
	"github.com/localbench/localbench/reports/planned"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// Profile says how runs are profiled.
type Profile struct {
	Host      suite.Host
	Runner    suite.Runner
	Steps     int     // that are timed
	Tolerance float64 // percent by which the arena's resident memory may differ from the plan
	Keep      bool    // profiles in the runner's folder; those that are there are not measured again
	Export    string  // folder of timelines; empty: none is written
	Next      func(run int, s results.Spec)
}

// Profiled is what was found.
type Profiled struct {
	Answer
	Runs  int   // that were profiled
	Ended error // why not all were; nil if they were
}

// Run profiles runs, each in a process of its own. The verdict is that of the plans; it fails if one is violated.
func (p Profile) Run(ctx context.Context, runs []*suite.Run) (found Profiled, err error) {
	compiled := make([]*suite.Compiled, len(runs))
	for _, r := range runs {
		if err := checkProfiled(r); err != nil {
			return found, err
		}
	}
	for i, r := range runs {
		if compiled[i], err = r.CompileHere(p.Host); err != nil {
			return found, fmt.Errorf("%s: %w", r.ID(), err)
		}
	}
	all, kept, ended := p.profile(ctx, runs, compiled)
	found.Runs, found.Ended = len(all), ended
	for _, one := range all {
		tables, faults := one.Tables()
		found.Tables = append(found.Tables, tables...)
		if len(faults) > 0 && found.Verdict == nil {
			found.Verdict = &gate.FailedError{Text: "profile: the plan does not hold: " + faults[0]}
		}
	}
	if p.Export != "" && len(all) > 0 {
		found.Plots, err = export(p.Export, kept, all)
	}
	return found, err
}

// profile profiles runs until the context is cancelled. kept are those whose process did not fail.
func (p Profile) profile(ctx context.Context, runs []*suite.Run, compiled []*suite.Compiled) (
	all []planned.Profiled, kept []*suite.Compiled, ended error) {
	var cause error // of the first failed run
	failed := 0
	for i, run := range runs {
		p.Next(i, run.Spec)
		one, err := p.one(ctx, run)
		if ctx.Err() != nil {
			return all, kept, &suite.InterruptedError{Left: fmt.Sprintf("%d of %d runs were profiled", len(all), len(runs))}
		}
		if err != nil {
			failed, cause = failed+1, cmp.Or(cause, err)
			ended = &suite.SweepError{Failed: failed, Total: len(runs), Cause: cause}
			continue
		}
		one.Plan = compiled[i].Plan()
		all, kept = append(all, one), append(kept, compiled[i])
	}
	return all, kept, ended
}

// unlimited is the spec of a run without the limit of workspaces.
func unlimited(run *suite.Run) results.Spec {
	settings := run.Settings
	settings.WorkspaceLimit = 0
	return run.Spec.WithSettings(settings)
}

// Cells are the runs to profile: those of a request, and those that they are compared with.
func (p Profile) Cells(runs []*suite.Run) ([]*suite.Run, error) {
	all := slices.Clone(runs)
	for _, r := range runs {
		if err := checkProfiled(r); err != nil {
			return nil, err
		}
		if r.Settings.WorkspaceLimit > 0 {
			other, err := suite.Build(unlimited(r))
			if err != nil {
				return nil, err
			}
			all = append(all, other)
		}
	}
	return all, nil
}

// checkProfiled returns an error for a run that can't be profiled.
func checkProfiled(r *suite.Run) error {
	if err := r.CheckRunnable(); err != nil {
		return err
	}
	if r.Spec.Backend == "reference" {
		return errors.New("--backend reference: must be cpu or cuda: the reference has no arena to measure")
	}
	return nil
}

// one profiles a run, and again without the limit of workspaces if it has one.
func (p Profile) one(ctx context.Context, run *suite.Run) (planned.Profiled, error) {
	one := planned.Profiled{Tolerance: p.Tolerance, PageBytes: int64(os.Getpagesize())}
	measure := p.Runner.Profile
	if p.Keep {
		measure = p.Runner.KeptProfile
	}
	found, err := measure(ctx, run.Spec, p.Steps)
	if err != nil {
		return one, err
	}
	one.Found = *found
	if run.Settings.WorkspaceLimit > 0 {
		one.Unlimited, err = measure(ctx, unlimited(run), p.Steps)
	}
	return one, err
}

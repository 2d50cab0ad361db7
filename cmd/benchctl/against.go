package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/git"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/reports/diff"
	"github.com/localbench/localbench/reports/gate"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/baseline"
	"github.com/localbench/localbench/suite"
)

// runAgainst plans the runs of a request and compares each with the old side. limit is the growth that is accepted; nil: any.
func (f *planFlags) runAgainst(env Env, request suite.Request, format *output) error {
	old, remove, err := oldSide(f.against)
	if err != nil {
		return usage(fmt.Errorf("--against %s: %w", f.against, err))
	}
	defer remove()
	label := func(s results.Spec) string {
		network := s.Network
		if network == old {
			network = f.against
		}
		return fmt.Sprintf("%s %s b%d", network, s.Method, s.Batch)
	}
	var diffs []diff.Diff
	a := answer{precision: request.Precision}
	if strings.HasSuffix(old, ".json") {
		diffs, err = f.againstRecords(env, request, old, label)
	} else {
		diffs, err = f.againstRuns(env, request, old, &a, label)
	}
	if err != nil {
		return usage(err)
	}
	a.tables = diff.Tables(diffs, f.forPeople)
	var verdict error
	if f.limit != nil {
		beyond, err := f.limit.Check(diffs)
		switch {
		case err != nil:
			verdict = &baseline.UnreadableError{Err: err}
		case beyond != "":
			verdict = &verdictError{fmt.Sprintf("plan: beyond the limit of %s: %s", f.limit, beyond)}
		}
	}
	if err := env.emit(format, a, verdict); err != nil {
		return err
	}
	return verdict
}

// oldSide is the network, method or file that is compared with. A file of a git revision, REVISION:PATH, is written to a
// temporary file, which remove removes.
func oldSide(name string) (old string, remove func(), err error) {
	remove = func() {}
	revision, path, ok := strings.Cut(name, ":")
	file := slices.Contains([]string{".json", ".pt2"}, filepath.Ext(name))
	if _, err := os.Stat(name); err == nil || !ok || !file || revision == "" || path == "" {
		return name, remove, nil
	}
	text, err := git.Show(name)
	if err != nil {
		return "", remove, err
	}
	folder, err := os.MkdirTemp("", "benchctl-against-")
	if err != nil {
		return "", remove, err
	}
	old = filepath.Join(folder, filepath.Base(path))
	return old, func() { _ = os.RemoveAll(folder) }, os.WriteFile(old, text, 0o600)
}

// againstRuns compares with another network or method.
func (f *planFlags) againstRuns(env Env, request suite.Request, old string, a *answer, label func(results.Spec) string) (
	diffs []diff.Diff, err error) {
	if f.policy != policyEager && f.gpu != "" && (request.Backend == "" || request.Backend == "auto") {
		request.Backend = "cuda"
	}
	pairs, err := request.Against(old)
	if err != nil {
		return nil, err
	}
	a.backend = pairs[0].New.Spec.Backend
	if f.policy == policyEager {
		for _, p := range pairs {
			before, err := p.Old.EagerPlan()
			if err != nil {
				return nil, err
			}
			after, err := p.New.EagerPlan()
			if err != nil {
				return nil, err
			}
			diffs = append(diffs, diff.Eager(
				diff.Side{Label: label(before.Spec), Plan: before}, diff.Side{Label: label(after.Spec), Plan: after}))
		}
		return diffs, nil
	}
	_, err = onDevice(env.host(), pairs[0].New, f.gpu, func(d engine.Device, gpu string) ([]table.Table, error) {
		a.gpu = gpu
		for _, p := range pairs {
			plans, _, err := suite.Plans(d, []*suite.Run{p.Old, p.New}, f.job)
			if err != nil {
				return nil, err
			}
			diffs = append(diffs, diff.Planned(diff.Side{Label: label(plans[0].Spec), Plan: plans[0]},
				diff.Side{Label: label(plans[1].Spec), Plan: plans[1]}))
		}
		return nil, nil
	})
	return diffs, err
}

// againstRecords compares with the records of a file.
func (f *planFlags) againstRecords(env Env, request suite.Request, path string, label func(results.Spec) string) (
	diffs []diff.Diff, err error) {
	old, _, err := baseline.Read(path)
	if err != nil {
		return nil, err
	}
	if f.policy != policyEager {
		if request, err = request.OnBackend(old); err != nil {
			return nil, &baseline.UnreadableError{Err: fmt.Errorf("--against %s: %w", f.against, err)}
		}
	}
	records, err := request.Plan(env.host(), f.gpu)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		before, err := diff.Find(old, r)
		if err != nil {
			return nil, &baseline.UnreadableError{Err: fmt.Errorf("--against %s: %w", f.against, err)}
		}
		sides := [2]diff.Side{{Label: f.against, Plan: results.Plan{Spec: before.Spec, Memory: before.Memory}},
			{Label: label(r.Spec), Plan: results.Plan{Spec: r.Spec, Memory: r.Memory}}}
		if f.policy == policyEager {
			diffs = append(diffs, diff.Eager(sides[0], sides[1]))
			continue
		}
		if differ := compare.OtherPlanner(before.Environment, r.Environment); len(differ) > 0 {
			return nil, &gate.OtherLibraryError{Path: "--against " + f.against, What: "planned with " + strings.Join(differ, ", ")}
		}
		diffs = append(diffs, diff.Planned(sides[0], sides[1]))
	}
	return diffs, nil
}

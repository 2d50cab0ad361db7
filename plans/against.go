package plans

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

// against plans the runs of a request and compares each with the old side.
func (o *Options) against(request suite.Request) (a Answer, err error) {
	old, remove, err := oldSide(o.Against)
	if err != nil {
		return a, fmt.Errorf("--against %s: %w", o.Against, err)
	}
	defer remove()
	label := func(s results.Spec) string {
		network := s.Network
		if network == old {
			network = o.Against
		}
		return fmt.Sprintf("%s %s b%d", network, s.Method, s.Batch)
	}
	var diffs []diff.Diff
	a.Precision = request.Precision
	if strings.HasSuffix(old, ".json") {
		diffs, err = o.againstRecords(request, old, label)
	} else {
		diffs, err = o.againstRuns(request, old, &a, label)
	}
	if err != nil {
		return a, err
	}
	a.Tables = diff.Tables(diffs, !o.Whole)
	if o.Limit != nil {
		beyond, err := o.Limit.Check(diffs)
		switch {
		case err != nil:
			a.Verdict = &baseline.UnreadableError{Err: err}
		case beyond != "":
			a.Verdict = &gate.FailedError{Text: fmt.Sprintf("plan: beyond the limit of %s: %s", o.Limit, beyond)}
		}
	}
	return a, nil
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
func (o *Options) againstRuns(request suite.Request, old string, a *Answer, label func(results.Spec) string) (
	diffs []diff.Diff, err error) {
	if o.Policy != PolicyEager && o.GPU != "" && (request.Backend == "" || request.Backend == "auto") {
		request.Backend = "cuda"
	}
	pairs, err := request.Against(old)
	if err != nil {
		return nil, err
	}
	a.Backend = pairs[0].New.Spec.Backend
	if o.Policy == PolicyEager {
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
	_, err = OnDevice(o.Host, pairs[0].New, o.GPU, func(d engine.Device, gpu string) ([]table.Table, error) {
		a.GPU = gpu
		for _, p := range pairs {
			plans, _, err := suite.Plans(d, []*suite.Run{p.Old, p.New}, o.Job)
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
func (o *Options) againstRecords(request suite.Request, path string, label func(results.Spec) string) (
	diffs []diff.Diff, err error) {
	old, _, err := baseline.Read(path)
	if err != nil {
		return nil, err
	}
	if o.Policy != PolicyEager {
		if request, err = request.OnBackend(old); err != nil {
			return nil, &baseline.UnreadableError{Err: fmt.Errorf("--against %s: %w", o.Against, err)}
		}
	}
	records, err := request.Plan(o.Host, o.GPU)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		before, err := diff.Find(old, r)
		if err != nil {
			return nil, &baseline.UnreadableError{Err: fmt.Errorf("--against %s: %w", o.Against, err)}
		}
		sides := [2]diff.Side{{Label: o.Against, Plan: results.Plan{Spec: before.Spec, Memory: before.Memory}},
			{Label: label(r.Spec), Plan: results.Plan{Spec: r.Spec, Memory: r.Memory}}}
		if o.Policy == PolicyEager {
			diffs = append(diffs, diff.Eager(sides[0], sides[1]))
			continue
		}
		if differ := compare.OtherPlanner(before.Environment, r.Environment); len(differ) > 0 {
			return nil, &gate.OtherLibraryError{Path: "--against " + o.Against, What: "planned with " + strings.Join(differ, ", ")}
		}
		diffs = append(diffs, diff.Planned(sides[0], sides[1]))
	}
	return diffs, nil
}

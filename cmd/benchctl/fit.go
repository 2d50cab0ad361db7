package main

import (
	"fmt"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/reports/planned"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// fit finds the largest batch of every configuration that fits into bytes. The verdict is an error if none fits for one.
func (f *planFlags) fit(env Env, d engine.Device, runs []*suite.Run, bytes int64) (tables []table.Table, verdict, err error) {
	var all []results.Fit
	var t table.Table
	switch {
	case f.process > 0:
		limit := suite.ProcessLimit(f.processLimit)
		if all, err = f.fitProcesses(env, d, runs, limit); err == nil {
			t = planned.FitProcesses(all, f.process, limit == suite.LimitData)
		}
	case f.policy == policyEager:
		workspace, counted := library(f.gpu), int64(0)
		if workspace != nil {
			counted = *workspace
		}
		if all, err = suite.FitEager(runs, bytes, counted); err == nil {
			t = planned.FitEager(all, bytes, f.gpu, workspace)
		}
	default:
		if all, err = suite.FitArenas(d, runs, f.job, bytes); err == nil {
			t = planned.FitArenas(all, bytes)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if nothing := planned.NothingFits(all); nothing != "" {
		verdict = &verdictError{"no batch fits: " + nothing}
	}
	return []table.Table{t}, verdict, nil
}

// fitProcesses probes runs in processes of their own.
func (f *planFlags) fitProcesses(env Env, d engine.Device, runs []*suite.Run,
	limit suite.ProcessLimit) ([]results.Fit, error) {
	ctx, stop := interrupts(env, "the probe ends")
	defer stop()
	return suite.FitProcesses(d, runs, f.job, f.process, limit, func(s results.Spec) (suite.ProcessMemory, error) {
		if env.IsTTY {
			fmt.Fprintf(env.Stderr, "probe: %s\n", planned.Label(s))
		}
		m, err := suite.StartProbe(ctx, []string{env.Program, "probe"}, suite.Job{Spec: s, DataDir: f.dataDir, JobOptions: f.job})
		if ctx.Err() != nil {
			err = &suite.InterruptedError{Left: "no batch was found"}
		}
		return m, err
	})
}

package plans

import (
	"fmt"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/reports/gate"
	"github.com/localbench/localbench/reports/planned"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// Fit asks for the largest batch of every run.
type Fit struct {
	Budget  int64  // bytes that it has to fit into; 0: see Target
	Target  string // device whose memory it has to fit into; empty: none
	Reserve int64  // bytes of Budget or Target to leave free
	Process int64  // bytes that the process of the run may have; 0: any number
	Limit   suite.ProcessLimit
	// Probe measures the memory of a run's process, for Process.
	Probe func(s results.Spec) (suite.ProcessMemory, error)
}

// bytes is the memory that a batch has to fit into; 0 if Budget and Target ask for nothing.
func (f Fit) bytes(h suite.Host, gpu string) (budget int64, err error) {
	if f.Limit != suite.LimitContainer && f.Limit != suite.LimitData {
		return 0, fmt.Errorf("--process-limit %s: must be %s or %s", f.Limit, suite.LimitContainer, suite.LimitData)
	}
	budget = f.Budget
	if f.Target != "" {
		if budget, err = suite.TargetBytes(h, f.Target, gpu); err != nil {
			return 0, err
		}
	}
	if f.Reserve > 0 && f.Reserve >= budget {
		return 0, fmt.Errorf("--reserve %s: must be less than %s", table.Bytes(f.Reserve), table.Bytes(budget))
	}
	return budget - f.Reserve, nil
}

// fit finds the largest batch of every run. The verdict is an error if none fits for one.
func (o *Options) fit(d engine.Device, runs []*suite.Run, bytes int64) (tables []table.Table, verdict, err error) {
	var all []results.Fit
	var t table.Table
	switch {
	case o.Fit.Process > 0:
		if all, err = suite.FitProcesses(d, runs, o.Job, o.Fit.Process, o.Fit.Limit, o.Fit.Probe); err == nil {
			t = planned.FitProcesses(all, o.Fit.Process, o.Fit.Limit == suite.LimitData)
		}
	case o.Policy == PolicyEager:
		workspace, counted := library(o.GPU), int64(0)
		if workspace != nil {
			counted = *workspace
		}
		if all, err = suite.FitEager(runs, bytes, counted); err == nil {
			t = planned.FitEager(all, bytes, o.GPU, workspace)
		}
	default:
		if all, err = suite.FitArenas(d, runs, o.Job, bytes); err == nil {
			t = planned.FitArenas(all, bytes)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if nothing := planned.NothingFits(all); nothing != "" {
		verdict = &gate.FailedError{Text: "no batch fits: " + nothing}
	}
	return []table.Table{t}, verdict, nil
}

// library is the workspace of cuBLAS on a GPU; nil where it is not known.
func library(gpu string) *int64 {
	if bytes, ok := suite.LibraryBytes(gpu); ok {
		return &bytes
	}
	return nil
}

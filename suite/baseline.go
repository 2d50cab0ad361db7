package suite

import (
	"errors"
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/networks"
)

// BackendNull is a backend that plans and can't run: its ops need no workspace, so a plan on it is the same on
// every machine.
const BackendNull = "null"

// PlannedMemory plans the step of every network under every method for CIFAR-10, as records without a run. Without
// a GPU that is at batch 128, with normalisations stored and with normalisations recomputed, on BackendNull. For a
// GPU it is the networks for images of that size at batch 1024, in tf32 and in bf16, with the convolution engines
// that cuDNN chooses for it: the same on every machine with the same version of cuDNN, which the records name.
func PlannedMemory(h Host, gpu string) ([]results.Record, error) {
	var names, all []string
	for _, m := range methods.List() {
		names = append(names, m.Name)
	}
	for _, n := range networks.List() {
		if gpu == "" || n.Small {
			all = append(all, n.Name)
		}
	}
	request := Request{Methods: names, Networks: all, Datasets: []string{"cifar10"}}
	var requests []Request
	if gpu == "" {
		request.Batches = []int64{128}
		for _, recompute := range []string{RecomputeNone, RecomputeNorm} {
			request.Recompute = recompute
			requests = append(requests, request)
		}
	} else {
		request.Batches, request.Backend = []int64{1024}, backendCUDA
		for _, precision := range []string{PrecisionTF32, PrecisionBF16} {
			request.Precision = precision
			requests = append(requests, request)
		}
	}
	var records []results.Record
	for _, request := range requests {
		planned, err := request.Plan(h, gpu)
		var noBlock *methods.NoBlockError
		for rest := request; errors.As(err, &noBlock); planned, err = request.Plan(h, gpu) { // a network need not support AugLocal
			name := noBlock.Network
			request.Networks = slices.DeleteFunc(slices.Clone(request.Networks), func(n string) bool { return n == name })
			rest.Networks = []string{name}
			rest.Methods = slices.DeleteFunc(slices.Clone(names), func(m string) bool { return m == "auglocal" })
			without, err := rest.Plan(h, gpu)
			if err != nil {
				return nil, err
			}
			records = append(records, without...)
		}
		if err != nil {
			return nil, err
		}
		records = append(records, planned...)
	}
	return records, nil
}

// Plan plans every run of the request, as records without a run. With backend auto that is on BackendNull. gpu is as
// in OpenPlanner. Records planned on a real backend name its libraries, and those of the cpu backend the processor,
// since the workspace of its kernels depends on both.
func (r Request) Plan(h Host, gpu string) ([]results.Record, error) {
	if gpu != "" && (r.Backend == "" || r.Backend == "auto") {
		r.Backend = backendCUDA
	}
	runs, err := r.Build()
	if err != nil {
		return nil, err
	}
	var d engine.Device
	var absent string
	null := r.Backend == "" || r.Backend == "auto"
	if null {
		d, err = engine.Open(BackendNull, engine.Options{})
	} else {
		d, absent, err = runs[0].OpenPlanner(h, gpu)
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	records := make([]results.Record, len(runs))
	for i, run := range runs {
		if null {
			run = run.with(func(s *results.Spec) { s.Backend = BackendNull })
		}
		if records[i], err = run.planRecord(d, absent); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// planRecord plans one run on d. absent is the name of a GPU that d stands for, or empty.
func (r *Run) planRecord(d engine.Device, absent string) (results.Record, error) {
	c, err := r.Compile(d, JobOptions{})
	if err != nil {
		return results.Record{}, fmt.Errorf("%s: %w", r.ID(), err)
	}
	record := results.Record{Spec: r.Spec, Status: results.StatusDone, Model: c.Model, Memory: c.Memory}
	record.Model.Modules = nil // they follow from the spec
	switch e := environment(d); r.Spec.Backend {
	case BackendNull:
	case backendCUDA:
		record.Environment.Libraries = e.Libraries
		if absent != "" {
			record.Environment.Libraries["device"] = absent
		}
	default:
		record.Environment.CPU, record.Environment.Threads, record.Environment.Libraries = e.CPU, e.Threads, e.Libraries
	}
	return record, nil
}

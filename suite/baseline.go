package suite

import (
	"fmt"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/networks"
)

// PlannedMemory plans the step of every network under every method for CIFAR-10, as records
// without a run. Without the name of a GPU that is at batch 128, plain and with recomputed normalisations, on
// a backend without scratch memory: figures that are the same on every machine. For a GPU it
// is the networks for images of that size at batch 1024, in tf32 and in bf16, with the engines that it
// would have: figures that are the same wherever the backend has the same version of cuDNN, which the records name.
func PlannedMemory(gpu string) ([]results.Record, error) {
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
		for _, request.Recompute = range []string{RecomputeNone, RecomputeNorm} {
			requests = append(requests, request)
		}
	} else {
		request.Batches, request.Backend = []int64{1024}, backendCUDA
		for _, request.Precision = range []string{PrecisionTF32, PrecisionBF16} {
			requests = append(requests, request)
		}
	}
	var records []results.Record
	for _, request := range requests {
		specs, err := request.Expand()
		if err != nil {
			return nil, err
		}
		planned, err := plannedRecords(specs, gpu)
		if err != nil {
			return nil, err
		}
		records = append(records, planned...)
	}
	return records, nil
}

// plannedRecords plans specs that differ in nothing that a device is opened with.
func plannedRecords(specs []results.Spec, gpu string) (records []results.Record, err error) {
	var d engine.Device
	var name string
	if gpu == "" {
		d, err = engine.Open("null", engine.Options{})
	} else {
		d, name, err = OpenPlanner(specs[0], gpu)
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	for _, s := range specs {
		if gpu == "" {
			s.Backend = "null"
		}
		c, err := CompileOn(d, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", results.SpecID(s), err)
		}
		r := results.Record{Spec: s, Status: results.StatusDone, Model: c.Model, Memory: c.Memory}
		if gpu != "" {
			r.Environment.Libraries = d.Facts()
			r.Environment.Libraries["device"] = name
		}
		r.Model.Modules = nil // they follow from the rest, and are many
		records = append(records, r)
	}
	return records, nil
}

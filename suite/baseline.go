package suite

import (
	"fmt"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/networks"
)

// PlannedMemory plans the step of every network under every method, plain and with
// recomputed normalisations, for CIFAR-10 at batch 128, on a backend without scratch
// memory: figures that are the same on every machine, as records without a run.
func PlannedMemory() ([]results.Record, error) {
	d, err := engine.Open("null", engine.Options{})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var names, all []string
	for _, m := range methods.List() {
		names = append(names, m.Name)
	}
	for _, n := range networks.List() {
		all = append(all, n.Name)
	}
	var records []results.Record
	for _, recompute := range []string{RecomputeNone, RecomputeNorm} {
		specs, err := Request{Methods: names, Networks: all, Datasets: []string{"cifar10"}, Batches: []int64{128}, Recompute: recompute}.Expand()
		if err != nil {
			return nil, err
		}
		for _, s := range specs {
			s.Backend = "null"
			c, err := CompileOn(d, s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", results.SpecID(s), err)
			}
			r := results.Record{Spec: s, Status: results.StatusDone, Model: c.Model, Memory: c.Memory}
			r.Model.Modules = nil // they follow from the rest, and are many
			records = append(records, r)
		}
	}
	return records, nil
}

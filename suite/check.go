package suite

import (
	"errors"
	"fmt"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/suite/train"
	"github.com/localbench/localbench/suite/weights"
)

// check returns an error for settings that can't be combined with each other or with the method, and with execute also for
// what the backend can plan but not run.
func (r *Run) check(execute bool) error {
	if r.Settings.Store == graph.StoreBF16.String() && r.Spec.Precision == PrecisionBF16 {
		return errors.New("--store bf16 and --precision bf16 can't be combined: activations are bf16 already; int8 and int4 are " +
			"smaller")
	}
	if _, err := fuseNorm(r.Settings.FuseNorm); err != nil {
		return err
	}
	switch n, modules := r.Settings.Overlap, len(r.Stages); {
	case n < 2:
		return nil
	case r.Settings.Budget > 0:
		return fmt.Errorf("--budget can't be combined with --overlap %d: with modules side by side, "+
			"what is alive at a time depends on the device", n)
	case !r.Method.Local():
		return fmt.Errorf("--overlap %d with %s: must be 1: its backward pass needs the whole forward pass; "+
			"local methods gain by it", n, r.Method.Name)
	case n > modules || n > graph.MaxStreams:
		return fmt.Errorf("--overlap %d: must be at most %d: %s has %d modules here", n, min(modules, graph.MaxStreams),
			r.Method.Name, modules)
	case r.Settings.DeferUpdates:
		return fmt.Errorf("--overlap %d can't be combined with --update deferred: a module is in flight until its update", n)
	case execute && r.Spec.Backend != backendCUDA:
		return fmt.Errorf("--overlap %d with --backend %s: the backend runs one op after the other; "+
			"--backend cuda overlaps modules, and `benchctl plan` shows the memory of both", n, r.Spec.Backend)
	}
	return nil
}

// CheckRunnable says why the backend of a run cannot run it, though it can be planned.
func (r *Run) CheckRunnable() error { return r.check(true) }

// CheckLastBatch says why the last batch of an epoch could not be trained on: one sample may be
// too little for batch statistics.
func (r *Run) CheckLastBatch() error {
	batch, samples := r.Spec.Batch, r.samples().train
	if batch > 1 && train.Tail(samples, int(batch)) != 1 {
		return nil
	}
	_, err := core.TrainingStep(r.Stages, r.WithBatch(1).stepOptions())
	if err != nil && batch > 1 {
		return fmt.Errorf("--batch %d leaves 1 of %d samples for the last batch: %w", batch, samples, err)
	}
	return err
}

// CheckInit says whether a file of weights fits the network and the auxiliary
// networks of a run: its error lists every tensor that does not.
func (r *Run) CheckInit(path string) error {
	step, err := core.TrainingStep(r.Stages, r.stepOptions())
	if err != nil {
		return err
	}
	var values []*graph.Value
	for _, v := range step.Graph.Values {
		if v.Category.Persistent() && v.Category != graph.CategoryOptimizer {
			values = append(values, v)
		}
	}
	return weights.CheckModel(path, values)
}

// CheckData opens the data set of the run where it lies in files, which checks that they are there and sound.
func (r *Run) CheckData(dir string) error {
	if r.Dataset.Archive == nil && !r.Dataset.Folder {
		return nil
	}
	_, err := r.openData(dir)
	return err
}

// CheckEager returns an error for an option that changes only the program that benchctl runs: what an eager framework reports
// would be the same without it.
func (r Request) CheckEager() error {
	for _, one := range append([]Request{r}, r.More...) {
		for _, o := range []struct {
			flag  string
			given bool
		}{
			{"--store " + one.Store, one.Store != "" && one.Store != graph.StoreF32.String()},
			{"--fuse-norm " + one.FuseNorm, one.FuseNorm != "" && one.FuseNorm != FuseNone},
			{"--recompute " + one.Recompute, one.Recompute != "" && one.Recompute != RecomputeNone},
			{"--budget", one.Budget > 0},
			{"--overlap", one.Overlap > 1},
			{"--workspace-limit", one.WorkspaceLimit > 0},
		} {
			if o.given {
				return fmt.Errorf("%s and --policy eager can't be combined: an eager framework does without it; leave out "+
					"--policy eager to plan what benchctl runs", o.flag)
			}
		}
	}
	return nil
}

package suite

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/localbench/localbench/core/budget"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/results"
)

// What is planned for a run is what the run records, in every planned field: full and last batches, evaluation with and without
// the auxiliary networks, samples held out.
func TestRunRecordsWhatWasPlanned(t *testing.T) {
	for name, c := range map[string]struct {
		request Request
		job     JobOptions
	}{
		"last batches":   {Request{Methods: []string{"bp"}, TrainLimit: 40, TestLimit: 30}, JobOptions{}},
		"one full batch": {Request{Methods: []string{"auglocal"}, TrainLimit: 24, TestLimit: 5}, JobOptions{}},
		"auxiliary heads": {Request{Methods: []string{"dgl"}, Modules: []int{3}, TrainLimit: 30, TestLimit: 24},
			JobOptions{EvalHeads: true}},
		"held out": {Request{Methods: []string{"checkpoint"}, TrainLimit: 64, TestLimit: 10, ValFraction: 0.25}, JobOptions{}},
		"budget": {Request{Methods: []string{"bp"}, TrainLimit: 40, TestLimit: 30,
			Settings: results.Settings{Budget: 30 << 20}}, JobOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := c.request
			r.Networks, r.Batches, r.Epochs, r.Threads = []string{"resnet20"}, []int64{24}, 1, 1
			runs, err := r.Build()
			if err != nil {
				t.Fatal(err)
			}
			d, err := runs[0].OpenDevice(Host{})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			planned, err := runs[0].Compile(d, c.job)
			if err != nil {
				t.Fatal(err)
			}
			ran, err := Execute(context.Background(), Host{}, Job{Spec: runs[0].Spec, Out: t.TempDir(), JobOptions: c.job}, time.Now, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := ran.Memory
			got.ProcessPeakBytes, got.ProcessBaselineBytes, got.DataBufferBytes, got.TouchedBytes = nil, nil, nil, nil
			if diff := cmp.Diff(planned.Memory, got); diff != "" {
				t.Errorf("planned and recorded (-planned +recorded):\n%s", diff)
			}
			if diff := cmp.Diff(planned.Model, ran.Model); diff != "" {
				t.Errorf("planned and recorded model:\n%s", diff)
			}
		})
	}
}

// greedyEvaluation is the null device with kernels that need a larger workspace in programs without training.
type greedyEvaluation struct{ engine.Device }

func (d greedyEvaluation) Prepare(g *graph.Graph) (engine.Program, error) {
	p, err := d.Device.Prepare(g)
	learns := false
	for _, op := range g.Ops {
		learns = learns || op.Phase == graph.PhaseBackward
	}
	scratch := make([]int64, len(g.Ops))
	if !learns {
		scratch[0] = 1 << 30
	}
	return greedyProgram{p, scratch}, err
}

type greedyProgram struct {
	engine.Program
	scratch []int64
}

func (p greedyProgram) Scratch() []int64 { return p.scratch }

// A budget bounds all that a run allocates. `plan` and `run` refuse the same budgets, with the same error, and accept the same.
func TestPlanAndRunAgreeOnBudgets(t *testing.T) {
	null, err := engine.Open("null", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := greedyEvaluation{null}
	request := Request{Methods: []string{"bp"}, Networks: []string{"resnet20"}, Batches: []int64{8}, TrainLimit: 16, TestLimit: 8}
	runOf := func(budget int64) *Run {
		request.Budget = budget
		runs, err := request.Build()
		if err != nil {
			t.Fatal(err)
		}
		return runs[0]
	}
	free, err := runOf(0).Compile(d, JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	step, arena := *free.Memory.StepArenaBytes, *free.Memory.ArenaBytes
	if step >= 1<<30 || arena <= 1<<30 {
		t.Fatalf("step arena %d, arena %d: want the evaluation to need the more", step, arena)
	}
	for _, limit := range []int64{step, step * 9 / 10, 1 << 30, arena - 1, arena, arena + 1} {
		run := runOf(limit)
		_, planErr := run.Compile(d, JobOptions{})
		data, err := run.openData("")
		if err != nil {
			t.Fatal(err)
		}
		x := &execution{job: Job{Spec: run.Spec}, record: &results.Record{Spec: run.Spec}, now: time.Now, on: func(Event) {}}
		runErr := x.runOn(context.Background(), d, run, data)
		var over *budget.TooSmall
		if limit >= arena {
			// The null device cannot hold an arena: the run got as far as allocating.
			if planErr != nil || runErr == nil || errors.As(runErr, &over) {
				t.Errorf("budget %d of %d: plan: %v, run: %v, want both to accept it", limit, arena, planErr, runErr)
			}
			continue
		}
		if !errors.As(planErr, &over) || runErr == nil || planErr.Error() != runErr.Error() {
			t.Errorf("budget %d of %d: plan: %v, run: %v, want the same refusal", limit, arena, planErr, runErr)
		}
	}
}

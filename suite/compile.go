package suite

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/audit"
	"github.com/localbench/localbench/core/budget"
	"github.com/localbench/localbench/core/eager"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/plan"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/datasets"
	"github.com/localbench/localbench/suite/timeline"
	"github.com/localbench/localbench/suite/train"
)

// Compiled is a run that is planned and not started: nothing is allocated.
type Compiled struct {
	*Run
	Model   results.Model
	Memory  results.Memory
	Step    *core.Step
	Profile *plan.Profile
	// Allocations is everything in the arena, and Kernels and Scratch are the kernel
	// chosen for each op and its workspace in bytes.
	Allocations []plan.Allocation
	Kernels     []string
	Scratch     []int64
	Again       int // results that the backward pass recomputes for the spec's budget
	// UnknownWorkspaces is the number of ops of the training step whose workspace is not known and left out of all figures:
	// on a GPU of which only the name is known, and without the backend's library if the tuning cache does not have
	// them.
	UnknownWorkspaces int
}

// Findings are what breaks the isolation of the modules; there are none if they are proved to be isolated.
func (c *Compiled) Findings() []audit.Finding {
	return audit.Step(c.Step.Graph, c.Allocations, c.Profile.Timeline)
}

// Timeline is the step for exports; seconds are those of each op, or nil.
func (c *Compiled) Timeline(label string, seconds []float64) timeline.Step {
	return timeline.Step{Label: label, Graph: c.Step.Graph, Samples: c.Profile.Timeline,
		Allocations: c.Allocations, ArenaBytes: c.Profile.ArenaBytes, Seconds: seconds}
}

// CompileHere plans the run on a device that is opened for it.
func (r *Run) CompileHere(h Host) (*Compiled, error) {
	d, err := r.OpenDevice(h)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return r.Compile(d, JobOptions{})
}

// OpenDevice opens the device that the run names, with its limits, and with the engines that the
// tuning cache has for it.
func (r *Run) OpenDevice(h Host) (engine.Device, error) {
	o, err := r.deviceOptions(h)
	if err != nil {
		return nil, err
	}
	if o.PlanBook, err = r.book(h); err != nil {
		return nil, err
	}
	return engine.Open(r.Spec.Backend, o)
}

func (r *Run) deviceOptions(h Host) (o engine.Options, err error) {
	o.LibraryDir, o.Own = h.LibraryDir, !h.CUDNNFirst
	o.Threads, o.TF32 = int(r.Spec.Threads), r.Spec.Precision == PrecisionTF32
	o.Deterministic, o.WorkspaceLimit = r.Settings.Deterministic, r.Settings.WorkspaceLimit
	if o.Device, err = strconv.Atoi(cmp.Or(r.Spec.Device, "0")); err != nil {
		return o, fmt.Errorf("--device %q: must be a number", r.Spec.Device)
	}
	return o, nil
}

// Compile plans the run on an open device: the programs that Execute compiles, for as many samples as the data set's card and
// the spec's limits say. Of the job, EvalHeads makes the evaluation larger.
func (r *Run) Compile(d engine.Device, job JobOptions) (*Compiled, error) {
	o, err := r.sessionOptions(d, job, r.samples())
	if err != nil {
		return nil, err
	}
	s, err := train.Compile(d, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := r.checkBudget(s); err != nil {
		return nil, err
	}
	p := s.Training
	sizes := memory(s)
	if err := r.predictEager(&sizes); err != nil {
		return nil, err
	}
	return &Compiled{Run: r, Model: r.describe(s), Memory: sizes, Step: p.Step, Profile: p.Profile,
		Allocations: plan.Allocations(p.Graph, p.Scratch(), p.Layout), Kernels: p.Kernels(), Scratch: p.Scratch(),
		Again: len(o.Step.Recompute), UnknownWorkspaces: unknownWorkspaces(p.Program)}, nil
}

// sessionOptions are the programs that the run needs: training and evaluation, each for full batches and for the last
// one. `plan`, `run` and `profile` get their programs, and so their arena, from here.
func (r *Run) sessionOptions(d engine.Device, job JobOptions, n samples) (train.SessionOptions, error) {
	step, err := r.fittedOptions(d)
	step.Heads = job.EvalHeads
	batch := int(r.Spec.Batch)
	return train.SessionOptions{Stages: r.Stages, Step: step, Evaluation: true,
		TrainTail: train.Tail(n.train, batch), TestTail: train.Tail(n.test, batch), ValTail: train.Tail(n.validation, batch)}, err
}

// checkBudget says why the arena of a session is above the budget of its run, which bounds all that is allocated. The
// training step is within it: budget.Fit ensures that.
func (r *Run) checkBudget(s *train.Session) error {
	limit := r.Settings.Budget
	if arena := s.ArenaBytes(); limit > 0 && arena > limit {
		return &budget.TooSmall{BudgetBytes: limit, LeastBytes: arena, What: "evaluation or the last batch"}
	}
	return nil
}

// PredictEager is what an eager framework would report for the training step of the run, in a program as the setting Eager
// describes it. It needs no device. It is the zero Prediction, and false, in bf16, for which there is no model of the
// framework's own casts.
func (r *Run) PredictEager() (p eager.Prediction, ok bool, err error) {
	g, variant, err := r.eagerProgram()
	if g == nil || err != nil {
		return p, false, err
	}
	return eager.Predict(g, variant), true, nil
}

// eagerProgram is the training step as an eager framework runs it; nil in bf16.
func (r *Run) eagerProgram() (*graph.Graph, eager.Options, error) {
	variant, err := eager.ParseOptions(r.Settings.Eager)
	if err != nil {
		return nil, variant, fmt.Errorf("--eager: %w", err)
	}
	if r.Spec.Precision == PrecisionBF16 {
		return nil, variant, nil
	}
	o := r.stepOptions()
	o.Eager, o.Augment = true, core.Augmentation{} // the loader changes the images
	step, err := core.TrainingStep(r.Stages, o)
	if err != nil {
		return nil, variant, fmt.Errorf("eager: %w", err)
	}
	return step.Graph, variant, nil
}

// EagerPlan is the prediction for an eager framework as plain data: the figures of PredictEager, and what is alive when the most
// is allocated. In bf16, for which there is no prediction, it is an error.
func (r *Run) EagerPlan() (results.Plan, error) {
	p := results.Plan{Spec: r.Spec, Settings: r.Settings, LocalModules: int64(r.ModuleCount())}
	g, variant, err := r.eagerProgram()
	if err != nil {
		return p, err
	}
	if g == nil {
		return p, fmt.Errorf("--policy eager with --precision %s: there is no prediction for it", r.Spec.Precision)
	}
	prediction, alive := eager.Explain(g, variant)
	setEager(&p.Memory, prediction)
	for _, t := range alive {
		p.Alive = append(p.Alive, results.Value{Name: t.Name, Scope: t.Scope, Category: t.Category.String(), Bytes: t.Bytes})
	}
	return p, nil
}

// setEager fills in the predicted figures.
func setEager(m *results.Memory, p eager.Prediction) {
	m.EagerRequestedBytes, m.EagerAllocatedBytes = &p.RequestedBytes, &p.AllocatedBytes
	m.EagerReservedBytes, m.EagerSearchedBytes = &p.ReservedBytes, &p.SearchedBytes
}

// LibraryBytes is what an eager framework gives cuBLAS on a GPU of that name, and counts in max_memory_allocated; the
// figures of PredictEager are without it. It is not known, and not ok, for a GPU that the model does not know.
func LibraryBytes(gpu string) (bytes int64, ok bool) { return eager.BLASWorkspace(gpu) }

// predictEager fills in what an eager framework would report for the step.
func (r *Run) predictEager(m *results.Memory) error {
	p, ok, err := r.PredictEager()
	if err != nil || !ok {
		return err
	}
	setEager(m, p)
	return nil
}

// fittedOptions are stepOptions, with what has to be recomputed for the run's budget.
func (r *Run) fittedOptions(d engine.Device) (core.StepOptions, error) {
	o := r.stepOptions()
	limit := r.Settings.Budget
	if limit == 0 {
		return o, nil
	}
	return budget.Fit(d, r.Stages, o, limit)
}

// stepOptions are the constants of the run's step program.
func (r *Run) stepOptions() core.StepOptions {
	spec, card := r.Spec, r.Dataset.Card
	o := core.StepOptions{Batch: spec.Batch, Image: r.Network.Input, Optimizer: r.optimizer()}
	o.RecomputeNorm, o.DeferUpdates, o.Overlap = r.Settings.RecomputeNorm, r.Settings.DeferUpdates, r.Settings.Overlap
	o.Store = storeFormat(r.Settings.Store)
	o.FuseNorm, _ = fuseNorm(r.Settings.FuseNorm) // checked when the run was built
	if spec.Backend == backendCUDA {
		// The next batch is copied while a step runs, and the GPU changes the images.
		o.KeepInputs = true
		if a := card.Augment; spec.Augment != augmentNone && !a.ResizedCrop { // which the loader does
			o.Augment = core.Augmentation{Pad: int64(a.Pad), Reflect: a.Border == datasets.BorderReflect, Flip: a.Flip}
		}
	}
	o.Dropout = spec.Dropout == DropoutOn
	o.Mixed = spec.Precision == PrecisionBF16
	copy(o.Mean[:], card.Mean)
	copy(o.Deviation[:], card.Std)
	return o
}

// describe counts parameters, modules and FLOPs of a session for training and evaluation.
func (r *Run) describe(s *train.Session) results.Model {
	step, evaluation := s.Training.Step, s.Evaluation.Step
	var network, auxiliary int64
	modules := make([]results.Module, len(r.Stages))
	for i, s := range r.Stages {
		modules[i] = results.Module{Units: int64(len(s.Units)), AuxDepth: int64(s.AuxDepth)}
	}
	for _, v := range step.Graph.Values {
		switch v.Category {
		case graph.CategoryParameter:
			network += v.Shape.Elements()
		case graph.CategoryAuxiliaryParameter:
			auxiliary += v.Shape.Elements()
		default:
			continue
		}
		modules[v.Module].Parameters += v.Shape.Elements()
	}
	forward, all := evaluation.Graph.FLOPs()/r.Spec.Batch, step.Graph.FLOPs()/r.Spec.Batch
	return results.Model{Parameters: &network, AuxiliaryParameters: &auxiliary, Modules: modules, BuiltIn: r.Network.BuiltIn,
		FLOPsPerSample: results.FLOPs{Forward: &forward, Step: &all}}
}

// memory is the planned part of a record: the profile of the training step, and the arena of the whole session.
func memory(s *train.Session) results.Memory {
	p, arena := s.Training.Profile, s.ArenaBytes()
	m := results.Memory{PlannedPeakBytes: &p.PlannedPeakBytes,
		StepArenaBytes: &p.ArenaBytes, ArenaBytes: &arena, LowerBoundBytes: &p.LowerBoundBytes,
		ByCategory: map[string]int64{}, ByPhase: map[string]int64{}, PeakOp: p.PeakOp.String()}
	for phase, bytes := range p.ByPhase {
		m.ByPhase[phase.String()] = bytes
	}
	for c, bytes := range p.ByCategory {
		if bytes > 0 {
			m.ByCategory[graph.Category(c).String()] = bytes
		}
	}
	for _, b := range p.ByModule {
		name := "none"
		if b.Module != graph.NoModule {
			name = fmt.Sprintf("module%d", b.Module)
		}
		m.ByModule = append(m.ByModule, results.ModuleBytes{Module: int64(b.Module), Name: name, Bytes: b.Bytes})
	}
	for _, v := range p.Top {
		m.Top = append(m.Top, results.Value{Name: v.Name, Scope: v.Scope, Category: v.Category.String(), Bytes: v.Bytes})
	}
	return m
}

// SessionOptions are the programs of the run for full training batches only, on a device: what
// a benchmark of the step needs.
func (r *Run) SessionOptions(d engine.Device) (train.SessionOptions, error) {
	step, err := r.fittedOptions(d)
	return train.SessionOptions{Stages: r.Stages, Step: step}, err
}

package suite

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/audit"
	"github.com/localbench/localbench/core/eager"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/core/plan"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/datasets"
	"github.com/localbench/localbench/suite/timeline"
	"github.com/localbench/localbench/suite/train"
	"github.com/localbench/localbench/suite/weights"
)

// built is the network of a spec, cut by its method.
type built struct {
	settings results.Settings
	card     datasets.Card
	network  *model.Network
	stages   []model.Stage
}

// Compiled is a run that is planned and not started: nothing is allocated.
type Compiled struct {
	Spec     results.Spec
	Settings results.Settings // of the spec
	Model    results.Model
	Memory   results.Memory
	Network  *model.Network
	Stages   []model.Stage
	Step     *core.Step
	Profile  *plan.Profile
	// Allocations is everything in the arena, and Kernels and Scratch are the kernel
	// chosen for each op and its scratch memory in bytes.
	Allocations []plan.Allocation
	Kernels     []string
	Scratch     []int64
	Again       int // results that the backward pass recomputes for the spec's budget
	// UnknownWorkspaces is the number of ops of the training step whose workspace is not known and left out of all figures:
	// on a GPU of which nothing but the name is known, and without the backend's library where the plan book does not have
	// them.
	UnknownWorkspaces int
}

// Audit proves the isolation of the modules, or names what breaks it.
func (c *Compiled) Audit() []audit.Finding {
	return audit.Step(c.Step.Graph, c.Allocations, c.Profile.Timeline)
}

// Timeline is the step for exports; seconds are those of each op, or nil.
func (c *Compiled) Timeline(label string, seconds []float64) timeline.Step {
	return timeline.Step{Label: label, Graph: c.Step.Graph, Samples: c.Profile.Timeline, Allocations: c.Allocations, ArenaBytes: c.Profile.ArenaBytes, Seconds: seconds}
}

// Compile plans the run of a spec on a device that is opened for it.
func Compile(spec results.Spec) (*Compiled, error) {
	d, err := OpenDevice(spec)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return CompileOn(d, spec)
}

// OpenDevice opens the device that a spec names, with its limits, and with the engines that the
// plan book has for it.
func OpenDevice(spec results.Spec) (engine.Device, error) {
	o, err := deviceOptions(spec)
	if err != nil {
		return nil, err
	}
	if o.PlanBook, err = bookFor(spec); err != nil {
		return nil, err
	}
	return engine.Open(spec.Backend, o)
}

func deviceOptions(spec results.Spec) (o engine.Options, err error) {
	settings, err := spec.Settings()
	if err != nil {
		return o, err
	}
	o.Threads, o.TF32 = int(spec.Threads), spec.Precision == PrecisionTF32
	o.Deterministic, o.WorkspaceLimit = settings.Deterministic, settings.WorkspaceLimit
	if o.Device, err = strconv.Atoi(cmp.Or(spec.Device, "0")); err != nil {
		return o, fmt.Errorf("device: got %q, want a number", spec.Device)
	}
	return o, nil
}

// CompileOn is Compile on an open device: cheaper where many specs are planned.
func CompileOn(d engine.Device, spec results.Spec) (*Compiled, error) {
	return CompileJob(d, spec, JobOptions{})
}

// CompileJob is CompileOn with what a job asks for besides its spec: EvalHeads makes the evaluation larger. It compiles the
// programs that Execute compiles, for as many samples as the data set's card and the spec's limits say.
func CompileJob(d engine.Device, spec results.Spec, job JobOptions) (*Compiled, error) {
	b, err := stagesOf(spec)
	if err != nil {
		return nil, err
	}
	o, err := b.sessionOptions(d, spec, job, b.samples(spec))
	if err != nil {
		return nil, err
	}
	s, err := train.Compile(d, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := checkBudget(b.settings.Budget, s); err != nil {
		return nil, err
	}
	p := s.Training
	m, err := describe(b, spec, s)
	if err != nil {
		return nil, err
	}
	sizes := memory(s)
	if err := b.predictEager(spec, &sizes); err != nil {
		return nil, err
	}
	return &Compiled{Spec: spec, Settings: b.settings, Model: m, Memory: sizes, Network: b.network, Stages: b.stages, Step: p.Step, Profile: p.Profile,
		Allocations: plan.Allocations(p.Graph, p.Scratch(), p.Layout), Kernels: p.Kernels(), Scratch: p.Scratch(), Again: len(o.Step.Again), UnknownWorkspaces: unknownWorkspaces(p.Program)}, nil
}

// samples counts what a run trains, tests and validates on.
type samples struct{ train, test, validation int }

// samples are those of the data set's card, within the limits of the spec.
func (b *built) samples(spec results.Spec) samples {
	n := samples{train: trainSamples(spec, b.card), test: cmp.Or(int(spec.TestLimit), b.card.TestSamples)}
	n.validation = datasets.HeldOut(n.train, spec.ValFraction)
	n.train -= n.validation
	return n
}

// sessionOptions are the programs that a run of a spec needs: training and evaluation, each for full batches and for the last
// one. `plan`, `run` and `profile` get their programs, and so their arena, from here.
func (b *built) sessionOptions(d engine.Device, spec results.Spec, job JobOptions, n samples) (train.SessionOptions, error) {
	step, err := b.fittedOptions(d, spec)
	step.Heads = job.EvalHeads
	batch := int(spec.Batch)
	return train.SessionOptions{Stages: b.stages, Step: step, Evaluation: true,
		TrainTail: train.Tail(n.train, batch), TestTail: train.Tail(n.test, batch), ValTail: train.Tail(n.validation, batch)}, err
}

// checkBudget says why the arena of a session is above a budget of so many bytes, 0 for no limit, which bounds all that a run allocates. The
// training step is within it: core.FitBudget has seen to that.
func checkBudget(budget int64, s *train.Session) error {
	if arena := s.ArenaBytes(); budget > 0 && arena > budget {
		return &core.OverBudget{BudgetBytes: budget, LeastBytes: arena, What: "evaluation or the last batch"}
	}
	return nil
}

// PredictEager is what an eager framework would report for the training step of a spec, in a program as the spec's
// option eager describes it. It needs no device. The zero Prediction, and false, is the answer in bf16, for which there is
// no model of the framework's own casts.
func PredictEager(spec results.Spec) (p eager.Prediction, ok bool, err error) {
	b, err := stagesOf(spec)
	if err != nil {
		return p, false, err
	}
	return b.eagerPrediction(spec)
}

func (b *built) eagerPrediction(spec results.Spec) (p eager.Prediction, ok bool, err error) {
	if spec.Precision == PrecisionBF16 {
		return p, false, nil
	}
	variant, err := eager.ParseOptions(b.settings.Eager)
	if err != nil {
		return p, false, fmt.Errorf("--eager: %w", err)
	}
	o := b.stepOptions(spec)
	o.Eager, o.Augment = true, core.Augmentation{} // the loader changes the images
	step, err := core.TrainingStep(b.stages, o)
	if err != nil {
		return p, false, fmt.Errorf("eager: %w", err)
	}
	return eager.Predict(step.Graph, variant), true, nil
}

// LibraryBytes is what an eager framework gives cuBLAS on a GPU of that name, and counts in max_memory_allocated; the
// figures of PredictEager are without it. It is not known, and not ok, for a GPU that the model does not know.
func LibraryBytes(gpu string) (bytes int64, ok bool) { return eager.BLASWorkspace(gpu) }

// predictEager fills in what an eager framework would report for the step.
func (b *built) predictEager(spec results.Spec, m *results.Memory) error {
	p, ok, err := b.eagerPrediction(spec)
	if err != nil || !ok {
		return err
	}
	m.EagerRequestedBytes, m.EagerAllocatedBytes, m.EagerReservedBytes, m.EagerSearchedBytes = &p.RequestedBytes, &p.AllocatedBytes, &p.ReservedBytes, &p.SearchedBytes
	return nil
}

// fittedOptions are stepOptions, with what has to be made again for the spec's budget.
func (b *built) fittedOptions(d engine.Device, spec results.Spec) (core.StepOptions, error) {
	o := b.stepOptions(spec)
	budget := b.settings.Budget
	if budget == 0 {
		return o, nil
	}
	return core.FitBudget(d, b.stages, o, budget)
}

// stepOptions are the constants of the step program of a spec.
func (b *built) stepOptions(spec results.Spec) core.StepOptions {
	o := core.StepOptions{Batch: spec.Batch, Image: b.network.Input,
		SGD: graph.SGDOptions{Momentum: spec.Momentum, WeightDecay: spec.WeightDecay, Nesterov: spec.Nesterov}}
	o.RecomputeNorm, o.DeferUpdates, o.Overlap = b.settings.RecomputeNorm, b.settings.DeferUpdates, b.settings.Overlap
	if spec.Backend == backendCUDA {
		// The next batch is copied while a step runs, and the GPU changes the images.
		o.KeepInputs = true
		if a := b.card.Augment; spec.Augment != augmentNone && !a.ResizedCrop { // which the loader does
			o.Augment = core.Augmentation{Pad: int64(a.Pad), Reflect: a.Border == datasets.BorderReflect, Flip: a.Flip}
		}
	}
	o.Dropout = spec.Dropout == DropoutOn
	o.Mixed = spec.Precision == PrecisionBF16
	copy(o.Mean[:], b.card.Mean)
	copy(o.Deviation[:], b.card.Std)
	return o
}

// describe counts parameters, modules and FLOPs of a session for training and evaluation.
func describe(b *built, spec results.Spec, s *train.Session) (results.Model, error) {
	step, evaluation := s.Training.Step, s.Evaluation.Step
	var network, auxiliary int64
	modules := make([]results.Module, len(b.stages))
	for i, s := range b.stages {
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
	forward, all := evaluation.Graph.FLOPs()/spec.Batch, step.Graph.FLOPs()/spec.Batch
	return results.Model{Parameters: &network, AuxiliaryParameters: &auxiliary, Modules: modules,
		FLOPsPerSample: results.FLOPs{Forward: &forward, Step: &all}}, nil
}

// memory is the planned part of a record: the profile of the training step, and the arena of the whole session.
func memory(s *train.Session) results.Memory {
	p, arena := s.Training.Profile, s.ArenaBytes()
	m := results.Memory{PlannedPeakBytes: &p.PlannedPeakBytes, StepArenaBytes: &p.ArenaBytes, ArenaBytes: &arena, LowerBoundBytes: &p.LowerBoundBytes,
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

// SessionOptions are the programs of a spec for full training batches only, on a device: what
// a benchmark of the step needs.
func SessionOptions(d engine.Device, spec results.Spec) (train.SessionOptions, error) {
	b, err := stagesOf(spec)
	if err != nil {
		return train.SessionOptions{}, err
	}
	step, err := b.fittedOptions(d, spec)
	return train.SessionOptions{Stages: b.stages, Step: step}, err
}

// CheckInit says whether a file of weights fits the network and the auxiliary
// networks of a spec: its error lists every tensor that does not.
func CheckInit(spec results.Spec, path string) error {
	b, err := stagesOf(spec)
	if err != nil {
		return err
	}
	step, err := core.TrainingStep(b.stages, b.stepOptions(spec))
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

package core

import (
	"errors"
	"fmt"
	"strings"

	"github.com/localbench/localbench/core/autodiff"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/core/passes"
)

// StepOptions are the constants of a step program.
type StepOptions struct {
	Batch     int64       // samples of one run
	Image     graph.Shape // height, width, channels of one sample
	Mean      [4]float64  // by channel, in 0..255
	Deviation [4]float64  // by channel, in 0..255
	// Optimizer updates the parameters; nil: SGD without momentum and decay.
	Optimizer graph.Optimizer
	Heads     bool // an evaluation also classifies by the auxiliary networks
	// RecomputeNorm does not save the results of normalisations; the backward
	// pass recomputes them from the convolutions' results: the same bits, less memory.
	RecomputeNorm bool
	// FuseNorm is how far normalisations are fused with the convolutions around them, in training and evaluation.
	FuseNorm FuseNorm
	// Recompute names results of the forward pass that are not saved either, but recomputed: budget.Fit chooses them.
	Recompute map[string]bool
	// DeferUpdates keeps all gradients until one update of everything ends the step,
	// as eager frameworks do: the same bits, more memory.
	DeferUpdates bool
	// Scatter gives every value its own bytes in the arena, without reuse.
	Scatter bool
	// KeepInputs keeps the bytes of the batch for the whole step, so that a device can
	// receive the next batch while the step runs.
	KeepInputs bool
	// Augment has the device augment the images of a training step; the loader then only
	// writes the random words for it.
	Augment Augmentation
	// Dropout enables the dropout and stochastic depth of units and heads (model.Dropout, model.StochasticDepth) in a
	// training step; an evaluation has none.
	Dropout bool
	// Mixed has activations and their gradients in bf16; weights, statistics, losses and
	// optimizer state stay f32 (passes.Mixed).
	Mixed bool
	// Store is how activations are stored from the forward to the backward pass (passes.Store): in formats other than f32 the
	// gradients differ.
	Store graph.StoreFormat
	// Overlap is the number of local modules in flight: the auxiliary network, backward pass
	// and update of one run during the forward pass of later ones. 0 or 1: one after
	// the other. The same bits, more memory. It can't be combined with DeferUpdates.
	Overlap int
	// Eager writes the step as an eager framework runs it, for core/eager: op by op,
	// nothing fused, updates deferred. It is not meant to be run.
	Eager bool
	// Unverified skips the verifier, which otherwise checks the program after each pass and takes as long as writing it.
	// For searches that write hundreds of programs only to compare them; what runs must be written without it.
	Unverified bool
	// AfterPass, if not nil, is called with the name of each pass that has run and the program as it is then, which it must
	// not keep or change. The first name is PassNone: the program before any pass.
	AfterPass func(pass string, g *graph.Graph)
}

// FuseNorm is a set of fusions of normalisations with the convolutions around them.
type FuseNorm uint8

// The fusions.
const (
	// FuseNormInput lets convolutions normalise their input while they read it (passes.FuseNormInput).
	FuseNormInput FuseNorm = 1 << iota
	// FuseNormStatistics lets convolutions compute the statistics of their results (passes.FuseNormStatistics).
	FuseNormStatistics
	// FuseNormGradient has the gradient of a convolution's result computed where it is read (passes.FuseNormGradient).
	FuseNormGradient
	FuseNormAll = FuseNormInput | FuseNormStatistics | FuseNormGradient
)

// Augmentation has the arguments of graph.Builder.Augment; the zero value is no augmentation.
type Augmentation struct {
	Pad           int64
	Reflect, Flip bool
}

// Step is a step program with its inputs and outputs.
type Step struct {
	Graph        *graph.Graph
	Images       *graph.Value // input, u8 [N H W C]
	Labels       *graph.Value // input, s32 [N]
	Words        *graph.Value // input, s32 [N 4], with StepOptions.Augment; else nil
	LearningRate *graph.Value // input, f32 [1]; nil in an evaluation
	// Stream is the input of seed and step, s32 [3] (graph.Builder.Stream); nil if neither dropout nor the optimizer nor a
	// quantization reads it
	Stream *graph.Value
	Losses []ModuleLoss // in program order
	// Probabilities of the head, f32 [N C], an output of an evaluation for the top-5 accuracy; nil in a
	// training step, and with too few classes for top-5 to mean anything.
	Probabilities *graph.Value
	Scatter       bool // as in StepOptions
}

// ModuleLoss is one loss term of one local module.
type ModuleLoss struct {
	Module     int
	Classifier bool // the network's own head: the loss and top-1 of the tables
	model.Term
}

// classesForTop5 is the least number of classes for which the top-5 accuracy is computed.
const classesForTop5 = 20

// Head returns the term of the network's own head.
func (s *Step) Head() ModuleLoss {
	for _, l := range s.Losses {
		if l.Classifier {
			return l
		}
	}
	return ModuleLoss{}
}

// TrainingStep writes one training step: stage by stage the forward ops, the
// auxiliary network and losses, the backward ops, and each parameter's update as soon as
// its gradient is complete. In program order, what a module saved is dead
// before the next module begins.
func TrainingStep(stages []model.Stage, o StepOptions) (*Step, error) {
	w := newWriter(graph.NewBuilder(true), o)
	w.step.LearningRate = w.b.Input("learning_rate", graph.Shape{1}, graph.TypeF32)
	for m, stage := range stages {
		first := len(w.b.Ops())
		w.detach(m)
		losses := w.forward(m, stage)
		w.fuse(first)
		w.average(m, stages)
		if err := w.backward(first, losses); err != nil {
			return nil, err
		}
	}
	w.updateDeferred()
	return w.finish()
}

// EvaluationStep writes the forward pass of the network with running
// statistics, up to the loss and top-1 of its head and, with Heads, of every
// auxiliary network that classifies.
func EvaluationStep(stages []model.Stage, o StepOptions) (*Step, error) {
	w := newWriter(graph.NewBuilder(false), o)
	for m, stage := range stages {
		first := len(w.b.Ops())
		if !stage.Classifier && !o.Heads {
			stage.Losses = nil
		}
		w.forward(m, stage)
		w.fuse(first)
	}
	w.b.Rewrite(0, func(ops []*graph.Op) []*graph.Op { return passes.DropDead(ops, w.b.Outputs()) })
	return w.finish()
}

// writer writes a step program.
type writer struct {
	step *Step
	b    *graph.Builder
	o    StepOptions

	images     *graph.Value          // as the network and the losses see them: augmented, u8
	x          *graph.Value          // activation that the next unit reads
	deferred   []func()              // updates that wait for the end of the step
	recomputed map[*graph.Value]bool // activations that the backward pass recomputes
	kept       map[*graph.Value]bool // results of segments: checkpoints
	segments   [][]*graph.Op         // what the backward pass of an eager step recomputes as a whole
}

// newWriter declares the inputs, augments and normalises the images.
func newWriter(b *graph.Builder, o StepOptions) *writer {
	if o.Optimizer == nil {
		o.Optimizer = graph.SGDOptions{}
	}
	if o.Dropout && b.Training() {
		b.EnableDropout()
	}
	if o.Eager {
		b.KeepIdentities()
	} else if b.Training() && o.Store.Bits() > 0 {
		b.Stream()
	}
	if len(o.Image) != 3 {
		b.Fail(fmt.Errorf("image shape %s: must be height, width and channels", o.Image))
		o.Image = graph.Shape{1, 1, 1}
	}
	s := &Step{
		Images:  b.Input("images", graph.Shape{o.Batch, o.Image[0], o.Image[1], o.Image[2]}, graph.TypeU8),
		Labels:  b.Input("labels", graph.Shape{o.Batch}, graph.TypeS32),
		Scatter: o.Scatter,
	}
	w := &writer{step: s, b: b, o: o, images: s.Images, recomputed: map[*graph.Value]bool{}, kept: map[*graph.Value]bool{}}
	if a := o.Augment; b.Training() && a != (Augmentation{}) {
		s.Words = b.Input("words", graph.Shape{o.Batch, 4}, graph.TypeS32)
		// Like the batch itself the augmented images belong to no module: a loss of any may read them.
		b.InModule(graph.NoModule, graph.PhaseForward, func() { w.images = b.Augment(s.Images, s.Words, a.Pad, a.Reflect, a.Flip) })
	}
	b.InModule(0, graph.PhaseForward, func() { w.x = b.NormalizeImage(w.images, o.Mean, o.Deviation) })
	return w
}

// detach stops gradients at the input of module m.
func (w *writer) detach(m int) {
	if m > 0 {
		w.b.InModule(m, graph.PhaseForward, func() { w.x = w.b.Detach(w.x) })
	}
}

// fuse fuses normalisations with what follows them, in the ops from the first on.
func (w *writer) fuse(first int) {
	if !w.o.Eager {
		w.b.Rewrite(first, passes.FuseNorm)
	}
}

// forward writes units and losses of stage m, and returns what to differentiate.
func (w *writer) forward(m int, stage model.Stage) []autodiff.Loss {
	w.b.InModule(m, graph.PhaseForward, func() {
		for i, u := range stage.Units {
			first := len(w.b.Ops())
			w.b.In(u.Name, func() { w.x = u.Forward(w.b, w.x) })
			w.markRecomputed(w.b.Ops()[first:], stage, i)
			w.markSegment(w.b.Ops()[first:], stage, i)
		}
	})
	if stage.Losses == nil {
		return nil
	}
	phase := graph.PhaseAuxiliary
	if stage.Classifier {
		phase = graph.PhaseForward
	}
	var losses []autodiff.Loss
	w.b.InModule(m, phase, func() {
		for i, t := range stage.Losses(w.b, w.x, model.Batch{Images: w.images, Labels: w.step.Labels}) {
			if !w.b.Training() && t.Correct == nil {
				continue
			}
			w.output(m, stage.Classifier && i == 0, t)
			losses = append(losses, autodiff.Loss{Value: t.Value, Weight: t.Weight})
		}
	})
	return losses
}

// output keeps the results of a loss term of module m to be read after the step.
func (w *writer) output(m int, head bool, t model.Term) {
	w.step.Losses = append(w.step.Losses, ModuleLoss{Module: m, Classifier: head, Term: t})
	if p := t.Probabilities; head && !w.b.Training() && p != nil && len(p.Shape) == 2 && p.Shape[1] >= classesForTop5 {
		w.step.Probabilities = p
		w.b.Output(p)
	}
	w.b.Output(t.Value)
	if t.Correct != nil {
		w.b.Output(t.Correct)
	}
}

// average writes the moving average that stage m-1 keeps of the parameters of the first unit of stage m, before that
// unit's parameters are updated. Running statistics belong to the average's own activations and are not averaged.
func (w *writer) average(m int, stages []model.Stage) {
	if m == 0 || stages[m-1].Average == nil {
		return
	}
	a, unit := *stages[m-1].Average, stages[m].Units[0].Name
	sources := map[string]*graph.Value{}
	for _, v := range w.b.State(unit) { // other units may share the name: more than is needed
		sources["."+strings.TrimPrefix(strings.TrimPrefix(v.Name, unit), ".")] = v // the unit's name may be empty
	}
	w.b.InModule(m, graph.PhaseUpdate, func() {
		for _, v := range w.b.State(a.Scope + ".") {
			source := sources[strings.TrimPrefix(v.Name, a.Scope)]
			if source == nil {
				w.b.Fail(fmt.Errorf("%s: unit %q has no parameter of this name to average", v.Name, unit))
				return
			}
			if source.Category == graph.CategoryParameter {
				w.b.Average(v, source, a.Momentum)
			}
		}
	})
}

// backward writes the backward ops of the ops from the first on, and the update of each parameter as soon as its gradient
// is complete, or notes it for the end of the step.
func (w *writer) backward(first int, losses []autodiff.Loss) error {
	return autodiff.Backward(w.b, w.b.Ops()[first:], losses, func(parameter, gradient *graph.Value) {
		update := func() { w.o.Optimizer.Update(w.b, parameter, gradient, w.step.LearningRate) }
		if !w.o.DeferUpdates && !w.o.Eager {
			update()
			return
		}
		w.deferred = append(w.deferred, func() { w.b.InModule(parameter.Module, graph.PhaseUpdate, update) })
	})
}

// updateDeferred writes the updates that waited for the end of the step.
func (w *writer) updateDeferred() {
	for _, update := range w.deferred {
		update()
	}
}

// normChain is how many results of residual blocks RecomputeNorm recomputes, one
// from the other, before it reads a saved one. The saved ones and the chain that is
// alive at a time cost about the same at 5 for the ResNets of the papers.
const normChain = 5

// markRecomputed notes which results of unit i of a stage the backward pass recomputes: all but the statistics of
// normalisations, which are small and whose ops update the running ones, and except the checkpoints: the results of
// whole segments. The last segment is saved: the backward pass begins there.
func (w *writer) markRecomputed(ops []*graph.Op, stage model.Stage, i int) {
	if !recomputedUnit(stage, i) {
		return
	}
	for _, op := range ops {
		for _, v := range op.Results {
			if op.Kind != graph.KindNormStats {
				w.recomputed[v] = true
			}
		}
	}
	if (i+1)%stage.Segment == 0 {
		delete(w.recomputed, w.x)
		w.kept[w.x] = true
	}
}

// markSegment adds the ops of unit i of a stage to its segment.
func (w *writer) markSegment(ops []*graph.Op, stage model.Stage, i int) {
	if !recomputedUnit(stage, i) {
		return
	}
	if i%stage.Segment == 0 {
		w.segments = append(w.segments, nil)
	}
	last := len(w.segments) - 1
	w.segments[last] = append(w.segments[last], ops...)
}

// recomputedUnit reports whether unit i is in a segment that is recomputed: in any but the stage's last.
func recomputedUnit(stage model.Stage, i int) bool {
	return stage.Segment > 0 && i/stage.Segment < (len(stage.Units)-1)/stage.Segment
}

// PassNone is the name under which StepOptions.AfterPass gets the program before any pass.
const PassNone = "none"

// finish runs the passes over the whole program, and verifies it after each one.
func (w *writer) finish() (*Step, error) {
	w.step.Stream = w.b.DeclaredStream()
	g, err := w.b.Graph()
	if err != nil {
		return nil, err
	}
	if w.o.KeepInputs {
		g.Outputs = append(g.Outputs, g.Inputs...)
	}
	w.step.Graph = g
	none := passes.Always(PassNone, func(*graph.Graph) {})
	err = passes.Apply(g, append([]passes.Pass{none}, w.passes()...), func(p passes.Pass, g *graph.Graph) error {
		if w.o.AfterPass != nil {
			w.o.AfterPass(p.Name, g)
		}
		if w.o.Unverified {
			return nil
		}
		return g.Verify()
	})
	if err != nil {
		return nil, err
	}
	return w.step, nil
}

// passes lists what rewrites the whole program, in order. Each pass relies on those before it: what is recomputed is not saved,
// casts are added when the list of ops and the categories are final, in-place results and stored ones need final types, and
// streams need the final order of ops.
func (w *writer) passes() []passes.Pass {
	if w.o.Eager {
		return []passes.Pass{
			passes.Always("drop-detach", passes.DropDetach),
			passes.Always("recompute-segments", func(g *graph.Graph) { passes.RecomputeSegments(g, w.segments) }),
			passes.Always("drop-unused", passes.DropUnused),
		}
	}
	list := []passes.Pass{
		passes.Always("drop-detach", passes.DropDetach),
		passes.Always("fuse-gradient-sum", passes.FuseGradientSum),
	}
	if w.o.FuseNorm&FuseNormInput != 0 {
		// What is recomputed must stay computable from what is kept, so the checkpoints stay.
		list = append(list, passes.Always("fuse-norm-input", func(g *graph.Graph) { passes.FuseNormInput(g, w.kept) }))
	}
	list = append(list,
		passes.Always("recompute", w.recompute),
		passes.Always("mark-saved", passes.MarkSaved),
		passes.Always("drop-unused", passes.DropUnused))
	if w.o.Mixed {
		list = append(list, passes.Pass{Name: "mixed", Run: passes.Mixed})
	}
	if w.b.Training() && w.o.Store != graph.StoreF32 {
		list = append(list, passes.Pass{Name: "store", Run: func(g *graph.Graph) error {
			if w.o.Mixed && w.o.Store == graph.StoreBF16 {
				return errors.New("activations are bf16 already: they can be stored in int8 or int4")
			}
			return passes.Store(g, w.o.Store)
		}})
	}
	if w.o.FuseNorm&FuseNormStatistics != 0 {
		list = append(list, passes.Always("fuse-norm-statistics", passes.FuseNormStatistics))
	}
	if w.o.FuseNorm&FuseNormGradient != 0 {
		list = append(list, passes.Always("fuse-norm-gradient", passes.FuseNormGradient))
	}
	list = append(list, passes.Always("in-place", passes.InPlace))
	if w.b.Training() && w.o.Overlap > 1 {
		list = append(list, passes.Pass{Name: "overlap", Run: func(g *graph.Graph) error {
			if w.o.DeferUpdates {
				return errors.New("modules in flight can't be combined with deferred updates: a module is in flight until its update")
			}
			passes.Overlap(g, w.o.Overlap)
			return nil
		}})
	}
	return list
}

// PassNames lists PassNone and the passes of a training step that has all of them, in order.
func PassNames() []string {
	w := writer{b: graph.NewBuilder(true),
		o: StepOptions{Mixed: true, Store: graph.StoreInt8, Overlap: 2, FuseNorm: FuseNormAll}}
	names := []string{PassNone}
	for _, p := range w.passes() {
		names = append(names, p.Name)
	}
	return names
}

// recompute has the backward pass recompute what the stages, RecomputeNorm and the budget name.
func (w *writer) recompute(g *graph.Graph) {
	if w.o.RecomputeNorm {
		for _, v := range passes.NormResults(g, normChain, w.kept) {
			w.recomputed[v] = true
		}
	}
	for _, v := range g.Values {
		if w.o.Recompute[v.Name] {
			w.recomputed[v] = true
		}
	}
	passes.Recompute(g, func(v *graph.Value) bool { return w.recomputed[v] })
}

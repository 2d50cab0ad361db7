package core

import (
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
	SGD       graph.SGDOptions
	Heads     bool // an evaluation also classifies by the auxiliary networks
	// RecomputeNorm does not save the results of normalisations, which the backward
	// pass makes again from the convolutions' results: the same bits, less memory.
	RecomputeNorm bool
	// Again names results of the forward pass that are not saved either: FitBudget chooses
	// them.
	Again map[string]bool
	// DeferUpdates keeps all gradients until one update of everything ends the step,
	// as eager frameworks do: the same bits, more memory.
	DeferUpdates bool
	// Scatter gives every value a place of its own in the arena.
	Scatter bool
	// KeepInputs leaves the batch's places to it for the whole step, so that a device can
	// take the next batch while the step runs.
	KeepInputs bool
	// Augment has the device change the images of a training step; the loader leaves them
	// as they are, and writes the random words instead.
	Augment Augmentation
	// Dropout has a training step drop what its units and heads say (model.Dropout, model.StochasticDepth);
	// an evaluation never does.
	Dropout bool
	// Mixed has activations and their gradients in bf16; weights, statistics, losses and
	// optimizer state stay f32 (passes.Mixed).
	Mixed bool
	// Overlap is how many local modules are in flight: the auxiliary network, backward pass
	// and update of one run beside the forward pass of those behind it. 0 or 1: one after
	// the other. The same bits, more memory. It wants updates that are not deferred.
	Overlap int
	// Eager writes the step as an eager framework runs it, for core/eager: op by op,
	// nothing fused, updates deferred. It is not meant to be run.
	Eager bool
}

// Augmentation is graph.Builder.Augment's; the zero value is none.
type Augmentation struct {
	Pad           int64
	Reflect, Flip bool
}

// Step is a step program with names for what goes in and what comes out.
type Step struct {
	Graph        *graph.Graph
	Images       *graph.Value // input, u8 [N H W C]
	Labels       *graph.Value // input, s32 [N]
	Words        *graph.Value // input, s32 [N 4], of StepOptions.Augment; else nil
	LearningRate *graph.Value // input, f32 [1]; nil in an evaluation
	Stream       *graph.Value // input, s32 [3], of dropout (graph.Builder.DropoutStream); nil if nothing is dropped
	Losses       []ModuleLoss // in program order
	// Probabilities are the head's, f32 [N C], which an evaluation leaves behind for the top-5 accuracy; nil in a
	// training step, and where so few classes make it mean little.
	Probabilities *graph.Value
	Scatter       bool // as in StepOptions

	images     *graph.Value          // as the network sees them
	recomputed map[*graph.Value]bool // activations that the backward pass makes again
	kept       map[*graph.Value]bool // results of segments
	segments   [][]*graph.Op         // what the backward pass of an eager step recomputes as a whole
}

// ModuleLoss is one loss term of one local module.
type ModuleLoss struct {
	Module     int
	Classifier bool // the network's own head: the loss and top-1 of the tables
	model.Term
}

// classesForTop5 is from how many classes on five guesses are worth counting.
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
// its gradient is complete. In the order of the program, what a module saved is dead
// before the next module begins.
func TrainingStep(stages []model.Stage, o StepOptions) (*Step, error) {
	if o.Overlap > 1 && o.DeferUpdates {
		return nil, fmt.Errorf("overlap: got %d modules in flight with deferred updates, want early ones: a module is in flight until its update", o.Overlap)
	}
	b := graph.NewBuilder(true)
	if o.Dropout {
		b.EnableDropout()
	}
	if o.Eager {
		b.KeepIdentities()
	}
	s, x := begin(b, o)
	s.LearningRate = b.Input("learning_rate", graph.Shape{1}, graph.TypeF32)
	var deferred []func()
	for m, stage := range stages {
		from := len(b.Ops())
		if m > 0 {
			b.InModule(m, graph.PhaseForward, func() { x = b.Detach(x) })
		}
		losses := s.forward(b, m, stage, &x)
		if !o.Eager {
			b.Rewrite(from, passes.FuseNorm)
		}
		if m > 0 && stages[m-1].Average != nil {
			b.InModule(m, graph.PhaseUpdate, func() { follow(b, *stages[m-1].Average, stage.Units[0].Name) })
		}
		err := autodiff.Backward(b, b.Ops()[from:], losses, func(p, g *graph.Value) {
			update := func() { b.SGD(p, g, b.Momentum(p), s.LearningRate, o.SGD) }
			if o.DeferUpdates || o.Eager {
				deferred = append(deferred, func() { b.InModule(m, graph.PhaseUpdate, update) })
				return
			}
			update()
		})
		if err != nil {
			return nil, err
		}
	}
	for _, update := range deferred {
		update()
	}
	s.Stream = b.DroppedBy()
	return s.finish(b, o)
}

// EvaluationStep writes the forward pass of the network with running
// statistics, up to the loss and top-1 of its head and, with Heads, of every
// auxiliary network that classifies.
func EvaluationStep(stages []model.Stage, o StepOptions) (*Step, error) {
	b := graph.NewBuilder(false)
	s, x := begin(b, o)
	for m, stage := range stages {
		from := len(b.Ops())
		if !stage.Classifier && !o.Heads {
			stage.Losses = nil
		}
		s.forward(b, m, stage, &x)
		b.Rewrite(from, passes.FuseNorm)
	}
	b.Rewrite(0, func(ops []*graph.Op) []*graph.Op { return passes.DropDead(ops, b.Outputs()) })
	return s.finish(b, o)
}

// begin declares the inputs and normalises the images.
func begin(b *graph.Builder, o StepOptions) (*Step, *graph.Value) {
	if len(o.Image) != 3 {
		b.Fail(fmt.Errorf("image shape %s, want height, width and channels", o.Image))
		o.Image = graph.Shape{1, 1, 1}
	}
	s := &Step{
		Images: b.Input("images", graph.Shape{o.Batch, o.Image[0], o.Image[1], o.Image[2]}, graph.TypeU8),
		Labels: b.Input("labels", graph.Shape{o.Batch}, graph.TypeS32), Scatter: o.Scatter,

		recomputed: map[*graph.Value]bool{}, kept: map[*graph.Value]bool{},
	}
	var x *graph.Value
	s.images = s.Images
	if a := o.Augment; b.Training() && a != (Augmentation{}) {
		s.Words = b.Input("words", graph.Shape{o.Batch, 4}, graph.TypeS32)
		// Like the batch itself the changed images are no module's: a loss of any may read them.
		b.InModule(graph.NoModule, graph.PhaseForward, func() { s.images = b.Augment(s.Images, s.Words, a.Pad, a.Reflect, a.Flip) })
	}
	b.InModule(0, graph.PhaseForward, func() { x = b.NormalizeImage(s.images, o.Mean, o.Deviation) })
	return s, x
}

// forward writes units and losses of stage m, moves x to the stage's result and
// returns what to differentiate.
func (s *Step) forward(b *graph.Builder, m int, stage model.Stage, x **graph.Value) []autodiff.Loss {
	b.InModule(m, graph.PhaseForward, func() {
		for i, u := range stage.Units {
			from := len(b.Ops())
			b.In(u.Name, func() { *x = u.Forward(b, *x) })
			s.markRecomputed(b.Ops()[from:], stage, i, *x)
			s.markSegment(b.Ops()[from:], stage, i)
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
	b.InModule(m, phase, func() {
		for i, t := range stage.Losses(b, *x, model.Batch{Images: s.images, Labels: s.Labels}) {
			if !b.Training() && t.Correct == nil {
				continue
			}
			head := stage.Classifier && i == 0
			s.Losses = append(s.Losses, ModuleLoss{Module: m, Classifier: head, Term: t})
			if p := t.Probabilities; head && !b.Training() && p != nil && len(p.Shape) == 2 && p.Shape[1] >= classesForTop5 {
				s.Probabilities = p
				b.Output(p)
			}
			losses = append(losses, autodiff.Loss{Value: t.Value, Weight: t.Weight})
			b.Output(t.Value)
			if t.Correct != nil {
				b.Output(t.Correct)
			}
		}
	})
	return losses
}

// follow writes the averages of the state below a.Scope: of each parameter of the
// unit. Running statistics are of the state's own activations and stay.
func follow(b *graph.Builder, a model.Average, unit string) {
	sources := map[string]*graph.Value{}
	for _, v := range b.State(unit) { // other units may share the name: more than is needed
		sources[strings.TrimPrefix(v.Name, unit)] = v
	}
	for _, v := range b.State(a.Scope + ".") {
		source := sources[strings.TrimPrefix(v.Name, a.Scope)]
		if source == nil {
			b.Fail(fmt.Errorf("%s follows nothing: unit %q has no such state", v.Name, unit))
			return
		}
		if source.Category == graph.CategoryParameter {
			b.Average(v, source, a.Momentum)
		}
	}
}

// normChain is how many results of residual blocks RecomputeNorm makes again, one
// from the other, before it reads a saved one. The saved ones and the chain that is
// alive at a time cost about the same at 5 for the ResNets of the papers.
const normChain = 5

// markRecomputed notes what unit i of a stage leaves behind that the backward pass
// is to make again: all but the statistics of normalisations, which are small and
// whose ops update the running ones, and but the results of whole segments. The
// last segment is kept: the backward pass begins there.
func (s *Step) markRecomputed(ops []*graph.Op, stage model.Stage, i int, result *graph.Value) {
	if stage.Segment == 0 {
		return
	}
	if last := (len(stage.Units) - 1) / stage.Segment; i/stage.Segment == last {
		return
	}
	for _, op := range ops {
		for _, v := range op.Results {
			if op.Kind != graph.KindNormStats {
				s.recomputed[v] = true
			}
		}
	}
	if (i+1)%stage.Segment == 0 {
		delete(s.recomputed, result)
		s.kept[result] = true
	}
}

// markSegment adds the ops of unit i of a stage to its segment; the last segment is not recomputed.
func (s *Step) markSegment(ops []*graph.Op, stage model.Stage, i int) {
	if stage.Segment == 0 || i/stage.Segment == (len(stage.Units)-1)/stage.Segment {
		return
	}
	if i%stage.Segment == 0 {
		s.segments = append(s.segments, nil)
	}
	last := len(s.segments) - 1
	s.segments[last] = append(s.segments[last], ops...)
}

// finish runs the passes over the whole program and verifies it.
func (s *Step) finish(b *graph.Builder, o StepOptions) (*Step, error) {
	g, err := b.Graph()
	if err != nil {
		return nil, err
	}
	passes.DropDetach(g)
	s.Graph = g
	if o.KeepInputs {
		g.Outputs = append(g.Outputs, g.Inputs...)
	}
	if o.Eager {
		passes.RecomputeSegments(g, s.segments)
		passes.DropUnused(g)
		return s, g.Verify()
	}
	passes.FuseGradientSum(g)
	if o.RecomputeNorm {
		for _, v := range passes.NormResults(g, normChain, s.kept) {
			s.recomputed[v] = true
		}
	}
	for _, v := range g.Values {
		if o.Again[v.Name] {
			s.recomputed[v] = true
		}
	}
	passes.Recompute(g, func(v *graph.Value) bool { return s.recomputed[v] })
	passes.MarkSaved(g)
	passes.DropUnused(g)
	if o.Mixed {
		if err := passes.Mixed(g); err != nil {
			return nil, err
		}
	}
	passes.InPlace(g)
	if b.Training() {
		passes.Overlap(g, o.Overlap)
	}
	return s, g.Verify()
}

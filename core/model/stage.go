package model

import "github.com/localbench/localbench/core/graph"

// Stage is one local module as data: what a method gives for the compiler to
// schedule. Forward, auxiliary network, losses, backward, update and the death
// of the module's activations follow from it; the schedule exists once.
type Stage struct {
	Units []Unit // run in order on the detached result of the stage before
	// Losses writes what stands behind the units (an auxiliary network, or the
	// network's head) and returns the loss terms of the module, in table order.
	Losses func(b *graph.Builder, x *graph.Value, batch Batch) []Term
	// Classifier marks the last stage: its first term is the network's own loss
	// and top-1, the one that evaluation reports.
	Classifier bool
	AuxDepth   int // depth of the auxiliary network in units; 0 for none
	// Segment is the number of units whose activations are recomputed together in
	// the backward pass, which keeps the segments' results only; 0: everything is kept.
	Segment int
	Average *Average // nil: nothing follows the next stage
}

// Average says that the state below Scope ("aux.3.average") follows the parameters
// of the first unit of the next stage, name by name, as their exponential moving
// average: once a step, before those parameters are updated.
type Average struct {
	Scope    string
	Momentum float64
}

// Batch is what losses may look at besides the module's result.
type Batch struct {
	Images *graph.Value // u8 [N H W C], not normalised
	Labels *graph.Value // s32 [N]
}

// Term is one term of a module's loss.
type Term struct {
	Name    string       // "classification", "similarity", "reconstruction"
	Value   *graph.Value // f32 [1]
	Correct *graph.Value // f32 [1], samples classified right; nil if the term classifies nothing
	// Probabilities are those of the classes, f32 [N C]; nil if the term classifies nothing.
	Probabilities *graph.Value
	Weight        float64 // in the sum that is differentiated
}

// HeadLosses is the Losses function of a stage that ends in the network's head.
func (n *Network) HeadLosses(b *graph.Builder, x *graph.Value, batch Batch) []Term {
	return []Term{CrossEntropy(b, n.Head(b, x), batch)}
}

// CrossEntropy writes the softmax cross-entropy of logits as a term of weight 1.
func CrossEntropy(b *graph.Builder, logits *graph.Value, batch Batch) Term {
	loss, correct, probabilities := b.CrossEntropy(logits, batch.Labels)
	return Term{Name: "classification", Value: loss, Correct: correct, Probabilities: probabilities, Weight: 1}
}

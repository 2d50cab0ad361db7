package model

import "github.com/localbench/localbench/core/graph"

// Stage is one local module as data: the result of a method, and the input of the compiler.
// Forward pass, auxiliary network, losses, backward pass, update and the lifetimes
// of the module's activations follow from it; the schedule is written once, in core.
type Stage struct {
	Units []Unit // run in order on the detached result of the stage before
	// Losses writes what follows the units (an auxiliary network, or the
	// network's head) and returns the loss terms of the module, in table order.
	Losses func(b *graph.Builder, x *graph.Value, batch Batch) []Term
	// Classifier marks the last stage: its first term is the network's own loss
	// and top-1 accuracy, which evaluation reports.
	Classifier bool
	AuxDepth   int // depth of the auxiliary network in units; 0: no auxiliary network
	// Segment is the number of units whose activations are recomputed together in
	// the backward pass: only the results of segments (checkpoints) are saved; 0: everything is saved.
	Segment int
	Average *Average // nil: no average of the next stage's parameters
}

// Average makes the state below Scope ("aux.3.average") the exponential moving average of the parameters
// of the first unit of the next stage with the same names. It is updated once a step, before those parameters are.
type Average struct {
	Scope    string
	Momentum float64
}

// Batch has the inputs of losses besides the module's result.
type Batch struct {
	Images *graph.Value // u8 [N H W C], not normalised
	Labels *graph.Value // s32 [N]
}

// Term is one term of a module's loss.
type Term struct {
	Name    string       // "classification", "similarity", "reconstruction"
	Value   *graph.Value // f32 [1]
	Correct *graph.Value // f32 [1], number of samples classified correctly; nil if the term does not classify
	// Probabilities of the classes, f32 [N C]; nil if the term does not classify.
	Probabilities *graph.Value
	Weight        float64 // in the weighted sum that is differentiated
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

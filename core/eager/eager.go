// Package eager predicts what a training program would report in an eager framework with a caching allocator, so that
// published figures, which come from such programs, can be compared with like. It is a simulation over a step program that
// was written op by op (core.StepOptions.Eager): nothing fused, and one update of everything at the end.
//
// What is allocated when is that of PyTorch's autograd, optimizer and checkpointing, version 2.15:
//   - A result lives until its last reader in the forward pass has run, or, if it is saved, until the node of the backward
//     pass that reads it has. A node is all backward ops of one forward op: its operands and results live together.
//   - ReLU and the sum of a residual block work in place. So does the sum of two gradients that meet, unless the first is
//     still to be read elsewhere. ReLU6 saves its operand, and so does not.
//   - A slice and a view have the memory of their tensor. So have the gradients of a concatenation's operands that of its own,
//     until another gradient is added to one of them. The gradients of the slices of a tensor are joined.
//   - The gradient of a parameter lives until the program drops it, the optimizer's state from the first update on. An update
//     of all parameters at once has temporaries of all of them: copies of the gradients for weight decay, and the roots by
//     which Adam, RMSprop and Adagrad divide.
//   - Dropout saves its mask, a byte an element, and stochastic depth its factors, an f32 a sample, from the forward to the
//     backward pass; neither saves its operand. The generator's state is not the device's.
//   - A layer normalisation saves mean and deviation of each row, and hardsigmoid its operand, from which autograd computes the
//     gradient; in squeeze-and-excitation its result is saved, too.
//   - A checkpointed segment is recomputed as a whole before the first node of its backward pass.
//   - Images are f32, labels 64 bits wide; both stay for the whole step.
//
// Workspaces of kernels are not included unless Options say so, for convolutions as an estimate. SearchedBytes has an estimate
// of cuDNN's trials, see searchBytes. BLASWorkspace is what a library gets.
package eager

import (
	"github.com/localbench/localbench/core/graph"
)

// Prediction is the peaks of a step that is not the first, in bytes, without memory of libraries. What is reserved is
// counted from the start of the program.
type Prediction struct {
	RequestedBytes int64 // sum of the sizes of tensors alive
	AllocatedBytes int64 // sum of the blocks handed out: max_memory_allocated
	ReservedBytes  int64 // sum of the segments asked of the device: max_memory_reserved
	// SearchedBytes is max_memory_allocated of a program that tries all of cuDNN's algorithms for each convolution in its
	// first step (cudnn.benchmark), as most published programs do; an estimate.
	SearchedBytes int64
	// OutOfMemory says that with Options.LimitBytes an allocation did not fit, even without what the allocator had cached.
	OutOfMemory bool
}

// Predict simulates training with g, the program of a step written op by op.
func Predict(g *graph.Graph, o Options) Prediction {
	steady := trace(g, o, temporaryBytes)
	_, p := play(steady, steady)
	search := trace(g, o, func(op *graph.Op) int64 { return max(temporaryBytes(op), searchBytes(op)) })
	cold, later := play(search, steady)
	p.SearchedBytes = max(cold.AllocatedBytes, later.AllocatedBytes)
	return p
}

// Explain is Predict, with what is alive when the most is allocated, in the sizes of blocks and the largest first. It sums to
// AllocatedBytes.
func Explain(g *graph.Graph, o Options) (Prediction, []Tensor) {
	steady := trace(g, o, temporaryBytes)
	_, l := playUntil(steady, steady, 0)
	_, l = playUntil(steady, steady, l.peakAt)
	return Predict(g, o), l.atPeak
}

// temporaryBytes is what an op that a framework composes of several holds beside its operands and results: the centred
// map, in the gradient of a deviation; in that of a gate or a scale the products that are summed to the gradient of the factor;
// in a layer normalisation over channels a copy of the map, whose channels are not next to each other.
func temporaryBytes(op *graph.Op) int64 {
	switch op.Kind {
	case graph.KindDeviationBackward, graph.KindGateBackward, graph.KindScaleBackward:
		return op.Results[0].Bytes()
	case graph.KindLayerNorm, graph.KindLayerNormBackward:
		if x := op.Results[0]; len(x.Shape) == 4 && x.Shape[1]*x.Shape[2] > 1 {
			return x.Bytes()
		}
	}
	return 0
}

// searchBytes estimates the largest workspace that a search over cuDNN's algorithms
// asks for: that of the tiled FFT, whose tiles are 32x32. Input, result and filters are
// kept transformed, as complex f32, one half of each tile: its transform is symmetric.
// A tile of the input gives 33-kernel results in each direction. Other
// convolutions, with strides or windows that are too large, have no such algorithm.
func searchBytes(op *graph.Op) int64 {
	var x, w, y graph.Shape
	switch op.Kind {
	case graph.KindConv:
		x, w, y = op.Operands[0].Shape, op.Operands[1].Shape, op.Results[0].Shape
	case graph.KindConvBackwardData:
		x, w, y = op.Results[0].Shape, op.Operands[1].Shape, op.Operands[0].Shape
	case graph.KindConvBackwardWeights:
		x, w, y = op.Operands[0].Shape, op.Results[0].Shape, op.Operands[1].Shape
	default:
		return 0
	}
	const side, complex64 = 32, 8
	if op.Attr.Stride != [2]int64{1, 1} || op.Attr.Groups > 1 || w[1] == 1 && w[2] == 1 || w[1] > side || w[2] > side {
		return 0
	}
	tiles := ((y[1] + side - w[1]) / (side + 1 - w[1])) * ((y[2] + side - w[2]) / (side + 1 - w[2]))
	tile := int64(side * (side/2 + 1) * complex64)
	return tile * (tiles*x[0]*(x[3]+y[3]) + w[0]*w[3])
}

// Package eager predicts what a training step would report in an eager framework
// with a caching allocator, so that published figures, which come from such
// frameworks, can be held against like. It is a simulation over a step program that
// was written op by op (core.StepOptions.Eager): nothing fused, and one update
// of everything at the end.
//
// The rules of lifetime are those of PyTorch's autograd:
//   - A result lives until its last reader in the forward pass has run, or, if it is
//     saved, until the node of the backward pass that reads it has. A node is all
//     backward ops of one forward op: its operands and results live together.
//   - ReLU and the sum of a residual block work in place. So does the sum of two
//     gradients that meet, unless the first is still to be read elsewhere.
//   - The gradient of a parameter lives until the update at the end, and momentum
//     for ever: the step is not the first.
//   - Dropout saves its mask, a byte an element, and stochastic depth its factors, an f32 a
//     sample, from the forward to the backward pass; neither saves its operand. The generator's
//     state is not the device's.
//   - Images are f32, labels 64 bits wide; both stay for the whole step.
//
// Scratch memory of kernels is not in it: which kernel a framework takes is settled
// by trial. SearchedBytes has an estimate of the trial itself, see searchBytes.
package eager

import (
	"github.com/localbench/localbench/core/graph"
)

// Prediction is the peaks of one step, in bytes.
type Prediction struct {
	RequestedBytes int64 // sum of the sizes of tensors alive
	AllocatedBytes int64 // sum of the blocks handed out: max_memory_allocated
	ReservedBytes  int64 // sum of the segments asked of the device: max_memory_reserved
	// SearchedBytes is max_memory_allocated of a first step in which the framework
	// tries all of cuDNN's algorithms for each convolution (cudnn.benchmark), as most
	// published programs do; an estimate.
	SearchedBytes int64
}

// Predict simulates the steady step of g, and its first with algorithm search.
func Predict(g *graph.Graph) Prediction {
	p := play(trace(g, temporaryBytes))
	p.SearchedBytes = play(trace(g, func(op *graph.Op) int64 { return max(temporaryBytes(op), searchBytes(op)) })).AllocatedBytes
	return p
}

// play runs a trace through the allocator.
func play(events []event) (p Prediction) {
	a := newAllocator()
	var requested int64
	blocks := map[int]*block{}
	for _, e := range events {
		if requested += e.bytes; e.bytes > 0 {
			blocks[e.storage] = a.allocate(e.bytes)
		} else {
			a.free(blocks[e.storage])
			delete(blocks, e.storage)
		}
		p.RequestedBytes = max(p.RequestedBytes, requested)
		p.AllocatedBytes = max(p.AllocatedBytes, a.allocated)
	}
	p.ReservedBytes = a.reserved // nothing is given back below the limit
	return p
}

// event is an allocation (bytes > 0) or the end of one (bytes < 0).
type event struct {
	storage int
	bytes   int64
}

// lifetime is the ops at which a storage is made and last needed.
type lifetime struct {
	from, to int
	bytes    int64
}

// trace lists the allocations of a step in order: first what outlives it. Temporary
// is what an op holds for itself, in bytes.
func trace(g *graph.Graph, temporary func(*graph.Op) int64) []event {
	roots := storages(g)
	ends := nodeEnds(g)
	lives := map[*graph.Value]*lifetime{}
	masks := map[int64]*lifetime{} // of dropout, by salt
	var order []*lifetime
	begin := func(at int, bytes int64) *lifetime {
		l := &lifetime{from: at, to: at, bytes: bytes}
		order = append(order, l)
		return l
	}
	touch := func(v *graph.Value, at int) {
		root := roots[v]
		l := lives[root]
		if l == nil {
			l = begin(at, size(root))
			lives[root] = l
		}
		l.to = max(l.to, at)
	}
	for _, v := range g.Values {
		if (v.Category.Persistent() || v.Category == graph.CategoryInput) && v.Name != graph.DropoutStream {
			touch(v, -1)
			lives[roots[v]].to = len(g.Ops)
		}
	}
	for i, op := range g.Ops {
		for _, v := range op.Results {
			touch(v, i)
			if op.Kind == graph.KindNormalizeImage { // the loader's, and the caller holds it
				lives[roots[v]].to = len(g.Ops)
			}
		}
		operands := op.Operands
		if op.Kind == graph.KindDropout {
			operands = operands[:1] // not the stream
			if op.Results[0].Category == graph.CategoryGradient {
				masks[op.Attr.Salt].to = i
			} else {
				masks[op.Attr.Salt] = begin(i, maskBytes(op))
			}
		}
		for _, v := range operands {
			if v != nil {
				touch(v, ends[i])
			}
		}
	}
	starts, stops := make([][]int, len(g.Ops)+1), make([][]int, len(g.Ops)+1)
	var events []event
	for i, l := range order {
		if l.from < 0 {
			events = append(events, event{i, l.bytes})
			continue
		}
		starts[l.from] = append(starts[l.from], i)
		stops[l.to] = append(stops[l.to], i) // those at the end of the step are freed after it
	}
	for op := range g.Ops {
		for _, i := range starts[op] {
			events = append(events, event{i, order[i].bytes})
		}
		if n := temporary(g.Ops[op]); n > 0 {
			events = append(events, event{len(order), n}, event{len(order), -n})
		}
		for _, i := range stops[op] {
			events = append(events, event{i, -order[i].bytes})
		}
	}
	return events
}

// temporaryBytes is what an op that a framework composes of several holds beside its
// operands and results: the centred map, in the gradient of a deviation.
func temporaryBytes(op *graph.Op) int64 {
	if op.Kind == graph.KindDeviationBackward {
		return op.Results[0].Bytes()
	}
	return 0
}

// maskBytes is what a dropout op keeps for its gradient.
func maskBytes(op *graph.Op) int64 {
	x := op.Operands[0].Shape
	if op.Attr.Rows {
		return 4 * x[0]
	}
	return x.Elements()
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

// size is what a framework holds for v.
func size(v *graph.Value) int64 {
	switch v.Type {
	case graph.TypeU8:
		if v.Category == graph.CategoryInput {
			return 4 * v.Shape.Elements() // images as f32
		}
		return 8 * v.Shape.Elements() // places in windows
	case graph.TypeS32:
		return 8 * v.Shape.Elements()
	}
	return v.Bytes()
}

// storages maps every value to the one whose storage it lies in.
func storages(g *graph.Graph) map[*graph.Value]*graph.Value {
	roots, last := map[*graph.Value]*graph.Value{}, map[*graph.Value]int{}
	for _, v := range g.Values {
		roots[v] = v
	}
	for i, op := range g.Ops {
		for _, v := range op.Operands {
			last[v] = i
		}
	}
	aliases := map[*graph.Value][]*graph.Value{}
	made := map[*graph.Value]graph.Kind{}
	for i, op := range g.Ops {
		for _, r := range op.Results {
			made[r] = op.Kind
		}
		inPlace := op.Kind == graph.KindReLU
		if op.Kind == graph.KindAdd {
			// A sum overwrites what nobody has saved: a normalisation's or stochastic depth's
			// result, or a gradient that nobody else is still to read.
			root := roots[op.Operands[0]]
			maker := made[op.Operands[0]]
			inPlace = maker == graph.KindNormApply || maker == graph.KindDropout
			if op.Phase == graph.PhaseBackward {
				inPlace = last[root] <= i
				for _, v := range aliases[root] {
					inPlace = inPlace && last[v] <= i
				}
			}
		}
		if inPlace {
			root := roots[op.Operands[0]]
			roots[op.Results[0]] = root
			aliases[root] = append(aliases[root], op.Results[0])
		}
	}
	return roots
}

// nodeEnds gives each op the last op of its node: neighbours of the backward pass
// that stem from the same forward op.
func nodeEnds(g *graph.Graph) []int {
	ends := make([]int, len(g.Ops))
	for i := len(g.Ops) - 1; i >= 0; i-- {
		ends[i] = i
		if i+1 < len(g.Ops) && sameNode(g.Ops[i], g.Ops[i+1]) {
			ends[i] = ends[i+1]
		}
	}
	return ends
}

func sameNode(a, b *graph.Op) bool {
	return a.Kind == graph.KindConvBackwardWeights && b.Kind == graph.KindConvBackwardData && a.Scope == b.Scope ||
		a.Kind == graph.KindLinearBackwardWeights && b.Kind == graph.KindLinearBackwardData && a.Scope == b.Scope
}

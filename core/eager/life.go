package eager

import (
	"cmp"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// life simulates training on an allocator, starting with the parameters.
type life struct {
	*step
	allocator *allocator
	blocks    map[int]*block // of the step's storages that are allocated, by number
	batch     []*block       // images and labels
	blas      [2]bool        // the threads of the forward and of the backward pass have their workspace of cuBLAS
	old       []*block       // gradients of the step before, until they are dropped
	alive     map[*block]Tensor
	requested int64
	peak      Prediction // since it was reset
	first     bool       // the step that makes the optimizer's state
	// taken counts allocations since the start, and peakAt is the count at which the most was allocated.
	taken, peakAt int
	stopAt        int // count of allocations at which what is alive is copied to atPeak; 0: never
	atPeak        []Tensor
}

// play runs two steps: the first allocates the optimizer's state, the second is like all later ones. They differ in temporary
// memory where the first tries cuDNN's algorithms. It returns the peaks of each.
func play(first, second *step) (cold, steady Prediction) {
	cold, l := playUntil(first, second, 0)
	return cold, l.peaks()
}

// playUntil is play that also copies what is alive after the given count of allocations.
func playUntil(first, second *step, stopAt int) (cold Prediction, l *life) {
	l = &life{step: first, allocator: newAllocator(first.options.LimitBytes), blocks: map[int]*block{},
		alive: map[*block]Tensor{}, first: true, stopAt: stopAt}
	for _, t := range first.state {
		l.take(t)
	}
	if first.optimizer.kind == graph.KindAdagrad {
		l.makeStates() // by the constructor
	}
	l.newBatch()
	l.run()
	cold = l.peaks()
	l.step, l.peak, l.first = second, Prediction{}, false
	steps := 1
	if l.options.NewBatch {
		steps = 2 // the first still has blocks free that the batch takes in the later ones
	}
	for range steps {
		if l.options.NewBatch {
			l.newBatch()
		}
		l.run()
	}
	return cold, l
}

// newBatch allocates images and labels, and then frees those of the step before.
func (l *life) newBatch() {
	old := l.batch
	l.batch = nil
	for _, t := range l.inputs {
		l.batch = append(l.batch, l.take(t))
	}
	for _, b := range old {
		l.give(b)
	}
}

// peaks are those since l.peak was reset; reserved memory is the most since the start.
func (l *life) peaks() Prediction {
	p := l.peak
	p.OutOfMemory = l.allocator.full
	p.ReservedBytes = l.allocator.most
	return p
}

// take allocates.
func (l *life) take(t Tensor) *block {
	b := l.allocator.allocate(t.Bytes)
	l.alive[b] = t
	l.taken++
	l.requested += t.Bytes
	l.peak.RequestedBytes = max(l.peak.RequestedBytes, l.requested)
	if l.allocator.allocated > l.peak.AllocatedBytes {
		l.peak.AllocatedBytes, l.peakAt = l.allocator.allocated, l.taken
	}
	if l.taken == l.stopAt {
		l.copyAlive()
	}
	return b
}

// copyAlive copies what is alive, in the sizes of blocks, and what the allocator holds beside it; largest first.
func (l *life) copyAlive() {
	for b, t := range l.alive {
		t.Bytes = b.bytes
		l.atPeak = append(l.atPeak, t)
	}
	slices.SortFunc(l.atPeak, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Category, b.Category))
	})
}

// give frees.
func (l *life) give(b *block) {
	l.allocator.free(b)
	l.requested -= l.alive[b].Bytes
	delete(l.alive, b)
}

// run is one step.
func (l *life) run() {
	if !l.options.ZeroMid {
		l.dropGradients()
	}
	for i, n := range l.nodes {
		if i == l.backward {
			l.dropGradients()
		}
		scope := n.ops[0].Scope
		l.takeBLAS(n)
		for _, m := range n.made {
			if m.workspace > 0 {
				l.give(l.take(Tensor{scope + ":workspace", scope, graph.CategoryWorkspace, m.workspace}))
				continue
			}
			l.blocks[m.storage] = l.take(l.storages[m.storage].Tensor)
		}
		if n.temporary > 0 {
			l.give(l.take(Tensor{scope + ":temporary", scope, graph.CategoryWorkspace, n.temporary}))
		}
		for _, s := range n.dead {
			// A gradient stays; one that is added to that of the step before does not.
			if !l.storages[s].gradient || l.options.KeepGradients && !l.first {
				l.give(l.blocks[s])
				delete(l.blocks, s)
			}
		}
	}
	l.update()
	for _, s := range l.gradients {
		if b := l.blocks[s]; b != nil && !l.options.KeepGradients {
			l.old = append(l.old, b)
		}
	}
	clear(l.blocks)
}

// takeBLAS allocates the workspace of cuBLAS before the first linear layer of each thread: the handle keeps it.
func (l *life) takeBLAS(n node) {
	thread := -1
	for _, op := range n.ops {
		switch op.Kind {
		case graph.KindLinear:
			thread = 0
		case graph.KindLinearBackwardData, graph.KindLinearBackwardWeights:
			thread = 1
		}
	}
	if thread >= 0 && !l.blas[thread] && l.options.BLASBytes > 0 {
		l.blas[thread] = true
		l.take(Tensor{Name: "workspace of cuBLAS", Category: graph.CategoryWorkspace, Bytes: l.options.BLASBytes})
	}
}

// dropGradients is zero_grad(set_to_none=True).
func (l *life) dropGradients() {
	for _, b := range l.old {
		l.give(b)
	}
	l.old = nil
}

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
	l = &life{step: first, allocator: newAllocator(), blocks: map[int]*block{}, alive: map[*block]Tensor{}, first: true,
		stopAt: stopAt}
	for _, t := range first.state {
		l.take(t)
	}
	if first.optimizer.kind == graph.KindAdagrad {
		l.makeStates() // by the constructor
	}
	for _, t := range first.inputs {
		l.take(t)
	}
	l.run()
	cold = l.peaks()
	l.step, l.peak, l.first = second, Prediction{}, false
	l.run()
	return cold, l
}

// peaks are those since l.peak was reset; reserved memory is never released.
func (l *life) peaks() Prediction {
	p := l.peak
	p.ReservedBytes = l.allocator.reserved
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
		for _, s := range n.made {
			l.blocks[s] = l.take(l.storages[s].Tensor)
		}
		if n.temporary > 0 {
			scope := n.ops[0].Scope
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

// dropGradients is zero_grad(set_to_none=True).
func (l *life) dropGradients() {
	for _, b := range l.old {
		l.give(b)
	}
	l.old = nil
}

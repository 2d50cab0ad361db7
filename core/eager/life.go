package eager

// life simulates training on an allocator, starting with the parameters.
type life struct {
	*step
	allocator *allocator
	blocks    map[int]*block // of the step's storages that are allocated, by number
	old       []*block       // gradients of the step before, until they are dropped
	oldBytes  []int64
	requested int64
	peak      Prediction // since it was reset
	first     bool       // the step that makes the momentum
}

// play runs two steps: the first allocates the momentum, the second is like all later ones. They differ in temporary memory
// where the first tries cuDNN's algorithms. It returns the peaks of each.
func play(first, second *step) (cold, steady Prediction) {
	l := &life{step: first, allocator: newAllocator(), blocks: map[int]*block{}, first: true}
	for _, bytes := range first.state {
		l.take(bytes)
	}
	for _, bytes := range first.inputs {
		l.take(bytes)
	}
	l.run()
	cold = l.peaks()
	l.step, l.peak, l.first = second, Prediction{}, false
	l.run()
	return cold, l.peaks()
}

// peaks are those since l.peak was reset; reserved memory is never released.
func (l *life) peaks() Prediction {
	p := l.peak
	p.ReservedBytes = l.allocator.reserved
	return p
}

// take allocates.
func (l *life) take(bytes int64) *block {
	b := l.allocator.allocate(bytes)
	l.requested += bytes
	l.peak.RequestedBytes = max(l.peak.RequestedBytes, l.requested)
	l.peak.AllocatedBytes = max(l.peak.AllocatedBytes, l.allocator.allocated)
	return b
}

// give frees.
func (l *life) give(b *block, bytes int64) {
	l.allocator.free(b)
	l.requested -= bytes
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
			l.blocks[s] = l.take(l.storages[s].bytes)
		}
		if n.temporary > 0 {
			l.give(l.take(n.temporary), n.temporary)
		}
		for _, s := range n.dead {
			// A gradient stays; one that is added to that of the step before does not.
			if !l.storages[s].gradient || l.options.KeepGradients && !l.first {
				l.give(l.blocks[s], l.storages[s].bytes)
				delete(l.blocks, s)
			}
		}
	}
	l.update()
	for _, s := range l.gradients {
		if b := l.blocks[s]; b != nil && !l.options.KeepGradients {
			l.old, l.oldBytes = append(l.old, b), append(l.oldBytes, l.storages[s].bytes)
		}
	}
	clear(l.blocks)
}

// dropGradients is zero_grad(set_to_none=True).
func (l *life) dropGradients() {
	for i, b := range l.old {
		l.give(b, l.oldBytes[i])
	}
	l.old, l.oldBytes = nil, nil
}

// update is the optimizer's step. With weight decay the decayed gradients are copies: of all parameters at once, or of
// one parameter at a time, which Nesterov's look ahead copies once more.
func (l *life) update() {
	if !l.options.OneByOne {
		var copies []*block
		if l.decay {
			for _, s := range l.gradients {
				copies = append(copies, l.take(l.storages[s].bytes))
			}
		}
		l.makeMomentum(l.momentum...)
		for i, b := range copies {
			l.give(b, l.storages[l.gradients[i]].bytes)
		}
		return
	}
	var held *block // the copy of the parameter before, until the next one replaces it
	var heldBytes int64
	hold := func(b *block, bytes int64) {
		if held != nil {
			l.give(held, heldBytes)
		}
		held, heldBytes = b, bytes
	}
	for i, s := range l.gradients {
		bytes := l.storages[s].bytes
		hold(nil, 0)
		if l.decay {
			hold(l.take(bytes), bytes)
		}
		if i < len(l.momentum) {
			l.makeMomentum(l.momentum[i])
			if l.nesterov {
				hold(l.take(bytes), bytes)
			} else {
				hold(nil, 0)
			}
		}
	}
	hold(nil, 0)
}

// makeMomentum allocates momentum in the first step.
func (l *life) makeMomentum(sizes ...int64) {
	for _, bytes := range sizes {
		if l.first {
			l.take(bytes)
		}
	}
}

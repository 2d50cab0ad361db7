package eager

import "github.com/localbench/localbench/core/graph"

// optimizer is what decides about the temporaries of an optimizer's step.
type optimizer struct {
	kind     graph.Kind // of the updates
	decay    bool       // weight decay is added to the gradients, in copies
	nesterov bool
}

// optimizerOf reads an update op; its state are the operands in the order in which PyTorch makes them.
func optimizerOf(op *graph.Op) (o optimizer, state []Tensor) {
	for _, v := range op.Operands[2:] {
		if v != nil && v.Category == graph.CategoryOptimizer {
			state = append(state, tensor(v, v.Bytes()))
		}
	}
	return optimizer{op.Kind, op.Attr.WeightDecay > 0 && !op.Attr.Decoupled, op.Attr.Nesterov}, state
}

// Fused reports whether PyTorch has a fused implementation of the optimizer for CUDA.
func Fused(o graph.Optimizer) bool {
	switch o.(type) {
	case graph.SGDOptions, graph.AdamOptions:
		return true
	}
	return false
}

// update is the optimizer's step: torch/optim/{sgd,adam,rmsprop,adagrad}.py. The state of Adam and RMSprop is made before
// the first step, that of SGD in it: a copy of the gradient.
func (l *life) update() {
	if l.first && (l.options.Fused || l.optimizer.kind == graph.KindAdam || l.optimizer.kind == graph.KindRMSprop) {
		l.makeStates()
	}
	switch {
	case l.options.Fused: // one kernel, no temporaries
	case l.options.OneByOne:
		l.updateOneByOne()
	default:
		l.updateTogether()
	}
}

// updateTogether is the multi-tensor implementation (foreach): each temporary is a list, of all parameters.
func (l *life) updateTogether() {
	free := func() {}
	if l.optimizer.decay {
		free = l.takeAll("copy")
	}
	switch l.optimizer.kind {
	case graph.KindSGD:
		if l.first {
			l.makeStates()
		}
	case graph.KindAdam:
		free() // the copies are deleted before the roots are taken
		free = l.takeAll("root")
	case graph.KindRMSprop:
		defer l.takeAll("root")()
	case graph.KindAdagrad:
		defer l.takeAll("root")()
		if !l.optimizer.decay { // else the copies are multiplied by the rate
			defer l.takeAll("copy")()
		}
	}
	free()
}

// updateOneByOne is the single-tensor implementation (foreach=False). Its variables hold what they were assigned for the
// parameter before, until they are assigned anew.
func (l *life) updateOneByOne() {
	gradient, root := variable{l: l}, variable{l: l}
	for i := range l.gradients {
		gradient.drop()
		if l.optimizer.decay {
			gradient.assign(i, "copy")
		}
		switch l.optimizer.kind {
		case graph.KindSGD:
			if len(l.states[i]) == 0 {
				continue
			}
			if l.first {
				l.makeState(i)
			}
			if l.optimizer.nesterov {
				gradient.assign(i, "copy")
			} else {
				gradient.drop()
			}
		case graph.KindAdam: // the root, and the root divided by the correction
			temporary := l.take(l.temporary(i, "root"))
			quotient := l.take(l.temporary(i, "quotient"))
			l.give(temporary)
			root.drop()
			root.block = quotient
		default:
			root.assign(i, "root")
		}
	}
	gradient.drop()
	root.drop()
}

// temporary is a tensor of the size of gradient i that lives during the optimizer's step.
func (l *life) temporary(i int, what string) Tensor {
	t := l.storages[l.gradients[i]].Tensor
	t.Name, t.Category = t.Name+", "+what, graph.CategoryWorkspace
	return t
}

// variable holds a temporary tensor.
type variable struct {
	l     *life
	block *block
}

// assign allocates a tensor of the size of gradient i, and drops the one before.
func (v *variable) assign(i int, what string) {
	b := v.l.take(v.l.temporary(i, what))
	v.drop()
	v.block = b
}

func (v *variable) drop() {
	if v.block != nil {
		v.l.give(v.block)
	}
	v.block = nil
}

// takeAll allocates a tensor of the size of each gradient; the function frees them.
func (l *life) takeAll(what string) (free func()) {
	blocks := make([]*block, len(l.gradients))
	for i := range l.gradients {
		blocks[i] = l.take(l.temporary(i, what))
	}
	return func() {
		for _, b := range blocks {
			l.give(b)
		}
	}
}

// makeStates allocates the state of all parameters.
func (l *life) makeStates() {
	for i := range l.states {
		l.makeState(i)
	}
}

// makeState allocates the state of a parameter. The number of the step is on the host, except in fused Adam.
func (l *life) makeState(i int) {
	if l.options.Fused && l.optimizer.kind == graph.KindAdam {
		t := l.temporary(i, "step")
		t.Category, t.Bytes = graph.CategoryOptimizer, 4
		l.take(t)
	}
	for _, t := range l.states[i] {
		l.take(t)
	}
}

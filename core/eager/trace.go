package eager

import (
	"github.com/localbench/localbench/core/graph"
)

// Tensor is memory with an owner.
type Tensor struct {
	Name     string // as the value or, for what a kernel uses itself, the op and its scope
	Scope    string // of the program
	Category graph.Category
	Bytes    int64
}

// tensor is memory that belongs to v.
func tensor(v *graph.Value, bytes int64) Tensor { return Tensor{v.Name, v.Scope, v.Category, bytes} }

// storage is one allocation of a step.
type storage struct {
	Tensor
	from, to int  // the nodes that allocate it and that need it last
	gradient bool // of a parameter: lives until the program drops it
}

// node is one operation of an eager framework: an op, or the backward ops of one forward op, or a
// normalisation with its statistics.
type node struct {
	ops       []*graph.Op
	made      []allocation // in their order
	dead      []int        // storages that are freed after it
	temporary int64        // bytes allocated and freed at its end
}

// allocation is of a storage or, if workspace is not 0, of that many bytes that are freed at once.
type allocation struct {
	storage   int
	workspace int64
}

// step is the memory of a training step.
type step struct {
	options   Options
	state     []Tensor // parameters and buffers
	inputs    []Tensor
	storages  []storage
	nodes     []node
	backward  int        // the first node of the backward pass
	gradients []int      // storages of the gradients of parameters, in the order of the parameters
	states    [][]Tensor // the optimizer's state of each of these parameters
	optimizer optimizer

	roots     map[*graph.Value]*graph.Value // see storages
	storageOf map[*graph.Value]int          // by root
	masks     map[int64]int                 // storages of the masks of dropout, by salt
	kept      map[*graph.Op][]int           // other storages that an op's gradient needs, by the op: see keeps
}

// trace finds what a step allocates, when, and for how long. Temporary is the memory in bytes that an op allocates and
// frees itself.
func trace(g *graph.Graph, o Options, temporary func(*graph.Op) int64) *step {
	s := &step{options: o, roots: storages(g), storageOf: map[*graph.Value]int{}, masks: map[int64]int{},
		kept: map[*graph.Op][]int{}}
	gradientOf := map[*graph.Value]*graph.Value{} // by parameter
	statesOf := map[*graph.Value][]Tensor{}
	var body []*graph.Op
	for _, op := range g.Ops {
		switch {
		case op.Kind.Updates():
			parameter := op.Operands[0]
			gradientOf[parameter] = op.Operands[1]
			s.optimizer, statesOf[parameter] = optimizerOf(op)
		case op.Kind == graph.KindNormalizeImage, op.Kind == graph.KindAugment, op.Kind == graph.KindAverage:
			// of the loader; in place
		default:
			body = append(body, op)
		}
	}
	s.outlive(g)
	s.nodes = group(body)
	s.backward = len(s.nodes)
	for i := range s.nodes {
		s.visit(i, temporary)
	}
	for _, v := range parameters(g) {
		if gradient := gradientOf[v]; gradient != nil {
			l := s.storageOf[s.roots[gradient]]
			s.storages[l].gradient = true
			s.gradients = append(s.gradients, l)
			s.states = append(s.states, statesOf[v])
		}
	}
	if o.Reentrant {
		s.holdSegments()
	}
	for i := range s.storages {
		l := &s.storages[i]
		if l.Category == graph.CategoryActivation && l.from < s.backward && l.to >= s.backward {
			l.Category = graph.CategorySaved
		}
		s.nodes[l.to].dead = append(s.nodes[l.to].dead, i)
	}
	return s
}

// parameters lists the parameters of g: those of the network, then those of auxiliary networks.
func parameters(g *graph.Graph) (all []*graph.Value) {
	for _, c := range []graph.Category{graph.CategoryParameter, graph.CategoryAuxiliaryParameter} {
		for _, v := range g.Values {
			if v.Category == c {
				all = append(all, v)
			}
		}
	}
	return all
}

// outlive lists what lives longer than a step, except the optimizer's state.
func (s *step) outlive(g *graph.Graph) {
	for _, v := range parameters(g) {
		s.state = append(s.state, tensor(v, v.Bytes()))
	}
	for _, v := range g.Values {
		if v.Category == graph.CategoryBuffer {
			s.state = append(s.state, tensor(v, v.Bytes()))
		}
	}
	raw, images, labels := false, int64(0), int64(0)
	counted := map[*graph.Value]bool{}
	for _, op := range g.Ops {
		switch op.Kind {
		case graph.KindNormStats:
			if mean := op.Operands[1]; mean != nil && !counted[mean] {
				counted[mean] = true
				s.state = append(s.state, Tensor{op.Scope + ":num_batches_tracked", op.Scope, graph.CategoryBuffer, 8}) // an int64
			}
		case graph.KindNormalizeImage:
			images = 4 * op.Results[0].Shape.Elements()
		case graph.KindAugment:
		default:
			for _, v := range op.Operands {
				raw = raw || v != nil && v.Type == graph.TypeU8 && v.Category == graph.CategoryInput
			}
		}
	}
	for _, v := range g.Inputs {
		if v.Type == graph.TypeS32 && len(v.Shape) == 1 && v.Name != graph.StreamInput {
			labels = 8 * v.Shape.Elements()
		}
	}
	input := func(name string, bytes int64) {
		s.inputs = append(s.inputs, Tensor{Name: name, Category: graph.CategoryInput, Bytes: bytes})
	}
	input("images", images)
	if s.options.Images == 2 || s.options.Images == 0 && raw {
		input("images, second copy", images)
	}
	input("labels", labels)
}

// group makes nodes of ops.
func group(ops []*graph.Op) (nodes []node) {
	for i, op := range ops {
		if i > 0 && sameNode(ops[i-1], op) {
			last := &nodes[len(nodes)-1]
			last.ops = append(last.ops, op)
			continue
		}
		nodes = append(nodes, node{ops: []*graph.Op{op}})
	}
	return nodes
}

func sameNode(a, b *graph.Op) bool {
	if a.Kind == graph.KindNormStats && b.Kind == graph.KindNormApply {
		return a.Results[0] == b.Operands[1]
	}
	return a.Forward != nil && a.Forward == b.Forward && a.Kind != graph.KindAdd && b.Kind != graph.KindAdd
}

// ordered lists the ops of a node in the order in which PyTorch allocates their results: a normalisation's before the
// statistics; the gradient of the input before those of weight and bias, but after them in a linear layer without bias.
func (n *node) ordered() (all []*graph.Op) {
	for i := range n.ops {
		op := n.ops[i]
		if len(n.ops) == 2 && !(op.Kind == graph.KindLinearBackwardWeights && len(op.Results) == 1) &&
			!(op.Kind == graph.KindLinearBackwardData && len(n.ops[0].Results) == 1) {
			op = n.ops[1-i]
		}
		all = append(all, op)
	}
	return all
}

// visit begins what node i allocates, and keeps alive what it needs.
func (s *step) visit(i int, temporary func(*graph.Op) int64) {
	n := &s.nodes[i]
	for _, op := range n.ordered() {
		for k, v := range op.Results {
			root := s.roots[v]
			if _, known := s.storageOf[root]; !known {
				s.storageOf[root] = s.begin(i, tensor(root, size(root)))
			}
			s.touch(v, i)
			if w := s.options.workspace(op); k == 0 && w > 0 {
				n.made = append(n.made, allocation{workspace: w})
			}
		}
	}
	for _, op := range n.ops {
		if op.Phase == graph.PhaseBackward {
			s.backward = min(s.backward, i)
		}
		if op.Kind == graph.KindDropout {
			if op.Results[0].Category == graph.CategoryGradient {
				l := &s.storages[s.masks[op.Attr.Salt]]
				l.to = max(l.to, i)
			} else {
				s.masks[op.Attr.Salt] = s.begin(i, Tensor{op.Scope + ":mask", op.Scope, graph.CategorySaved, maskBytes(op)})
			}
		}
		for _, bytes := range keeps(op) {
			s.kept[op] = append(s.kept[op], s.begin(i, Tensor{op.Scope + ":kept", op.Scope, graph.CategorySaved, bytes}))
		}
		for _, l := range s.kept[op.Forward] {
			s.storages[l].to = max(s.storages[l].to, i)
		}
		for _, v := range reads(op) {
			s.touch(v, i)
		}
		n.temporary = max(n.temporary, temporary(op))
	}
}

// keeps lists what a forward op allocates for its gradient besides its result, in bytes: the statistics of a layer
// normalisation, and of a gate by a hardsigmoid, which is two ops in PyTorch, the result of the hardsigmoid.
func keeps(op *graph.Op) []int64 {
	switch {
	case op.Kind == graph.KindLayerNorm:
		x := op.Operands[0].Shape
		rows := 4 * x.Elements() / x[len(x)-1]
		return []int64{rows, rows}
	case op.Kind == graph.KindGate && op.Attr.Activation == graph.ActivationHardsigmoid:
		return []int64{op.Operands[1].Bytes()}
	}
	return nil
}

// begin is a storage that node i allocates.
func (s *step) begin(i int, t Tensor) int {
	l := len(s.storages)
	s.storages = append(s.storages, storage{Tensor: t, from: i, to: i})
	s.nodes[i].made = append(s.nodes[i].made, allocation{storage: l})
	return l
}

// touch keeps the storage of v until node i has run, if it is the step's.
func (s *step) touch(v *graph.Value, i int) {
	if v == nil {
		return
	}
	if at, ok := s.storageOf[s.roots[v]]; ok {
		s.storages[at].to = max(s.storages[at].to, i)
	}
}

// reads lists what op needs: its operands, but in a backward op what autograd saves. That of ReLU6 and hardsigmoid saves the
// operand, not the result; those of a convolution and a pool also save operands that they do not need.
func reads(op *graph.Op) []*graph.Value {
	forward := op.Forward
	if forward == nil || op.Kind == graph.KindAdd {
		return op.Operands
	}
	switch {
	case forward.Kind == graph.KindReLU && forward.Attr.Activation == graph.ActivationReLU6,
		forward.Kind == graph.KindActivate && forward.Attr.Activation == graph.ActivationHardsigmoid:
		return []*graph.Value{op.Operands[0], forward.Operands[0]}
	case forward.Kind == graph.KindConv, forward.Kind == graph.KindMaxPool, forward.Kind == graph.KindAveragePool:
		return append(forward.Operands[:1:1], op.Operands...)
	case forward.Kind == graph.KindAdaptiveAveragePool && !global(forward):
		return append(forward.Operands[:1:1], op.Operands...)
	}
	return op.Operands
}

// global reports whether a pool averages the whole map: PyTorch takes the mean then, which saves nothing.
func global(pool *graph.Op) bool {
	y := pool.Results[0].Shape
	return len(y) == 2 || y[1] == 1 && y[2] == 1
}

// holdSegments keeps what reentrant checkpointing holds while the backward pass of a segment runs: the incoming gradient
// and the recomputed result. The ops of a recomputed segment are those of the backward pass that make activations.
func (s *step) holdSegments() {
	recomputed := func(i int) bool {
		op := s.nodes[i].ops[0]
		return op.Phase == graph.PhaseBackward && op.Results[0].Category != graph.CategoryGradient
	}
	end := len(s.nodes) - 1
	for i := len(s.nodes) - 2; i >= 0; i-- {
		if !recomputed(i) {
			continue
		}
		if !recomputed(i + 1) { // the last op of a segment, and the first of its backward pass
			ops := s.nodes[i].ops
			s.touch(ops[len(ops)-1].Results[0], end)
			s.touch(s.nodes[i+1].ops[0].Operands[0], end)
		}
		if i == 0 || !recomputed(i-1) {
			end = i - 1
		}
	}
}

// maskBytes is the size of the mask that a dropout op saves for its gradient.
func maskBytes(op *graph.Op) int64 {
	x := op.Operands[0].Shape
	if op.Attr.Rows {
		return 4 * x[0]
	}
	return x.Elements()
}

// size is the memory that a framework allocates for v.
func size(v *graph.Value) int64 {
	switch v.Type {
	case graph.TypeU8, graph.TypeS32:
		return 8 * v.Shape.Elements() // positions in windows
	}
	return v.Bytes()
}

// storages maps every value to the one whose storage it aliases.
func storages(g *graph.Graph) map[*graph.Value]*graph.Value {
	roots, last := map[*graph.Value]*graph.Value{}, map[*graph.Value]int{}
	for _, v := range g.Values {
		roots[v] = v
	}
	for i, op := range g.Ops {
		for _, v := range reads(op) {
			last[v] = i
		}
	}
	aliases := map[*graph.Value][]*graph.Value{}
	parts := map[*graph.Value]bool{} // views of a part of a storage: nothing is added to them in place
	unread := func(v *graph.Value, i int) bool {
		root := roots[v]
		for _, w := range aliases[root] {
			if last[w] > i {
				return false
			}
		}
		return last[root] <= i && !parts[v]
	}
	made := map[*graph.Value]graph.Kind{}
	for i, op := range g.Ops {
		for _, r := range op.Results {
			made[r] = op.Kind
		}
		inPlace, operand := false, 0
		switch op.Kind {
		case graph.KindReLU:
			inPlace = op.Attr.Activation == graph.ActivationReLU
		case graph.KindReshape:
			inPlace = true
		case graph.KindSlice: // a view, unless it is added to a gradient
			if inPlace = op.Operands[1] == nil; inPlace {
				parts[op.Results[0]] = true
			} else {
				inPlace, operand = unread(op.Operands[1], i), 1
			}
		case graph.KindSliceBackward: // the gradients of all slices are joined
			inPlace, operand = op.Operands[1] != nil && unread(op.Operands[1], i), 1
		case graph.KindAdd:
			// A sum is computed in place if autograd has not saved its operand: the result of a
			// normalisation, of stochastic depth or of a layer scale, or a gradient that no other op reads.
			maker := made[op.Operands[0]]
			inPlace = maker == graph.KindNormApply || maker == graph.KindDropout || maker == graph.KindScale
			if op.Results[0].Category == graph.CategoryGradient {
				inPlace = unread(op.Operands[0], i)
			}
		}
		if inPlace {
			root := roots[op.Operands[operand]]
			roots[op.Results[0]] = root
			aliases[root] = append(aliases[root], op.Results[0])
		}
	}
	return roots
}

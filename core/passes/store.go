package passes

import (
	"errors"
	"fmt"

	"github.com/localbench/localbench/core/graph"
)

// Store compresses what is saved for the backward pass: an activation that the backward pass reads is stored in the format
// after its last use in the forward pass, and expanded before its first use in the backward pass. The forward pass reads the
// activation itself, so that what it computes does not change. In int8 and int4 activations are quantized in groups
// (graph.Builder.Quantize), as in BLPA (Chakrabarti, Moseley: "Backprop with Approximate Activations for Memory-efficient
// Network Training", 2019) and ActNN (Chen et al., 2021); in bf16 they are cast. Where the backward pass needs only whether a
// ReLU passes the gradient, one bit an element is stored, which is exact.
//
// An activation stays as it is if
//
//   - it has less than a group of elements, or one dimension: a vector with an element for each channel;
//   - a backward op reads it in a role that is f32 in mixed precision too: statistics, probabilities, scores of samples;
//   - it is no floating-point number: labels, positions of maxima;
//   - less than its own size is saved between its last use in the forward pass and its first use in the backward pass: the
//     peak would not be lower;
//   - it is kept for the forward pass of another module, or as an output: a backward op that runs before that reads it as it is.
//
// If its last use in the forward pass can write its result into the bytes of the activation, it is stored before that op, else
// after it. It runs when the types of values are final, and before InPlace.
//
// What Recompute recomputes is stored likewise, with the same random numbers as the activation would have had: from its last
// use by the recomputation to its first use by another op of the backward pass. The recomputation reads activations of the
// forward pass that are expanded, so that what it computes differs from the forward pass.
//
// Where convolutions normalise their input, that input is what is saved: the gradient of the weight normalises what is expanded.
func Store(g *graph.Graph, format graph.StoreFormat) error {
	if format == graph.StoreF32 {
		return nil
	}
	exactMasks(g)
	s := storer{graph: g, format: format, stream: g.Input(graph.StreamInput), uses: usesOf(g), salts: map[int64]*graph.Value{},
		before: map[int][]*graph.Op{}, after: map[int][]*graph.Op{}}
	s.saved = s.savedBefore()
	for _, v := range g.Values[:len(g.Values):len(g.Values)] {
		if err := s.store(v); err != nil {
			return fmt.Errorf("store: %s: %w", v.Name, err)
		}
	}
	if err := s.fusedMasks(); err != nil {
		return err
	}
	var ops []*graph.Op
	for i, op := range g.Ops {
		ops = append(append(append(ops, s.before[i]...), op), s.after[i]...)
	}
	g.Ops = ops
	return nil
}

// exactMasks has the backward pass of every ReLU read where the result of the forward pass passes the gradient. A
// normalisation otherwise computes that from its operand, which would be a compressed one, and a recomputation begins with
// compressed activations: elements near zero would get the gradient of the other side, and the gradients a bias.
func exactMasks(g *graph.Graph) {
	type norm struct{ x, gamma *graph.Value }
	applied := map[norm]*graph.Value{} // what the forward pass makes of x
	read := func(op *graph.Op, operand int, y *graph.Value) {
		op.Operands[operand] = y
		if y.Category == graph.CategoryActivation {
			y.Category = graph.CategorySaved
		}
	}
	for _, op := range g.Ops {
		switch {
		case op.Kind == graph.KindNormApply && op.Phase != graph.PhaseBackward:
			applied[norm{op.Operands[0], op.Operands[3]}] = op.Results[0]
		case op.Kind == graph.KindReLUBackward && op.Operands[1].Recomputes != nil:
			read(op, 1, op.Operands[1].Recomputes)
		case op.Kind == graph.KindNormBackward && op.Attr.Activation.Rectifies():
			x, z := op.Operands[1], op.Operands[graph.NormBackwardResult]
			if x.Recomputes != nil {
				x = x.Recomputes
			}
			y := applied[norm{x, op.Operands[4]}]
			if y == nil {
				continue
			}
			if read(op, graph.NormBackwardResult, y); z == nil {
				addResidualGradient(g, op)
			}
		}
	}
}

// addResidualGradient adds the result that a norm_backward has where it reads the result of the normalisation.
func addResidualGradient(g *graph.Graph, op *graph.Op) {
	x := op.Operands[1]
	unused := &graph.Value{ID: len(g.Values), Name: op.Results[0].Name + " before normalisation",
		Scope: op.Scope, Module: op.Module, Shape: x.Shape, Type: x.Type, Category: graph.CategoryGradient}
	g.Values, op.Results = append(g.Values, unused), append(op.Results, unused)
}

// use is one reader of a value: operand number operand of op number op.
type use struct{ op, operand int }

// uses are those of one value. The forward pass of what is recomputed is the recomputation.
type uses struct {
	made        int // the op of the forward pass that makes it; none if no such op does
	lastForward int // the last op of the forward pass that makes or reads it
	backward    []use
	kept        bool // an output, or read by an update
}

// forwardOf reports whether op belongs to the forward pass of v.
func forwardOf(v *graph.Value, op *graph.Op) bool {
	if v.Recomputes != nil {
		return len(op.Results) > 0 && op.Results[0].Recomputes != nil
	}
	return op.Phase != graph.PhaseBackward && op.Phase != graph.PhaseUpdate
}

// usesOf lists the uses of all values.
func usesOf(g *graph.Graph) []uses {
	all := make([]uses, len(g.Values))
	for i := range all {
		all[i].made = none
	}
	for i, op := range g.Ops {
		for n, v := range op.Operands {
			switch {
			case v == nil:
			case forwardOf(v, op):
				all[v.ID].lastForward = i
			case op.Phase == graph.PhaseBackward:
				all[v.ID].backward = append(all[v.ID].backward, use{i, n})
			default:
				all[v.ID].kept = true
			}
		}
		for _, v := range op.Results {
			if forwardOf(v, op) {
				all[v.ID].made, all[v.ID].lastForward = i, i
			}
		}
	}
	for _, v := range g.Outputs {
		all[v.ID].kept = true
	}
	return all
}

// storer is the state of Store. Indices of ops are those before the pass.
type storer struct {
	graph         *graph.Graph
	format        graph.StoreFormat
	stream        *graph.Value
	uses          []uses
	saved         []int64                // bytes of saved activations that the ops before an op have made
	salts         map[int64]*graph.Value // by salt: the activation that has it
	before, after map[int][]*graph.Op    // new ops, by the op beside them
}

// savedBefore sums the saved activations in program order.
func (s *storer) savedBefore() []int64 {
	sums := make([]int64, len(s.graph.Ops)+1)
	for i, op := range s.graph.Ops {
		sums[i+1] = sums[i]
		for _, v := range op.Results {
			if v.Category == graph.CategorySaved && s.uses[v.ID].made == i {
				sums[i+1] += v.Bytes()
			}
		}
	}
	return sums
}

// store compresses v, if it is an activation that can be.
func (s *storer) store(v *graph.Value) error {
	u := s.uses[v.ID]
	if v.Category != graph.CategorySaved || u.made == none || u.kept || len(v.Shape) < 2 ||
		v.Shape.Elements() < graph.QuantizedGroup || v.Type != graph.TypeF32 && v.Type != graph.TypeBF16 {
		return nil
	}
	var values, masks []use
	activation, exact := graph.ActivationNone, false
	for _, b := range u.backward {
		op := s.graph.Ops[b.op]
		switch {
		case b.op < u.lastForward:
			exact = true
		case !op.Tensor(b.operand):
			return nil
		case readsMask(op, b.operand) && (activation == graph.ActivationNone || activation == op.Attr.Activation):
			masks, activation = append(masks, b), op.Attr.Activation
		default:
			values = append(values, b)
		}
	}
	first := len(s.graph.Ops)
	for _, b := range append(values[:len(values):len(values)], masks...) {
		first = min(first, b.op)
	}
	if first == len(s.graph.Ops) || s.saved[first]-s.saved[u.lastForward+1] < v.Bytes() {
		return nil
	}
	if len(values) > 0 {
		if err := s.compress(v, u.lastForward, s.format.Bits(), graph.ActivationNone, values); err != nil {
			return err
		}
	}
	if len(masks) > 0 {
		if err := s.compress(v, u.lastForward, 1, activation, masks); err != nil {
			return err
		}
	}
	if !exact {
		v.Category = graph.CategoryActivation
	}
	return nil
}

// readsMask reports whether a backward op reads of an operand only where its elements are above 0 and below 6.
func readsMask(op *graph.Op, operand int) bool {
	return op.Kind == graph.KindReLUBackward && operand == 1 ||
		op.Kind == graph.KindNormBackward && operand == graph.NormBackwardResult && op.Attr.Activation.Rectifies()
}

// fusedMasks does what exactMasks does where convolutions normalise their input (FuseNormInput), so that there is no result of
// the normalisation whose mask could be stored. Where its operand is compressed or recomputed, the last convolution that
// reads it is followed by the normalisation, which can overwrite the operand, and by the mask of its result.
func (s *storer) fusedMasks() error {
	type norm struct{ x, gamma *graph.Value }
	fused := map[norm]int{} // the last convolution of the forward pass that computes this normalisation
	for i, op := range s.graph.Ops {
		if op.Phase != graph.PhaseBackward && op.NormalisesInput() {
			first, _ := op.Kind.NormInput()
			fused[norm{op.Operands[0], op.Operands[first+2]}] = i
		}
	}
	for i, op := range s.graph.Ops {
		if op.Kind != graph.KindNormBackward || op.Operands[graph.NormBackwardResult] != nil || !op.Attr.Activation.Rectifies() {
			continue
		}
		x := op.Operands[1]
		if x.Stores != nil {
			x = x.Stores
		}
		if x.Recomputes != nil {
			x = x.Recomputes
		}
		at, ok := fused[norm{x, op.Operands[4]}]
		if !ok || x == op.Operands[1] {
			continue
		}
		apply := s.normalisation(s.graph.Ops[at])
		s.after[at] = append(s.after[at], apply)
		reader := []use{{i, graph.NormBackwardResult}}
		if err := s.compress(apply.Results[0], at, 1, apply.Attr.Activation, reader); err != nil {
			return err
		}
		addResidualGradient(s.graph, op)
	}
	return nil
}

// normalisation is the op that makes what a convolution computes of its input while it reads it.
func (s *storer) normalisation(conv *graph.Op) *graph.Op {
	x := conv.Operands[0]
	first, _ := conv.Kind.NormInput()
	y := s.value(x, x.Name+" normalised", x.Shape, x.Type, graph.CategoryActivation, conv.Module)
	operands := append(append([]*graph.Value{x}, conv.Operands[first:first+4]...), nil) // no residual
	return &graph.Op{Kind: graph.KindNormApply, Operands: operands, Results: []*graph.Value{y}, Scope: conv.Scope,
		Module: conv.Module, Phase: conv.Phase, Attr: graph.Attributes{Activation: conv.Attr.Activation, Epsilon: conv.Attr.Epsilon}}
}

// compress writes the ops that store v after op number at, with a number of bits or cast to bf16 with 0, and expand it for the
// readers.
func (s *storer) compress(v *graph.Value, at int, bits int64, a graph.Activation, readers []use) error {
	last, reader := s.graph.Ops[at], s.graph.Ops[readers[0].op]
	how := s.format.String()
	if bits == 1 {
		how = "mask"
	}
	store := &graph.Op{Kind: graph.KindCast, Operands: []*graph.Value{v}, Attr: graph.Attributes{Element: graph.TypeBF16},
		Scope: last.Scope, Module: last.Module, Phase: last.Phase}
	expand := &graph.Op{Kind: graph.KindCast, Attr: graph.Attributes{Element: graph.TypeF32},
		Scope: reader.Scope, Module: reader.Module, Phase: reader.Phase}
	if bits > 0 {
		store.Kind, store.Attr = graph.KindQuantize, graph.Attributes{Bits: bits, Activation: a}
		expand.Kind, expand.Attr = graph.KindDequantize, graph.Attributes{Bits: bits, Element: v.Type}
		copy(expand.Attr.Shape[:], v.Shape)
		if store.Operands = append(store.Operands, nil); bits > 1 {
			if s.stream == nil {
				return errors.New("the program has no input for the seed and the step")
			}
			store.Operands[1], store.Attr.Salt = s.stream, s.salt(v)
		}
		packed, ranges := graph.QuantizedShapes(v.Shape, bits)
		store.Results = []*graph.Value{s.value(v, v.Name+" in "+how, packed, graph.TypeU8, graph.CategoryCompressed, last.Module)}
		expand.Operands = []*graph.Value{store.Results[0], nil}
		if ranges != nil {
			r := s.value(v, v.Name+" in "+how+", ranges", ranges, graph.TypeF32, graph.CategoryCompressed, last.Module)
			store.Results, expand.Operands[1] = append(store.Results, r), r
		}
	} else {
		store.Results = []*graph.Value{s.value(v, v.Name+" in "+how, v.Shape, graph.TypeBF16, graph.CategoryCompressed, last.Module)}
		expand.Operands = store.Results
	}
	expanded := s.value(v, v.Name+" from "+how, v.Shape, v.Type, graph.CategoryActivation, reader.Module)
	expand.Results = []*graph.Value{expanded}
	if overwrites(last, v) {
		s.before[at] = append(s.before[at], store)
	} else {
		s.after[at] = append(s.after[at], store)
	}
	for _, r := range readers {
		s.graph.Ops[r.op].Operands[r.operand] = expanded
	}
	s.before[readers[0].op] = append(s.before[readers[0].op], expand)
	return nil
}

// overwrites reports whether op may write a result into the bytes of v, its operand.
func overwrites(op *graph.Op, v *graph.Value) bool {
	for _, p := range op.InPlace() {
		if op.Operands[p.Operand] == v {
			return true
		}
	}
	return false
}

// salt selects random numbers for v: the hash of the name of the activation that it is or recomputes, or if another one has that
// the next number.
func (s *storer) salt(v *graph.Value) int64 {
	if v.Recomputes != nil {
		v = v.Recomputes
	}
	salt := graph.NameSalt(v.Name)
	for s.salts[salt] != nil && s.salts[salt] != v {
		salt = (salt + 1) & (1<<32 - 1)
	}
	s.salts[salt] = v
	return salt
}

// value adds a value that holds v in another form.
func (s *storer) value(v *graph.Value, name string, shape graph.Shape, t graph.ElementType, c graph.Category,
	module int) *graph.Value {
	out := &graph.Value{ID: len(s.graph.Values), Name: name, Scope: v.Scope, Module: module, Shape: shape, Type: t, Category: c,
		Stores: v}
	s.graph.Values = append(s.graph.Values, out)
	return out
}

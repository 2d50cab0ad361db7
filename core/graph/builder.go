package graph

import (
	"fmt"
	"math"
	"strings"
)

// Builder writes a graph op by op. It keeps its first error and makes every
// later call a no-op, so forward code needs no error checks: Graph returns it.
type Builder struct {
	frozen   bool
	shared   bool
	graph    Graph
	err      error
	path     []string
	module   int
	phase    Phase
	forward  *Op // in At
	training bool
	drops    bool
	keeps    bool // see KeepIdentities
	names    map[string]int
	salts    map[uint32]string // of dropout ops, with their scopes
}

// NewBuilder returns an empty builder. Training says whether normalisation
// uses the batch's statistics (and saves what backward needs) or the running
// ones.
func NewBuilder(training bool) *Builder {
	return &Builder{module: NoModule, training: training, names: map[string]int{}, salts: map[uint32]string{}}
}

// Training reports whether the program being written is a training step.
func (b *Builder) Training() bool { return b.training }

// KeepIdentities makes units and heads write ops that change nothing, such as an interpolation to the size that a map
// already has: eager frameworks run them and keep their results.
func (b *Builder) KeepIdentities() { b.keeps = true }

// KeepsIdentities reports whether KeepIdentities was called.
func (b *Builder) KeepsIdentities() bool { return b.keeps }

// Graph returns the finished graph, or the first error of the building.
func (b *Builder) Graph() (*Graph, error) {
	if b.err != nil {
		return nil, b.err
	}
	return &b.graph, nil
}

// Err returns the first error of the building so far.
func (b *Builder) Err() error { return b.err }

// Ops returns the ops written so far. The slice must not be changed.
func (b *Builder) Ops() []*Op { return b.graph.Ops }

// Outputs lists what Output has declared so far.
func (b *Builder) Outputs() []*Value { return b.graph.Outputs }

// Rewrite replaces the ops from position from on by what pass makes of them:
// how forward ops are fused before reverse mode reads them.
func (b *Builder) Rewrite(from int, pass func([]*Op) []*Op) {
	if b.err == nil {
		b.graph.Ops = append(b.graph.Ops[:from:from], pass(b.graph.Ops[from:])...)
	}
}

// In writes what f writes in the inner scope name. Scopes name parameters
// ("layer1.0" and "conv1" give "layer1.0.conv1.weight") and attribute memory.
// An empty name adds no scope.
func (b *Builder) In(name string, f func()) {
	if name == "" {
		f()
		return
	}
	b.path = append(b.path, name)
	f()
	b.path = b.path[:len(b.path)-1]
}

// InModule writes what f writes for local module m in the given phase.
func (b *Builder) InModule(m int, p Phase, f func()) {
	module, phase := b.module, b.phase
	b.module, b.phase = m, p
	f()
	b.module, b.phase = module, phase
}

// At writes what f writes with the scope, the module and the given phase of op:
// how backward ops get the scope of their forward op.
func (b *Builder) At(op *Op, p Phase, f func()) {
	path, forward := b.path, b.forward
	b.path, b.forward = nil, op
	if _, inner, ok := strings.Cut(op.Scope, "/"); ok {
		b.path = strings.Split(inner, "/")
	}
	b.InModule(op.Module, p, f)
	b.path, b.forward = path, forward
}

// Scope returns the current scope: "module3/layer2.1/bn1".
func (b *Builder) Scope() string {
	head := "step"
	if b.module != NoModule {
		head = fmt.Sprintf("module%d", b.module)
	}
	return strings.Join(append([]string{head}, b.path...), "/")
}

// Fail records err with the current scope, unless there is an error already. For
// units and methods that cannot build something.
func (b *Builder) Fail(err error) {
	if b.err == nil {
		b.err = fmt.Errorf("%s: %w", b.Scope(), err)
	}
}

// Input declares a value that is written before every run.
func (b *Builder) Input(name string, shape Shape, t ElementType) *Value {
	v := b.value(name, shape, t, CategoryInput)
	v.Module, v.Scope = NoModule, "step"
	b.graph.Inputs = append(b.graph.Inputs, v)
	return v
}

// Output keeps v readable after a run.
func (b *Builder) Output(v *Value) {
	b.graph.Outputs = append(b.graph.Outputs, v)
}

// Frozen writes what f writes with state in place of trained weights: gradients
// pass through its ops, and nothing updates what it declares but averages.
func (b *Builder) Frozen(f func()) {
	defer func(before bool) { b.frozen = before }(b.frozen)
	b.frozen = true
	f()
}

// Shared writes what f writes with parameters that ops written before may have, too: f does not declare a parameter again that
// has been declared, with the same name and shape.
func (b *Builder) Shared(f func()) {
	defer func(before bool) { b.shared = before }(b.shared)
	b.shared = true
	f()
}

// State returns the persistent values declared so far whose names begin with the
// prefix, in order.
func (b *Builder) State(prefix string) []*Value {
	var out []*Value
	for _, v := range b.graph.Values {
		if v.Category.Persistent() && strings.HasPrefix(v.Name, prefix) {
			out = append(out, v)
		}
	}
	return out
}

// Parameter declares a trained weight, named by the scope and role: in scope
// "layer1.0/conv1" the role "weight" gives "layer1.0.conv1.weight". In the
// auxiliary phase it belongs to the auxiliary network.
func (b *Builder) Parameter(role string, shape Shape, w Weight) *Value {
	category := CategoryParameter
	if b.frozen {
		return b.Buffer(role, shape, w)
	}
	if b.phase == PhaseAuxiliary {
		category = CategoryAuxiliaryParameter
	}
	return b.persistent(role, shape, w, category)
}

// Buffer declares state that is not trained: running statistics.
func (b *Builder) Buffer(role string, shape Shape, w Weight) *Value {
	return b.persistent(role, shape, w, CategoryBuffer)
}

// Momentum declares the momentum of parameter p under SGD, zero at the start.
func (b *Builder) Momentum(p *Value) *Value { return b.OptimizerState(p, "momentum") }

// OptimizerState declares state of the optimizer for parameter p, zero at the start and f32: "conv1.weight" and the role
// "exp_avg" give "conv1.weight.exp_avg". It belongs to the module and scope of the parameter.
func (b *Builder) OptimizerState(p *Value, role string) *Value {
	v := b.value(p.Name+"."+role, p.Shape, TypeF32, CategoryOptimizer)
	v.Module, v.Scope = p.Module, p.Scope
	v.Weight = &Weight{Init: InitConstant, Layout: p.Weight.Layout, Source: p.Weight.Source, Canonical: p.Weight.Canonical}
	return v
}

func (b *Builder) persistent(role string, shape Shape, w Weight, c Category) *Value {
	name := strings.Join(append(b.path[:len(b.path):len(b.path)], role), ".")
	if b.shared {
		if v := b.graph.Parameter(name); v != nil && v.Shape.Equal(shape) && v.Category == c {
			return v
		}
	}
	v := b.value(name, shape, TypeF32, c)
	v.Weight = &w
	return v
}

// value appends a value; its name must be new.
func (b *Builder) value(name string, shape Shape, t ElementType, c Category) *Value {
	v := &Value{ID: len(b.graph.Values), Name: name, Scope: b.Scope(), Module: b.module, Shape: shape, Type: t, Category: c}
	if err := checkExtent(shape, t); err != nil {
		b.Fail(fmt.Errorf("%s: %w", name, err))
	}
	if b.names[name]++; b.names[name] > 1 {
		b.Fail(fmt.Errorf("a second value is named %q: names must be unique", name))
	}
	if b.err == nil {
		b.graph.Values = append(b.graph.Values, v)
	}
	return v
}

// checkExtent rejects empty shapes and those whose bytes do not fit an int64.
func checkExtent(s Shape, t ElementType) error {
	n := t.Bytes()
	for _, d := range s {
		if d < 1 {
			return fmt.Errorf("shape %s has an extent of %d: must be at least 1", s, d)
		}
		if n > math.MaxInt64/d {
			return fmt.Errorf("shape %s holds more than 2^63 bytes", s)
		}
		n *= d
	}
	return nil
}

// first adds an op and returns its first result.
func (b *Builder) first(k Kind, a Attributes, operands ...*Value) *Value {
	return b.add(k, a, operands...)[0]
}

// add appends an op of kind k and returns its results. After an error it
// returns placeholders, enough of them for any kind.
func (b *Builder) add(k Kind, a Attributes, operands ...*Value) []*Value {
	placeholder := &Value{}
	failed := []*Value{placeholder, placeholder, placeholder, placeholder}
	if b.err != nil {
		return failed
	}
	op := &Op{Kind: k, Operands: operands, Attr: a, Scope: b.Scope(), Module: b.module, Phase: b.phase}
	if b.phase == PhaseBackward {
		op.Forward = b.forward
	}
	types, err := op.infer()
	if err != nil {
		b.Fail(err)
		return failed
	}
	for _, t := range types {
		op.Results = append(op.Results, b.value(b.freshName(op, t.role), t.shape, t.element, t.category))
	}
	if b.err != nil {
		return failed
	}
	b.graph.Ops = append(b.graph.Ops, op)
	return op.Results
}

// freshName names a result by its scope and role: "layer2.1/conv1:y". Where a
// scope makes several of a role, they are numbered from the second: "...:y#2".
func (b *Builder) freshName(op *Op, role string) string {
	name := op.Scope + ":" + role
	if b.names[name] == 0 {
		return name
	}
	for i := 2; ; i++ {
		if numbered := fmt.Sprintf("%s#%d", name, i); b.names[numbered] == 0 {
			return numbered
		}
	}
}

// infer checks the operands against the roles of the kind and returns the
// types of the results.
func (op *Op) infer() ([]resultType, error) {
	r := op.Kind.rule()
	repeats := len(r.operands) > 0 && strings.HasSuffix(r.operands[len(r.operands)-1], "+") && len(op.Operands) > len(r.operands)
	if len(op.Operands) != len(r.operands) && !repeats {
		if r.operands == nil {
			_, err := r.results(op)
			return nil, err
		}
		return nil, fmt.Errorf("%s: %d operands: must be %d (%s)",
			op.Kind, len(op.Operands), len(r.operands), strings.Join(r.operands, ", "))
	}
	for i, v := range op.Operands {
		if role := r.operands[min(i, len(r.operands)-1)]; v == nil && !strings.HasSuffix(role, "?") {
			return nil, fmt.Errorf("%s: operand %s is missing", op.Kind, role)
		}
	}
	if err := op.checkElements(); err != nil {
		return nil, fmt.Errorf("%s: %w", op.Kind, err)
	}
	types, err := r.results(op)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op.Kind, err)
	}
	return types, nil
}

package exported

import (
	"math"
	"slices"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// takeFrom gives n, the network of p, the units of the built-in network that has the same forward pass (forwardPass.equal), if
// there is one: where they end, what methods need to know of them (widths, DGL's pooling sides, places in papers), and the rules
// of auxiliary networks. The ops stay those of the file, with the names that its parameters have there. The tree is that of the
// modules of p.
func (p *program) takeFrom(builtIn []*model.Network, n *model.Network, t *tree) {
	own, at, err := p.pass(n)
	if err != nil {
		return // as planning will say
	}
	for _, k := range builtIn {
		other, err := passOf(k)
		if err != nil {
			continue // it does not take images of this size
		}
		pairs, ok := own.equal(other)
		if !ok {
			continue
		}
		ends := make([]int, len(k.Units))
		for i, v := range other.ends {
			ends[i] = at[pairs[v]]
		}
		if slices.Contains(ends, 0) { // a unit does not end where the ops of the file can be divided
			continue
		}
		units, head := p.cut(ends, t)
		p.setUnits(n, units, head)
		n.BuiltIn, n.NoBlock = k.Name, ""
		n.AuxiliaryHead, n.LateAuxiliary = k.AuxiliaryHead, k.LateAuxiliary
		places := map[string]model.Unit{}
		for i, u := range k.Units {
			places[n.Units[i].Place] = u
			n.Units[i].BuiltInPlace, n.Units[i].Width, n.Units[i].PoolSide = u.Place, u.Width, u.PoolSide
		}
		n.Block = func(name string, like model.Unit, stride int64) model.Unit {
			return k.Block(name, places[like.Place], stride)
		}
		return
	}
}

// forwardPass is the forward pass of a training step of a network, with dropout and with the ops that change nothing.
type forwardPass struct {
	graph *graph.Graph
	ends  []*graph.Value // the results of the units
}

// forwardBatch is the batch of a forwardPass. Equal networks are equal for every batch.
const forwardBatch = 2

// newPass begins the forward pass of a network; x is its input.
func newPass(n *model.Network) (b *graph.Builder, x *graph.Value) {
	b = graph.NewBuilder(true)
	b.EnableDropout()
	b.KeepIdentities()
	return b, b.Input("images", append(graph.Shape{forwardBatch}, n.Input...), graph.TypeF32)
}

// passOf writes the forward pass of a network.
func passOf(n *model.Network) (f forwardPass, err error) {
	b, x := newPass(n)
	for _, u := range n.Units {
		b.In(u.Name, func() { x = u.Forward(b, x) })
		f.ends = append(f.ends, x)
	}
	b.Output(n.Head(b, x))
	f.graph, err = b.Graph()
	return f, err
}

// pass writes the forward pass of the network n of p. It returns the positions at which the ops of p can be divided, by the
// value that is alive there.
func (p *program) pass(n *model.Network) (f forwardPass, at map[*graph.Value]int, err error) {
	whole := unit{ops: p.ops, out: p.result}
	whole.order(p)
	b, x := newPass(n)
	values := p.writeAll(b, whole, x)
	if f.graph, err = b.Graph(); err != nil {
		return f, nil, err
	}
	f.graph.Outputs = []*graph.Value{values[p.result]}
	at = map[*graph.Value]int{}
	for i, can := range p.cuts() {
		if !can {
			continue
		}
		if v := values[p.ops[i-1].out]; at[v] == 0 { // the first of several where ops change nothing
			at[v] = i
		}
	}
	return f, at, nil
}

// equal reports whether two forward passes are the same but for names and initial values: they have the same ops with the same
// constants, in the same order, on values of the same shapes that are read by the same ops. It returns the values of f by those
// of g.
func (f forwardPass) equal(g forwardPass) (pairs map[*graph.Value]*graph.Value, ok bool) {
	if len(f.graph.Ops) != len(g.graph.Ops) || len(f.graph.Values) != len(g.graph.Values) {
		return nil, false
	}
	pairs = map[*graph.Value]*graph.Value{nil: nil}
	back := map[*graph.Value]*graph.Value{nil: nil}
	pair := func(a, b *graph.Value) bool {
		was, paired := pairs[b]
		if paired || back[a] != nil || a == nil {
			return paired && was == a
		}
		pairs[b], back[a] = a, b
		return sameValue(a, b)
	}
	for i, a := range f.graph.Ops {
		b := g.graph.Ops[i]
		if a.Kind != b.Kind || !sameAttributes(a.Attr, b.Attr) || !slices.EqualFunc(a.Operands, b.Operands, pair) ||
			!slices.EqualFunc(a.Results, b.Results, pair) {
			return nil, false
		}
	}
	return pairs, slices.EqualFunc(f.graph.Outputs, g.graph.Outputs, pair)
}

// sameValue compares all that a value is but its name, its scope and how it starts.
func sameValue(a, b *graph.Value) bool {
	if !a.Shape.Equal(b.Shape) || a.Type != b.Type || a.Category != b.Category || (a.Weight == nil) != (b.Weight == nil) {
		return false
	}
	return a.Weight == nil || a.Weight.Layout == b.Weight.Layout && a.Weight.Source == b.Weight.Source &&
		a.CanonicalShape().Equal(b.CanonicalShape())
}

// rateTolerance is how far apart rates of dropout may be that are written as different sums and quotients.
const rateTolerance = 1e-9

// sameAttributes compares the constants of two ops. Which elements an op drops follows from its scope (Salt).
func sameAttributes(a, b graph.Attributes) bool {
	if math.Abs(a.Rate-b.Rate) > rateTolerance {
		return false
	}
	a.Rate, a.Salt = b.Rate, b.Salt
	return a == b
}

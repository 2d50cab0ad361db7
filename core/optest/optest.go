// Package optest is the op table: for every kind of core/graph small programs
// over odd shapes, with contents to run them on, and two checkers.
//
// A test of a backend walks Cases, runs each program on the backend and on
// core/reference, and compares the results with Compare and Tolerance. The
// gradient rules are checked against finite differences by Gradients and
// CheckGradient. Opinions:
//   - One op in each case. Its operands are inputs or weights, so that a failure
//     names one kernel. Programs of several ops are in Gradients.
//   - Shapes are the awkward ones: 3 and 10 channels, 17 besides 16, sides
//     that differ, windows that extend past the edge, batch 1, tails of every
//     vector length.
//   - Contents stay away from kinks (a rectifier's zero, equal candidates of a
//     maximum), so that rounding cannot flip a branch. Rows whose name says
//     "ties" are the exception: there the rule of core/graph decides.
//   - Contents are functions of (seed, name of the value) and exact in the value's
//     element type, so that no backend starts from other numbers.
package optest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/rng"
)

// Case is one op on one set of shapes.
type Case struct {
	Name   string       // a sentence; unique within the kind
	Kind   graph.Kind   // the op under test, the only one of the program
	Shares []graph.Pair // results that alias operands
	// Element is the type of the op's tensors: f32, or bf16, which not every device has.
	Element graph.ElementType
	build   func(p *program)
}

// Cases returns the table, by family, followed by the cases in bf16.
func Cases() []Case {
	all := slices.Concat(convCases(), prologueCases(), statisticCases(), normCases(), elementwiseCases(), poolCases(), linearCases(),
		lossCases(), updateCases(), upsampleCases(), reconstructionCases(), deviationCases(), pairCases(), gateCases(), dropoutCases(),
		shapeCases(), layerNormCases(), quantizeCases(), combinedCases())
	return slices.Concat(all, castCases(), narrowed(all))
}

// Uncovered returns the kinds that no case tests.
func Uncovered(cases []Case) []graph.Kind {
	return slices.DeleteFunc(graph.Kinds(), func(k graph.Kind) bool {
		return slices.ContainsFunc(cases, func(c Case) bool { return c.Kind == k })
	})
}

// String returns kind and name: the name of a subtest.
func (c Case) String() string { return c.Kind.String() + "/" + c.Name }

// Graph builds the program. Each call gives a new one, so a caller may change
// it. The op's results are its outputs.
func (c Case) Graph() (*graph.Graph, error) {
	p := newProgram()
	c.build(p)
	g, err := p.Graph()
	if err != nil {
		return nil, fmt.Errorf("optest: %s: %w", c, err)
	}
	op := c.Op(g)
	if op == nil {
		return nil, fmt.Errorf("optest: %s: the program is not one op of that kind", c)
	}
	if err := c.retype(op); err != nil {
		return nil, fmt.Errorf("optest: %s: %w", c, err)
	}
	g.Outputs = append(g.Outputs, op.Results...)
	for _, s := range c.Shares {
		op.Results[s.Result].Shares = op.Operands[s.Operand]
	}
	if err := g.Verify(); err != nil {
		return nil, fmt.Errorf("optest: %s: %w", c, err)
	}
	return g, nil
}

// Op returns the op under test of a graph that Graph gave.
func (c Case) Op(g *graph.Graph) *graph.Op {
	if len(g.Ops) != 1 || g.Ops[0].Kind != c.Kind {
		return nil
	}
	return g.Ops[0]
}

// Values returns the contents of all inputs and persistent values of a graph
// that Graph gave, in the program's order of elements. Every number is exact in
// the value's element type.
func (c Case) Values(g *graph.Graph, seed uint64) map[*graph.Value][]float64 {
	p := newProgram()
	c.build(p)
	return p.values(g, seed)
}

// Written lists what op writes, hence what a test reads back: its results and
// the operands it updates.
func Written(op *graph.Op) []*graph.Value {
	return slices.Concat(op.Results, op.Mutates())
}

// inPlace returns c and a variant of it for every way in which its results may
// alias its operands.
func (c Case) inPlace() []Case {
	g, err := c.Graph()
	if err != nil {
		return []Case{c} // Graph returns the error
	}
	op := g.Ops[0]
	out := []Case{c}
	var choose func(result int, shares []graph.Pair)
	choose = func(result int, shares []graph.Pair) {
		if result == len(op.Results) {
			if len(shares) > 0 {
				out = append(out, c.with(op, shares))
			}
			return
		}
		choose(result+1, shares)
		for _, pair := range op.InPlace() {
			taken := slices.ContainsFunc(shares, func(s graph.Pair) bool { return op.Operands[s.Operand] == op.Operands[pair.Operand] })
			if pair.Result == result && !taken {
				choose(result+1, append(slices.Clone(shares), pair))
			}
		}
	}
	choose(0, nil)
	return out
}

// with returns c with the given results in place.
func (c Case) with(op *graph.Op, shares []graph.Pair) Case {
	for _, s := range shares {
		role := op.Results[s.Result].Name
		role = role[strings.LastIndex(role, ":")+1:]
		c.Name += fmt.Sprintf(", %s in %s", role, strings.TrimSuffix(op.Kind.Roles()[s.Operand], "?"))
	}
	c.Shares = shares
	return c
}

// program is a builder that notes how its inputs and weights are filled.
type program struct {
	*graph.Builder
	fills map[string]fill // by value name
}

func newProgram() *program {
	return &program{Builder: graph.NewBuilder(true), fills: map[string]fill{}}
}

// input declares an f32 input.
func (p *program) input(name string, f fill, shape ...int64) *graph.Value {
	return p.typed(name, graph.TypeF32, f, shape...)
}

// typed declares an input of any element type.
func (p *program) typed(name string, t graph.ElementType, f fill, shape ...int64) *graph.Value {
	p.fills[name] = f
	return p.Input(name, shape, t)
}

// weight declares a parameter. Convolution weights [O R S I] travel as such.
func (p *program) weight(name string, f fill, shape ...int64) *graph.Value {
	layout := graph.LayoutPlain
	if len(shape) == 4 {
		layout = graph.LayoutConv
	}
	p.fills[name] = f
	return p.Parameter(name, shape, graph.Weight{Layout: layout})
}

// buffer declares running statistics.
func (p *program) buffer(name string, f fill, shape ...int64) *graph.Value {
	p.fills[name] = f
	return p.Buffer(name, shape, graph.Weight{})
}

// momentum declares the momentum of w, not zero.
func (p *program) momentum(w *graph.Value, f fill) *graph.Value { return p.state(w, "momentum", f) }

// state declares optimizer state of w, not zero.
func (p *program) state(w *graph.Value, role string, f fill) *graph.Value {
	v := p.OptimizerState(w, role)
	p.fills[v.Name] = f
	return v
}

// last returns the op written last; after an error an empty one that may be
// changed without harm.
func (p *program) last() *graph.Op {
	if p.Err() != nil {
		return &graph.Op{Operands: make([]*graph.Value, 9), Results: make([]*graph.Value, 4)}
	}
	return p.Ops()[len(p.Ops())-1]
}

// values fills the inputs and persistent values of g, which has the names of p.
func (p *program) values(g *graph.Graph, seed uint64) map[*graph.Value][]float64 {
	out := map[*graph.Value][]float64{}
	for _, v := range g.Values {
		f, ok := p.fills[v.Name]
		if !ok {
			continue
		}
		content := make([]float64, v.Shape.Elements())
		f(rng.Stream{Seed: seed, Purpose: rng.PurposeSynthetic, Epoch: rng.NameKey(v.Name)}, content)
		for i, x := range content {
			content[i] = float64(float32(x))
			if v.Type == graph.TypeBF16 {
				content[i] = float64(graph.FromBF16(graph.BF16(float32(x))))
			}
		}
		out[v] = content
	}
	return out
}

package plan

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
)

// program writes graphs by hand: the planner reads sizes, order and sharing
// only, so the ops need no meaning.
type program struct {
	graph.Graph
	workspaces []int64
}

// value adds a value of that many bytes.
func (p *program) value(name string, bytes int64, c graph.Category) *graph.Value {
	v := &graph.Value{ID: len(p.Values), Name: name, Scope: "module0/" + name, Shape: graph.Shape{bytes}, Type: graph.TypeU8,
		Category: c}
	if p.Values = append(p.Values, v); c == graph.CategoryInput {
		v.Module, v.Scope = graph.NoModule, "step"
		p.Inputs = append(p.Inputs, v)
	}
	return v
}

// activation adds an op that makes a transient activation from the operands.
func (p *program) activation(name string, bytes int64, operands ...*graph.Value) *graph.Value {
	v := p.value(name, bytes, graph.CategoryActivation)
	p.op(0, []*graph.Value{v}, operands...)
	return v
}

func (p *program) op(workspace int64, results []*graph.Value, operands ...*graph.Value) {
	p.Ops = append(p.Ops, &graph.Op{Kind: graph.KindConv, Scope: fmt.Sprintf("module0/op%d", len(p.Ops)), Operands: operands,
		Results: results})
	p.workspaces = append(p.workspaces, workspace)
}

// inPlace adds an op whose result aliases x.
func (p *program) inPlace(name string, c graph.Category, x *graph.Value, operands ...*graph.Value) *graph.Value {
	v := p.value(name, x.Bytes(), c)
	v.Shares = x
	p.op(0, []*graph.Value{v}, append(operands, x)...)
	return v
}

// decode makes any bytes a program: with inputs, weights, aliases, workspaces,
// outputs, and values that are not read.
func decode(data []byte) *program {
	next := func(n int) int {
		if len(data) == 0 {
			return 0
		}
		b := int(data[0])
		data = data[1:]
		return b % n
	}
	p := &program{}
	var alive []*graph.Value
	for i := range next(4) {
		alive = append(alive, p.value(fmt.Sprint("input", i), int64(1+next(200)), graph.CategoryInput))
	}
	for i := range next(4) {
		p.value(fmt.Sprint("weight", i), int64(1+next(200)), graph.CategoryParameter+graph.Category(next(4)))
	}
	weights := len(p.Values) - len(alive)
	for i := 0; len(data) > 0; i++ {
		op := &graph.Op{Kind: graph.KindConv, Scope: fmt.Sprintf("module%d/op%d", i/3, i), Module: i / 3}
		for range next(4) {
			if len(alive) > 0 {
				// Mostly what was made lately, sometimes what was made long ago.
				op.Operands = append(op.Operands, alive[len(alive)-1-next(min(len(alive), 1+next(40)))])
			}
		}
		if weights > 0 && next(3) == 0 {
			op.Operands = append(op.Operands, p.Values[len(p.Inputs)+next(weights)], nil)
		}
		for r := range next(4) {
			c := graph.CategoryGradient + graph.Category(next(3))
			v := p.value(fmt.Sprintf("value%d.%d", i, r), int64(1+next(256))*int64(1+next(30)), c)
			v.Module, v.Scope = op.Module, op.Scope
			if r == 0 && next(2) == 0 && len(op.Operands) > 0 && op.Operands[0] != nil && !op.Operands[0].Category.Persistent() {
				o := op.Operands[0]
				v.Shape, v.Shares = o.Shape, o
				for k, a := range alive {
					if a == o { // the old content is gone
						alive = append(alive[:k:k], alive[k+1:]...)
						break
					}
				}
			}
			op.Results = append(op.Results, v)
		}
		alive = append(alive, op.Results...)
		p.Ops = append(p.Ops, op)
		p.workspaces = append(p.workspaces, int64(max(0, next(400)-200)*next(20)))
		if next(10) == 0 && len(alive) > 0 {
			p.Outputs = append(p.Outputs, alive[len(alive)-1])
			alive = alive[:len(alive)-1] // so that nothing takes it over
		}
	}
	return p
}

// unit is one convolution with normalisation, as the training step has it.
type unit struct {
	y, mean, variance, z *graph.Value
	bytes, channels      int64
}

// chain writes a training step of the given number of units, a run of
// perModule units at a time: forward, then backward, with updates as soon as a
// gradient is there. Sizes and categories are those of a CIFAR ResNet at batch
// 128; workspaces sizes vary from op to op.
func chain(units, perModule int) *program {
	p := &program{}
	x := p.value("images", 128*32*32*3, graph.CategoryInput)
	x = p.activation("normalised", 4*x.Bytes(), x)
	for first := 0; first < units; first += perModule {
		x.Category = graph.CategorySaved
		x = p.module(x, first, min(first+perModule, units), units)
	}
	p.Outputs = append(p.Outputs, p.activation("loss", 4, x))
	return p
}

// module writes the units first to last and returns their result.
func (p *program) module(x *graph.Value, first, last, total int) *graph.Value {
	var done []unit
	in := x
	for i := first; i < last; i++ {
		stage := int64(3 * i / total)
		u := unit{bytes: 128 * 32 * 32 * 16 * 4 >> stage, channels: 16 << stage}
		name := fmt.Sprint("unit", i)
		u.y = p.value(name+":y", u.bytes, graph.CategorySaved)
		p.op(workspaceOf(i, u.bytes), []*graph.Value{u.y}, in)
		u.mean, u.variance = p.value(name+":mean", 4*u.channels, graph.CategorySaved), p.value(name+":variance", 4*u.channels,
			graph.CategorySaved)
		p.op(0, []*graph.Value{u.mean, u.variance}, u.y)
		u.z = p.value(name+":z", u.bytes, graph.CategorySaved)
		p.op(0, []*graph.Value{u.z}, u.y, u.mean, u.variance)
		if i%2 == 1 && i >= first+2 { // a residual keeps the block's input
			p.Ops[len(p.Ops)-1].Operands = append(p.Ops[len(p.Ops)-1].Operands, done[len(done)-2].z)
		}
		done, in = append(done, u), u.z
	}
	result := in
	dy := p.value(fmt.Sprintf("unit%d:dy", last-1), done[len(done)-1].bytes, graph.CategoryGradient)
	p.op(0, []*graph.Value{dy}, result)
	for i := last - 1; i >= first; i-- {
		u := done[i-first]
		before := x
		if i > first {
			before = done[i-first-1].z
		}
		dy = p.backward(i, u, before, dy, i > first)
	}
	return result
}

// backward writes the backward ops and updates of one unit and returns the
// gradient of its input.
func (p *program) backward(i int, u unit, x, dy *graph.Value, more bool) *graph.Value {
	name := fmt.Sprint("unit", i)
	dx := p.inPlace(name+":dx", graph.CategoryGradient, dy, u.y, u.mean, u.variance, u.z)
	norm := p.Ops[len(p.Ops)-1]
	for _, role := range []string{":dgamma", ":dbeta"} {
		v := p.value(name+role, 4*u.channels, graph.CategoryGradient)
		norm.Results = append(norm.Results, v)
		p.op(0, nil, v)
	}
	dw := p.value(name+":dweight", 4*9*u.channels*u.channels, graph.CategoryGradient)
	p.op(workspaceOf(i+1, u.bytes), []*graph.Value{dw}, x, dx)
	p.op(0, nil, dw)
	if !more {
		return nil
	}
	before := p.value(name+":dinput", x.Bytes(), graph.CategoryGradient)
	p.op(workspaceOf(i+2, u.bytes), []*graph.Value{before}, dx)
	return before
}

// workspaceOf is none, a little or as much as a quarter of the result.
func workspaceOf(i int, bytes int64) int64 {
	return []int64{0, 9216, bytes / 4, 123_456, 0, bytes / 7}[i%6]
}

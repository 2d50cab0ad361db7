package exported

import (
	"cmp"
	"errors"
	"fmt"
	"math"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/files"
)

// Is says whether the name of a network is the path of an exported one.
func Is(name string) bool { return len(name) > len(Suffix) && name[len(name)-len(Suffix):] == Suffix }

// New reads the network in the file at path, for images of the shape [H W C] and a number of classes, which must be the ones
// of its logits. Images may be of another size than those that it was exported with, if its layers take them.
//
// If its forward pass is that of a built-in network for these images and classes, it gets that one's units and rules of auxiliary
// networks, and BuiltIn is that one's name.
func New(path string, image graph.Shape, classes int64, builtIn ...*model.Network) (*model.Network, error) {
	p, _, err := read(path)
	if err != nil {
		return nil, err
	}
	switch {
	case p.classes != classes:
		return nil, &FormatError{Path: path, Export: true, Reason: fmt.Sprintf(
			"the network returns %d logits, but the data set has %d classes; export it with that many classes", p.classes, classes)}
	case p.image[0] != image[2]:
		return nil, &FormatError{Path: path, Export: true, Reason: fmt.Sprintf(
			"the network takes images of %d channels, but those of the data set have %d", p.image[0], image[2])}
	}
	n, err := p.network(path, image, builtIn)
	return n, at(path, err)
}

// Images returns what the network in the file at path was exported with: the shape [C H W] of its images, and its number of
// classes.
func Images(path string) (image graph.Shape, classes int64, err error) {
	p, _, err := read(path)
	if err != nil {
		return nil, 0, err
	}
	return graph.Shape(p.image[:]), p.classes, nil
}

// Digest returns "sha256:" and the first 64 bits of the SHA-256 of the graph in the file at path. It tells networks apart:
// everything that a
// network is follows from the graph, and the weights are not read.
func Digest(path string) (string, error) {
	_, digest, err := read(path)
	return digest, err
}

// maxFile bounds an archive, with its weights.
const maxFile = 1 << 40

// read reads the program of a file, and the digest of its graph.
func read(path string) (*program, string, error) {
	f, size, err := files.Open(path, maxFile)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	d, digest, err := readGraph(f, size)
	if err != nil {
		return nil, "", at(path, err)
	}
	p, err := convert(d)
	return p, digest, at(path, err)
}

// at adds the path to an error.
func at(path string, err error) error {
	var format *FormatError
	var unsupported *UnsupportedError
	switch {
	case errors.As(err, &format):
		format.Path = path
	case errors.As(err, &unsupported):
		unsupported.Path = path
	}
	return err
}

// network makes units and a head of the program.
func (p *program) network(name string, image graph.Shape, builtIn []*model.Network) (*model.Network, error) {
	units, head, t, err := p.units()
	if err != nil {
		return nil, err
	}
	n := &model.Network{Name: name, Input: image, Classes: p.classes, Drops: p.drops, Block: p.blocks(units),
		NoBlock: noRebuild(units)}
	p.setUnits(n, units, head)
	if len(builtIn) > 0 {
		p.takeFrom(builtIn, n, t)
	}
	return n, nil
}

// setUnits sets the units and the head of n.
func (p *program) setUnits(n *model.Network, units []unit, head unit) {
	n.Units = nil
	for _, u := range units {
		n.Units = append(n.Units, model.Unit{Name: u.name, Place: u.place, Last: u.ops[len(u.ops)-1].path(), Width: u.width,
			Forward: p.forward(u)})
	}
	n.Head = func(b *graph.Builder, x *graph.Value) (y *graph.Value) {
		b.In(head.name, func() { y = p.forward(head)(b, x) })
		return y
	}
}

// forward returns a function that writes the ops of a unit.
func (p *program) forward(u unit) func(*graph.Builder, *graph.Value) *graph.Value {
	return func(b *graph.Builder, x *graph.Value) *graph.Value {
		values := p.writeAll(b, u, x)
		if b.Err() != nil {
			return x
		}
		if y := values[u.out]; y != nil {
			return y
		}
		b.Fail(u.notRebuilt())
		return x
	}
}

// notRebuilt is the error of a unit that can't be made for an auxiliary network.
func (u *unit) notRebuilt() error {
	return fmt.Errorf("the block %s can't be rebuilt for an auxiliary network of AugLocal; all other methods work", u.name)
}

// writeAll writes the ops of a unit, whose input is x, until the first error. It returns what they compute.
func (p *program) writeAll(b *graph.Builder, u unit, x *graph.Value) map[int]*graph.Value {
	scopes, seen := make([]string, len(u.ops)), map[string]int{}
	for i, o := range u.ops {
		scopes[i] = u.relative(cmp.Or(o.layer, o.path()))
		if o.kind == kindDropout { // in scopes of their own, for the scope determines the random numbers
			if seen[scopes[i]]++; seen[scopes[i]] > 1 {
				scopes[i] = fmt.Sprintf("%s@%d", scopes[i], seen[scopes[i]])
			}
		}
	}
	values := map[int]*graph.Value{u.in: x}
	for i, o := range u.ops {
		operands := make([]*graph.Value, len(o.in))
		for k, v := range o.in {
			if operands[k] = values[v]; operands[k] == nil {
				b.Fail(u.notRebuilt())
				return values
			}
		}
		write := func() { values[o.out] = p.write(b, o, operands) }
		b.In(scopes[i], func() {
			if o.shared {
				b.Shared(write)
				return
			}
			write()
		})
		if b.Err() != nil {
			break
		}
	}
	return values
}

// write writes one op.
func (p *program) write(b *graph.Builder, o *op, in []*graph.Value) *graph.Value {
	x := in[0]
	if b.Err() != nil {
		return x
	}
	switch o.kind {
	case kindConv:
		start := uniform(o.inputs / o.groups * o.kernel[0] * o.kernel[1])
		weight := start
		weight.Layout = graph.LayoutConv
		w := b.Parameter("weight", graph.Shape{o.width, o.kernel[0], o.kernel[1], o.inputs / o.groups}, weight)
		return b.Conv(x, w, o.writeBias(b, start), graph.ConvOptions{Stride: o.stride, Padding: o.padding, Groups: o.groups,
			Dilation: o.dilation})
	case kindNorm:
		if o.in[0] >= 0 && len(p.sizes[o.in[0]]) == 1 && x.Shape.Elements() != x.Shape[0]*o.inputs {
			b.Fail(errors.New("a normalisation of flattened maps [N, C*H*W] is not supported"))
			return x
		}
		return o.writeNorm(b, x)
	case kindLayerNorm:
		if model.Channels(x) != o.inputs {
			b.Fail(fmt.Errorf("the layer %s normalises %d elements, but gets %d", o.layer, o.inputs, model.Channels(x)))
			return x
		}
		gamma, beta := o.writeVectors(b)
		return b.LayerNorm(x, gamma, beta, o.eps)
	case kindScale:
		if model.Channels(x) != o.inputs {
			b.Fail(fmt.Errorf("the parameter %s of module %q has %d elements, but multiplies %d", o.parameter, o.layer, o.inputs,
				model.Channels(x)))
			return x
		}
		return b.Scale(x, b.Parameter(o.parameter, graph.Shape{o.inputs}, o.factor()))
	case kindLinear:
		if o.rows && model.Channels(x) == o.inputs {
			start := uniform(o.inputs)
			return b.LinearRows(x, b.Parameter("weight", graph.Shape{o.width, o.inputs}, start), o.writeBias(b, start))
		}
		if got := x.Shape.Elements() / x.Shape[0]; got != o.inputs {
			b.Fail(fmt.Errorf("the layer %s reads %d features, but gets %d from images of another size than the %dx%d that the "+
				"network was exported for: use --image-size %d if the data set takes a size, or export the network for its images",
				o.layer, o.inputs, got, p.image[1], p.image[2], p.image[1]))
			return x
		}
		start := uniform(o.inputs)
		weight := start
		if len(x.Shape) == 4 {
			weight.Layout, weight.Source = graph.LayoutFlattened, [3]int64{x.Shape[3], x.Shape[1], x.Shape[2]}
		}
		return b.Linear(x, b.Parameter("weight", graph.Shape{o.width, o.inputs}, weight), o.writeBias(b, start))
	case kindActivation:
		return b.Activate(x, o.activation)
	case kindMaxPool:
		y, _ := b.MaxPool(x, o.pool)
		return y
	case kindAveragePool:
		return b.AveragePool(x, o.pool)
	case kindAdaptivePool:
		if !b.KeepsIdentities() && x.Shape[1] == o.output[0] && x.Shape[2] == o.output[1] && o.output != [2]int64{1, 1} {
			return x
		}
		return b.AdaptiveAveragePool(x, o.output[0], o.output[1])
	case kindAdd:
		if !x.Shape.Equal(in[1].Shape) {
			b.Fail(fmt.Errorf("the sum in module %q has operands of the shapes %s and %s: "+
				"its block can't be rebuilt for an auxiliary network of AugLocal, or images of this size don't "+
				"suit the network", o.path(), x.Shape, in[1].Shape))
			return x
		}
		return b.Add(x, in[1])
	case kindGate:
		return b.Gate(x, in[1], o.activation)
	case kindDropout:
		if stream := b.DropoutStream(); stream != nil {
			return b.Dropout(x, stream, graph.DropoutOptions{Rate: o.rate, Rows: o.rows})
		}
		return x
	case kindFlatten, kindView:
		return x
	case kindPermute:
		return o.writePermute(b, x)
	case kindConcat:
		return b.Concat(axisOf(o.dim, len(x.Shape)-1), in...)
	case kindSlice:
		return o.writeSlice(b, x)
	}
	b.Fail(fmt.Errorf("op %d has no meaning here", o.kind))
	return x
}

// uniform is how weights and biases of PyTorch's layers start: uniform(-1/sqrt(in), 1/sqrt(in)), in being the inputs of one
// output.
func uniform(in int64) graph.Weight {
	return graph.Weight{Init: graph.InitUniform, Scale: 1 / math.Sqrt(float64(max(in, 1)))}
}

func (o *op) writeBias(b *graph.Builder, start graph.Weight) *graph.Value {
	if !o.bias {
		return nil
	}
	return b.Parameter("bias", graph.Shape{o.width}, start)
}

// ones is how a weight starts that multiplies each channel.
var ones = graph.Weight{Init: graph.InitConstant, Scale: 1}

// writeVectors declares the parameters of a normalisation.
func (o *op) writeVectors(b *graph.Builder) (gamma, beta *graph.Value) {
	c := graph.Shape{o.inputs}
	return b.Parameter("weight", c, ones), b.Parameter("bias", c, graph.Weight{})
}

// factor is how the parameter of a kindScale starts. In files it has the shape of the file's network, [C 1 1] as a rule.
func (o *op) factor() graph.Weight {
	w := ones
	w.Canonical = make(graph.Shape, len(o.shape))
	for i, n := range o.shape {
		if w.Canonical[i] = n; n > 1 {
			w.Canonical[i] = o.inputs
		}
	}
	return w
}

func (o *op) writeNorm(b *graph.Builder, x *graph.Value) *graph.Value {
	gamma, beta := o.writeVectors(b)
	c := graph.Shape{o.inputs}
	mean, variance := b.Buffer("running_mean", c, graph.Weight{}), b.Buffer("running_var", c, ones)
	if b.Training() {
		mean, variance = b.NormStats(x, mean, variance, o.momentum)
	}
	return b.NormApply(x, mean, variance, gamma, beta, o.eps)
}

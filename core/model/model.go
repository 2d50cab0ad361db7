// Package model has the types that networks and methods share: a network is a
// list of units and a head, a method divides it into stages. Units and heads write their own forward ops; they
// do not depend on losses, modules, gradients or devices.
package model

import (
	"cmp"
	"math"
	"strings"

	"github.com/localbench/localbench/core/graph"
)

// Unit is the smallest part of a network after which a local module can end: the
// stem, one residual block, or one layer of a network without such blocks.
type Unit struct {
	Name  string // scope of its parameters: "layer1.0"; several units may share one, such as the empty one
	Place string // "stage.block", as papers write where they divide networks: "2.1"; a stem is "0.0"
	Last  string // module path of its last op, of an exported network
	// BuiltInPlace is, of a network with BuiltIn, the Place of this unit in that network.
	BuiltInPlace string
	// Width is the nominal number of channels, AugLocal's dims; a bottleneck's
	// result has several times as many.
	Width int64
	// PoolSide is the side that DGL's published program assumes for the unit's result
	// when it pools to a quarter of it; 0: the real one.
	PoolSide int64
	Forward  func(b *graph.Builder, x *graph.Value) *graph.Value
}

// Network is one architecture for one input and number of classes.
type Network struct {
	Name    string
	BuiltIn string      // of an exported network: the built-in one that has the same forward pass; empty for others
	Input   graph.Shape // height, width, channels of one sample
	Classes int64
	Units   []Unit
	// Drops reports that the network has dropout or stochastic depth, which training can switch off.
	Drops bool
	// Head writes the classifier on the result of the last unit, [N H W C]: logits [N Classes].
	Head func(b *graph.Builder, x *graph.Value) *graph.Value
	// Block makes a new unit for an auxiliary network, of the kind and the width of a
	// unit of the network, of stride 1 or 2, for any number of channels. Networks
	// whose blocks have no stride halve the map by their own rule.
	Block func(name string, like Unit, stride int64) Unit
	// NoBlock says why there is no Block, where the network knows.
	NoBlock string
	// AuxiliaryHead writes the classifier after such blocks; nil: global average pool
	// and a linear layer "fc".
	AuxiliaryHead func(b *graph.Builder, x *graph.Value) *graph.Value
	// LateAuxiliary reports that AugLocal's published program makes the auxiliary networks of this network after the loop
	// that initialises the weights, so that they keep PyTorch's defaults.
	LateAuxiliary bool
}

// PublishedName is the name by which papers know the network.
func (n *Network) PublishedName() string { return cmp.Or(n.BuiltIn, n.Name) }

// PublishedPlace is the place of the unit as papers write it, "stage.block"; of an exported network without BuiltIn, its Place.
func (u Unit) PublishedPlace() string { return cmp.Or(u.BuiltInPlace, u.Place) }

// Small reports whether images [H W C] are small, as those of CIFAR-10 and STL-10 are: networks and auxiliary
// networks for ImageNet have a different form for them.
func Small(image graph.Shape) bool { return min(image[0], image[1]) < 128 }

// PooledHead returns the classifier of most networks: global average pool and a
// linear layer of that name.
func PooledHead(name string, classes int64) func(*graph.Builder, *graph.Value) *graph.Value {
	return func(b *graph.Builder, x *graph.Value) *graph.Value {
		return Linear(b, name, b.AdaptiveAveragePool(x, 1, 1), classes)
	}
}

// Conv writes a square convolution without bias, in scope name, its weight
// drawn from normal(0, sqrt(2 / (kernel*kernel*out))).
func Conv(b *graph.Builder, name string, x *graph.Value, out, kernel, stride int64) *graph.Value {
	return conv(b, name, x, out, kernel, stride, 1, nil)
}

// GroupedConv is Conv with groups: each reads its own share of the channels of x
// and makes its own share of those of the result. With as many groups as channels it is
// depthwise.
func GroupedConv(b *graph.Builder, name string, x *graph.Value, out, kernel, stride, groups int64) *graph.Value {
	return conv(b, name, x, out, kernel, stride, groups, nil)
}

// ConvWithBias is Conv with a bias, initialised like that of a linear layer.
func ConvWithBias(b *graph.Builder, name string, x *graph.Value, out, kernel, stride int64) *graph.Value {
	bias := fanIn(kernel * kernel * Channels(x))
	return conv(b, name, x, out, kernel, stride, 1, &bias)
}

// ConvWithZeroBias is Conv with a bias initialised to zero.
func ConvWithZeroBias(b *graph.Builder, name string, x *graph.Value, out, kernel, stride int64) *graph.Value {
	return conv(b, name, x, out, kernel, stride, 1, &graph.Weight{})
}

func conv(b *graph.Builder, name string, x *graph.Value, out, kernel, stride, groups int64,
	start *graph.Weight) (y *graph.Value) {
	b.In(name, func() {
		w := b.Parameter("weight", graph.Shape{out, kernel, kernel, max(Channels(x)/groups, 1)}, graph.Weight{
			Init: graph.InitNormal, Scale: math.Sqrt(2 / float64(kernel*kernel*out)), Layout: graph.LayoutConv})
		var bias *graph.Value
		if start != nil {
			bias = b.Parameter("bias", graph.Shape{out}, *start)
		}
		y = b.Conv(x, w, bias, graph.ConvOptions{Stride: stride, Padding: (kernel - 1) / 2, Groups: groups})
	})
	return y
}

// fanIn is uniform(-1/sqrt(in), 1/sqrt(in)).
func fanIn(in int64) graph.Weight {
	return graph.Weight{Init: graph.InitUniform, Scale: 1 / math.Sqrt(float64(in))}
}

// DefaultStart initialises the trained convolutions and linear layers among values with PyTorch's defaults:
// weights and biases from uniform(-1/sqrt(in), 1/sqrt(in)), where in is the number of inputs of one output.
// Normalisations keep 1 and 0.
func DefaultStart(values []*graph.Value) {
	bounds := map[string]graph.Weight{} // by the name of the layer
	for _, v := range values {
		if layer, ok := strings.CutSuffix(v.Name, ".weight"); ok && len(v.Shape) > 1 {
			bounds[layer] = fanIn(v.Shape.Elements() / v.Shape[0])
		}
	}
	for _, v := range values {
		at := strings.LastIndexByte(v.Name, '.')
		start, ok := bounds[v.Name[:max(at, 0)]]
		if ok && (v.Category == graph.CategoryParameter || v.Category == graph.CategoryAuxiliaryParameter) {
			v.Weight.Init, v.Weight.Scale = start.Init, start.Scale
		}
	}
}

// Constants of batch normalisation in every network here.
const (
	NormEpsilon  = 1e-5
	NormMomentum = 0.1
)

// Norm writes batch normalisation in scope name: with the batch's statistics in
// a training program, with the running ones in an evaluation program.
func Norm(b *graph.Builder, name string, x *graph.Value) (y *graph.Value) {
	b.In(name, func() {
		c := graph.Shape{Channels(x)}
		one := graph.Weight{Init: graph.InitConstant, Scale: 1}
		gamma, beta := b.Parameter("weight", c, one), b.Parameter("bias", c, graph.Weight{})
		mean, variance := b.Buffer("running_mean", c, graph.Weight{}), b.Buffer("running_var", c, one)
		if b.Training() {
			mean, variance = b.NormStats(x, mean, variance, NormMomentum)
		}
		y = b.NormApply(x, mean, variance, gamma, beta, NormEpsilon)
	})
	return y
}

// Dropout writes dropout of the rate in scope name, if the step has dropout; else it returns x.
func Dropout(b *graph.Builder, name string, x *graph.Value, rate float64) *graph.Value {
	return drop(b, name, x, graph.DropoutOptions{Rate: rate})
}

// StochasticDepth is Dropout of whole samples: of the branch of a residual block, before the sum
// (Huang et al., 2016).
func StochasticDepth(b *graph.Builder, name string, x *graph.Value, rate float64) *graph.Value {
	return drop(b, name, x, graph.DropoutOptions{Rate: rate, Rows: true})
}

func drop(b *graph.Builder, name string, x *graph.Value, o graph.DropoutOptions) *graph.Value {
	if o.Rate == 0 {
		return x
	}
	if stream := b.DropoutStream(); stream != nil {
		b.In(name, func() { x = b.Dropout(x, stream, o) })
	}
	return x
}

// Linear writes a linear layer with bias in scope name, both drawn from
// uniform(-1/sqrt(in), 1/sqrt(in)). x is [N ...], flattened.
func Linear(b *graph.Builder, name string, x *graph.Value, out int64) *graph.Value {
	start := fanIn(features(x))
	return linear(b, name, x, out, start, &start)
}

// LinearWith is Linear with weights initialised as start says, and a bias initialised to
// zero.
func LinearWith(b *graph.Builder, name string, x *graph.Value, out int64, start graph.Weight) *graph.Value {
	return linear(b, name, x, out, start, &graph.Weight{})
}

// LinearWithoutBias is Linear without a bias: for layers followed by a normalisation.
func LinearWithoutBias(b *graph.Builder, name string, x *graph.Value, out int64) *graph.Value {
	return linear(b, name, x, out, fanIn(features(x)), nil)
}

func linear(b *graph.Builder, name string, x *graph.Value, out int64, weight graph.Weight, start *graph.Weight) (y *graph.Value) {
	b.In(name, func() {
		if len(x.Shape) == 4 {
			weight.Layout, weight.Source = graph.LayoutFlattened, [3]int64{x.Shape[3], x.Shape[1], x.Shape[2]}
		}
		w := b.Parameter("weight", graph.Shape{out, features(x)}, weight)
		var bias *graph.Value
		if start != nil {
			bias = b.Parameter("bias", graph.Shape{out}, *start)
		}
		y = b.Linear(x, w, bias)
	})
	return y
}

// features is the number of elements of a sample of x.
func features(x *graph.Value) int64 { return max(x.Shape.Elements(), 1) / max(batch(x), 1) }

// Channels is the last dimension of x. Like batch it accepts the placeholders that a
// builder returns after its first error.
func Channels(x *graph.Value) int64 {
	if len(x.Shape) == 0 {
		return 1
	}
	return x.Shape[len(x.Shape)-1]
}

// batch is the first dimension of x.
func batch(x *graph.Value) int64 {
	if len(x.Shape) == 0 {
		return 1
	}
	return x.Shape[0]
}

// Package model holds the words that networks and methods share: a network is a
// list of units and a head. A unit knows how to write its own forward ops; it
// knows nothing of losses, modules, gradients or devices.
package model

import (
	"math"

	"github.com/localbench/localbench/core/graph"
)

// Unit is the smallest part of a network that a local module can end at: the
// stem, or one residual block.
type Unit struct {
	Name    string // scope of its parameters: "layer1.0"; empty for the stem
	Place   string // "stage.block" in the published cuts' notation: "2.1"; the stem is "0.0"
	Width   int64  // nominal channels: what AugLocal calls dims
	Forward func(b *graph.Builder, x *graph.Value) *graph.Value
}

// Network is one architecture for one input and number of classes.
type Network struct {
	Name    string
	Input   graph.Shape // height, width, channels of one sample
	Classes int64
	Units   []Unit
	// Block makes a fresh unit of the network's own kind, for auxiliary
	// networks: in channels to width, of the given stride.
	Block func(name string, in, width, stride int64) Unit
}

// Head writes the classifier: global average pool and a linear layer "fc".
// x is [N H W C]; the result is [N Classes].
func Head(b *graph.Builder, x *graph.Value, classes int64) *graph.Value {
	return Linear(b, "fc", b.AdaptiveAveragePool(x, 1, 1), classes)
}

// Conv writes a square convolution without bias, in scope name, its weight
// drawn from normal(0, sqrt(2 / (kernel*kernel*out))).
func Conv(b *graph.Builder, name string, x *graph.Value, out, kernel, stride int64) *graph.Value {
	return conv(b, name, x, out, kernel, stride, false)
}

// ConvWithBias is Conv with a bias, drawn as a linear layer's.
func ConvWithBias(b *graph.Builder, name string, x *graph.Value, out, kernel, stride int64) *graph.Value {
	return conv(b, name, x, out, kernel, stride, true)
}

func conv(b *graph.Builder, name string, x *graph.Value, out, kernel, stride int64, withBias bool) (y *graph.Value) {
	b.In(name, func() {
		w := b.Parameter("weight", graph.Shape{out, kernel, kernel, channels(x)}, graph.Weight{
			Init: graph.InitNormal, Scale: math.Sqrt(2 / float64(kernel*kernel*out)), Layout: graph.LayoutConv})
		var bias *graph.Value
		if withBias {
			bias = b.Parameter("bias", graph.Shape{out}, fanIn(kernel*kernel*channels(x)))
		}
		y = b.Conv(x, w, bias, graph.ConvOptions{Stride: stride, Padding: (kernel - 1) / 2})
	})
	return y
}

// fanIn is uniform(-1/sqrt(in), 1/sqrt(in)).
func fanIn(in int64) graph.Weight {
	return graph.Weight{Init: graph.InitUniform, Scale: 1 / math.Sqrt(float64(in))}
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
		c := graph.Shape{channels(x)}
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

// Linear writes a linear layer with bias in scope name, both drawn from
// uniform(-1/sqrt(in), 1/sqrt(in)). x is [N ...], flattened.
func Linear(b *graph.Builder, name string, x *graph.Value, out int64) *graph.Value {
	return linear(b, name, x, out, true)
}

// LinearWithoutBias is Linear without one: a normalisation follows.
func LinearWithoutBias(b *graph.Builder, name string, x *graph.Value, out int64) *graph.Value {
	return linear(b, name, x, out, false)
}

func linear(b *graph.Builder, name string, x *graph.Value, out int64, withBias bool) (y *graph.Value) {
	b.In(name, func() {
		in := max(x.Shape.Elements(), 1) / max(batch(x), 1)
		weight := fanIn(in)
		if len(x.Shape) == 4 {
			weight.Layout, weight.Source = graph.LayoutFlattened, [3]int64{x.Shape[3], x.Shape[1], x.Shape[2]}
		}
		w := b.Parameter("weight", graph.Shape{out, in}, weight)
		var bias *graph.Value
		if withBias {
			bias = b.Parameter("bias", graph.Shape{out}, fanIn(in))
		}
		y = b.Linear(x, w, bias)
	})
	return y
}

// channels and batch tolerate the placeholders that a builder returns after
// its first error.
func channels(x *graph.Value) int64 {
	if len(x.Shape) == 0 {
		return 1
	}
	return x.Shape[len(x.Shape)-1]
}

func batch(x *graph.Value) int64 {
	if len(x.Shape) == 0 {
		return 1
	}
	return x.Shape[0]
}

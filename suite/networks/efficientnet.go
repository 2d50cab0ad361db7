package networks

import (
	"fmt"
	"math"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// Constants of EfficientNet-B0: block i has stochastic depth with rate efficientDepth * i / efficientBlocks.
const (
	efficientDepth  = 0.2
	efficientBlocks = 16
)

// efficientNet is EfficientNet-B0 (Tan and Le, 2019), as in torchvision: a stem of 32 channels and 16 inverted residuals with
// squeeze-and-excitation, each a unit, as the program of AugLocal counts them. The 1x1
// convolution to 1280 channels belongs to the head, and so does the dropout before the last layer. A
// block with a residual sum has stochastic depth with a rate proportional to its position. All activations
// are SiLU, and parameters and buffers are named as in torchvision. For small images the stem and the second stage have
// stride 1, see small.
func efficientNet(name string, image graph.Shape, classes int64) *model.Network {
	kernels, rates := map[string]int64{"0.0": 3}, map[string]float64{} // by place
	n := &model.Network{Name: name, Input: image, Classes: classes, Drops: true,
		Head: func(b *graph.Builder, x *graph.Value) *graph.Value {
			b.In("features.8", func() { x = b.SiLU(model.Norm(b, "1", model.Conv(b, "0", x, 1280, 1, 1))) })
			start := graph.Weight{Init: graph.InitUniform, Scale: 1 / math.Sqrt(float64(classes))}
			x = model.Dropout(b, "classifier.0", b.AdaptiveAveragePool(x, 1, 1), narrowDropout)
			return model.LinearWith(b, "classifier.1", x, classes, start)
		},
		Block: func(name string, like model.Unit, stride int64) model.Unit {
			return squeezedResidual(name, 6, kernels[like.Place], like.Width, stride, rates[like.Place])
		}}
	first := int64(2) // the strides that small images do without
	if small(image) {
		first = 1
	}
	n.Units = append(n.Units, model.Unit{Name: "features.0", Place: "0.0", Width: 32,
		Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.SiLU(model.Norm(b, "1", model.Conv(b, "0", x, 32, 3, first)))
		}})
	for stage, s := range []struct {
		expansion, kernel, width int64
		blocks                   int
		stride                   int64
	}{{1, 3, 16, 1, 1}, {6, 3, 24, 2, first}, {6, 5, 40, 2, 2}, {6, 3, 80, 3, 2}, {6, 5, 112, 3, 1}, {6, 5, 192, 4, 2},
		{6, 3, 320, 1, 1}} {
		for i := range s.blocks {
			stride := int64(1)
			if i == 0 {
				stride = s.stride
			}
			rate := efficientDepth * float64(len(n.Units)-1) / efficientBlocks
			u := squeezedResidual(fmt.Sprintf("features.%d.%d", stage+1, i), s.expansion, s.kernel, s.width, stride, rate)
			u.Place = fmt.Sprintf("%d.%d", stage+1, i)
			kernels[u.Place], rates[u.Place] = s.kernel, rate
			n.Units = append(n.Units, u)
		}
	}
	return n
}

// squeezedResidual is invertedResidual with SiLU, a kernel of any size, squeeze-and-excitation
// with a quarter of the input's channels after the depthwise convolution, and stochastic depth with the
// given rate before the sum.
func squeezedResidual(name string, expansion, kernel, width, stride int64, rate float64) model.Unit {
	return model.Unit{Name: name, Width: width, Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
		in := model.Channels(x)
		inner, y, at := expansion*in, x, 0
		layer := func(f func()) {
			b.In(fmt.Sprint("block.", at), f)
			at++
		}
		if expansion != 1 {
			layer(func() { y = b.SiLU(model.Norm(b, "1", model.Conv(b, "0", y, inner, 1, 1))) })
		}
		layer(func() {
			y = b.SiLU(model.Norm(b, "1", model.GroupedConv(b, "0", y, inner, kernel, stride, inner)))
		})
		layer(func() {
			z := b.SiLU(model.ConvWithZeroBias(b, "fc1", b.AdaptiveAveragePool(y, 1, 1), max(in/4, 1), 1, 1))
			y = b.Gate(y, model.ConvWithZeroBias(b, "fc2", z, inner, 1, 1), graph.ActivationSigmoid)
		})
		layer(func() { y = model.Norm(b, "1", model.Conv(b, "0", y, width, 1, 1)) })
		if stride == 1 && in == width {
			y = b.Add(model.StochasticDepth(b, "stochastic_depth", y, rate), x)
		}
		return y
	}}
}

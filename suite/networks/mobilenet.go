package networks

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// mobileNet is MobileNetV2 (Sandler et al., 2018), as in torchvision: a stem of 32
// channels, 17 inverted residuals, a 1x1 convolution to 1280 channels; each is a unit.
// All activations are ReLU6, the head is dropout followed by a linear layer, and parameters and
// buffers are named as in torchvision. For small images the stem and the second stage have
// stride 1, see small.
func mobileNet(name string, image graph.Shape, classes int64) *model.Network {
	n := &model.Network{Name: name, Input: image, Classes: classes, Drops: true,
		Head: func(b *graph.Builder, x *graph.Value) *graph.Value {
			x = model.Dropout(b, "classifier.0", b.AdaptiveAveragePool(x, 1, 1), narrowDropout)
			return model.LinearWith(b, "classifier.1", x, classes, narrowStart())
		},
		Block: func(name string, like model.Unit, stride int64) model.Unit {
			if like.Place == "8.0" {
				return mobileConv(name, like.Width, 1, stride)
			}
			return invertedResidual(name, 6, like.Width, stride)
		}}
	add := func(u model.Unit, stage, block int) {
		u.Place = fmt.Sprintf("%d.%d", stage, block)
		n.Units = append(n.Units, u)
	}
	next := func() string { return fmt.Sprintf("features.%d", len(n.Units)) }
	first := int64(2) // the strides that small images do without
	if small(image) {
		first = 1
	}
	add(mobileConv(next(), 32, 3, first), 0, 0)
	for stage, s := range []struct {
		expansion, width int64
		blocks           int
		stride           int64
	}{{1, 16, 1, 1}, {6, 24, 2, first}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}} {
		for i := range s.blocks {
			stride := int64(1)
			if i == 0 {
				stride = s.stride
			}
			add(invertedResidual(next(), s.expansion, s.width, stride), stage+1, i)
		}
	}
	add(mobileConv(next(), 1280, 1, 1), 8, 0)
	return n
}

// mobileConv is a unit of one convolution, normalisation and ReLU6.
func mobileConv(name string, width, kernel, stride int64) model.Unit {
	return model.Unit{Name: name, Width: width, Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
		return b.ReLU6(model.Norm(b, "1", model.Conv(b, "0", x, width, kernel, stride)))
	}}
}

// invertedResidual is a 1x1 convolution that multiplies the channels by the expansion (omitted if
// that is 1), a depthwise 3x3 one with the stride, and a 1x1 one to the width without an
// activation. The input is added if its shape equals the output's.
func invertedResidual(name string, expansion, width, stride int64) model.Unit {
	return model.Unit{Name: name, Width: width, Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
		in := model.Channels(x)
		inner, y, at := expansion*in, x, 0
		if expansion != 1 {
			b.In("conv.0", func() { y = b.ReLU6(model.Norm(b, "1", model.Conv(b, "0", y, inner, 1, 1))) })
			at++
		}
		b.In(fmt.Sprint("conv.", at), func() {
			y = b.ReLU6(model.Norm(b, "1", model.GroupedConv(b, "0", y, inner, 3, stride, inner)))
		})
		y = model.Conv(b, fmt.Sprint("conv.", at+1), y, width, 1, 1)
		y = model.Norm(b, fmt.Sprint("conv.", at+2), y)
		if stride == 1 && in == width {
			y = b.Add(y, x)
		}
		return y
	}}
}

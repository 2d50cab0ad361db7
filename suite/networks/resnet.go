package networks

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// resNet returns the constructor of a ResNet for ImageNet (He et al., 2016), as in
// torchvision: a stem and four stages with the given numbers of blocks and nominal widths of 64,
// 128, 256 and 512, one unit per block; parameters and buffers are named as in torchvision.
//
// For small images the stem does not halve the sides: see small.
func resNet(block residual, blocks ...int) func(string, graph.Shape, int64) *model.Network {
	return func(name string, image graph.Shape, classes int64) *model.Network {
		n := &model.Network{Name: name, Input: image, Classes: classes, Head: model.PooledHead("fc", classes), Block: block.like}
		stem := largeStem
		if small(image) {
			stem = smallStem(64)
		}
		n.Units = append(n.Units, model.Unit{Place: "0.0", Width: 64, Forward: stem})
		n.Units = append(n.Units, block.stages(64, blocks...)...)
		return n
	}
}

// largeStem is a 7x7 convolution of 64 channels and stride 2, normalisation, ReLU and a
// max pool over 3x3 of stride 2.
func largeStem(b *graph.Builder, x *graph.Value) *graph.Value {
	x = b.ReLU(model.Norm(b, "bn1", model.Conv(b, "conv1", x, 64, 7, 2)))
	x, _ = b.MaxPool(x, graph.PoolOptions{Kernel: [2]int64{3, 3}, Stride: [2]int64{2, 2}, Padding: [2]int64{1, 1}})
	return x
}

// residual makes a residual block of one kind from its name, nominal width and stride.
type residual func(name string, width, stride int64) model.Unit

// like is model.Network.Block.
func (block residual) like(name string, u model.Unit, stride int64) model.Unit {
	return block(name, u.Width, stride)
}

// stages makes the units after a stem, with the given number of blocks in each stage. The first stage has the
// given width; each later one has twice the width of the previous one and half its sides.
func (block residual) stages(width int64, blocks ...int) (units []model.Unit) {
	for stage, count := range blocks {
		for i := range count {
			stride := int64(1)
			if stage > 0 && i == 0 {
				stride = 2
			}
			u := block(fmt.Sprintf("layer%d.%d", stage+1, i), width<<stage, stride)
			u.Place = fmt.Sprintf("%d.%d", stage+1, i)
			units = append(units, u)
		}
	}
	return units
}

// basicBlock is two 3x3 convolutions with a shortcut around them.
func basicBlock(name string, width, stride int64) model.Unit {
	return model.Unit{Name: name, Width: width, Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
		shortcut := shortcut(b, x, width, stride)
		y := b.ReLU(model.Norm(b, "bn1", model.Conv(b, "conv1", x, width, 3, stride)))
		y = model.Norm(b, "bn2", model.Conv(b, "conv2", y, width, 3, 1))
		return b.ReLU(b.Add(y, shortcut))
	}}
}

// shortcut is x if it has the shape of the block's output, else a strided 1x1
// convolution of x with normalisation.
func shortcut(b *graph.Builder, x *graph.Value, out, stride int64) *graph.Value {
	if stride != 1 || model.Channels(x) != out {
		b.In("downsample", func() {
			x = model.Norm(b, "1", model.Conv(b, "0", x, out, 1, stride))
		})
	}
	return x
}

// bottleneck is a 1x1 convolution to the nominal width, a 3x3 one with the
// stride, and a 1x1 one to four times that width, with a shortcut around them.
func bottleneck(name string, width, stride int64) model.Unit {
	return model.Unit{Name: name, Width: width, Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
		shortcut := shortcut(b, x, 4*width, stride)
		y := b.ReLU(model.Norm(b, "bn1", model.Conv(b, "conv1", x, width, 1, 1)))
		y = b.ReLU(model.Norm(b, "bn2", model.Conv(b, "conv2", y, width, 3, stride)))
		y = model.Norm(b, "bn3", model.Conv(b, "conv3", y, 4*width, 1, 1))
		return b.ReLU(b.Add(y, shortcut))
	}}
}

package networks

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// cifarResNet returns the maker of the ResNets for small images (He et al.,
// 2016, section 4.2): a 3x3 stem of 16 channels, three stages of n basic
// blocks with 16, 32 and 64 channels, 6n+2 layers, 3n+1 units. Where the shape
// changes the shortcut is a strided 1x1 convolution and a normalisation.
func cifarResNet(blocks int) func(string, graph.Shape, int64) *model.Network {
	return func(name string, image graph.Shape, classes int64) *model.Network {
		n := &model.Network{Name: name, Input: image, Classes: classes, Block: basicBlock}
		n.Units = append(n.Units, model.Unit{Place: "0.0", Width: 16, Forward: smallStem(16)})
		in := int64(16)
		for stage, width := range []int64{16, 32, 64} {
			for i := range blocks {
				stride := int64(1)
				if stage > 0 && i == 0 {
					stride = 2
				}
				u := basicBlock(fmt.Sprintf("layer%d.%d", stage+1, i), in, width, stride)
				u.Place = fmt.Sprintf("%d.%d", stage+1, i)
				n.Units = append(n.Units, u)
				in = width
			}
		}
		return n
	}
}

// smallStem is a 3x3 convolution, normalisation and ReLU.
func smallStem(width int64) func(*graph.Builder, *graph.Value) *graph.Value {
	return func(b *graph.Builder, x *graph.Value) *graph.Value {
		return b.ReLU(model.Norm(b, "bn1", model.Conv(b, "conv1", x, width, 3, 1)))
	}
}

// basicBlock is two 3x3 convolutions with a shortcut around them.
func basicBlock(name string, in, width, stride int64) model.Unit {
	return model.Unit{Name: name, Width: width, Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
		shortcut := x
		if stride != 1 || in != width {
			b.In("downsample", func() {
				shortcut = model.Norm(b, "1", model.Conv(b, "0", x, width, 1, stride))
			})
		}
		y := b.ReLU(model.Norm(b, "bn1", model.Conv(b, "conv1", x, width, 3, stride)))
		y = model.Norm(b, "bn2", model.Conv(b, "conv2", y, width, 3, 1))
		return b.ReLU(b.Add(y, shortcut))
	}}
}

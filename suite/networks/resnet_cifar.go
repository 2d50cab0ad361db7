package networks

import (
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// cifarResNet returns the maker of the ResNets for small images (He et al.,
// 2016, section 4.2): a 3x3 stem of 16 channels, three stages of n basic
// blocks with 16, 32 and 64 channels, 6n+2 layers, 3n+1 units. Where the shape
// changes the shortcut is a strided 1x1 convolution and a normalisation.
func cifarResNet(blocks int) func(string, graph.Shape, int64) *model.Network {
	return func(name string, image graph.Shape, classes int64) *model.Network {
		n := &model.Network{Name: name, Input: image, Classes: classes, Head: model.PooledHead("fc", classes),
			Block: residual(basicBlock).like}
		n.Units = append(n.Units, model.Unit{Place: "0.0", Width: 16, Forward: smallStem(16)})
		n.Units = append(n.Units, residual(basicBlock).stages(16, blocks, blocks, blocks)...)
		return n
	}
}

// smallStem is a 3x3 convolution, normalisation and ReLU.
func smallStem(width int64) func(*graph.Builder, *graph.Value) *graph.Value {
	return func(b *graph.Builder, x *graph.Value) *graph.Value {
		return b.ReLU(model.Norm(b, "bn1", model.Conv(b, "conv1", x, width, 3, 1)))
	}
}

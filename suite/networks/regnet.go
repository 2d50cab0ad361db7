package networks

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// regNetGroup is the number of channels per group in the 3x3 convolutions of RegNetX-400MF.
const regNetGroup = 16

// regNet is RegNetX-400MF (Radosavovic et al., 2020), as in torchvision: a 3x3 stem of 32
// channels and four stages of 1, 2, 7 and 12 blocks with 32, 64, 160 and 400 channels; each is a
// unit. Parameters and buffers are named as in torchvision. For small images the stem and the
// first stage have stride 1, see small.
func regNet(name string, image graph.Shape, classes int64) *model.Network {
	n := &model.Network{Name: name, Input: image, Classes: classes, Block: residual(regNetBlock).like,
		Head: func(b *graph.Builder, x *graph.Value) *graph.Value {
			return model.LinearWith(b, "fc", b.AdaptiveAveragePool(x, 1, 1), classes, narrowStart())
		}}
	first := int64(2) // the strides that small images do without
	if small(image) {
		first = 1
	}
	n.Units = append(n.Units, model.Unit{Name: "stem", Place: "0.0", Width: 32,
		Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.ReLU(model.Norm(b, "1", model.Conv(b, "0", x, 32, 3, first)))
		}})
	for stage, s := range []struct {
		width  int64
		blocks int
		stride int64
	}{{32, 1, first}, {64, 2, 2}, {160, 7, 2}, {400, 12, 2}} {
		for i := range s.blocks {
			stride := int64(1)
			if i == 0 {
				stride = s.stride
			}
			u := regNetBlock(fmt.Sprintf("trunk_output.block%d.block%d-%d", stage+1, stage+1, i), s.width, stride)
			u.Place = fmt.Sprintf("%d.%d", stage+1, i)
			n.Units = append(n.Units, u)
		}
	}
	return n
}

// regNetBlock is a 1x1 convolution, a grouped 3x3 one with the stride, and a 1x1 one,
// all of the same width, with a shortcut around them.
func regNetBlock(name string, width, stride int64) model.Unit {
	return model.Unit{Name: name, Width: width, Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
		shortcut, y := x, x
		if stride != 1 || model.Channels(x) != width {
			b.In("proj", func() { shortcut = model.Norm(b, "1", model.Conv(b, "0", x, width, 1, stride)) })
		}
		b.In("f.a", func() { y = b.ReLU(model.Norm(b, "1", model.Conv(b, "0", y, width, 1, 1))) })
		b.In("f.b", func() {
			y = b.ReLU(model.Norm(b, "1", model.GroupedConv(b, "0", y, width, 3, stride, width/regNetGroup)))
		})
		b.In("f.c", func() { y = model.Norm(b, "1", model.Conv(b, "0", y, width, 1, 1)) })
		return b.ReLU(b.Add(y, shortcut))
	}}
}

package networks

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// Constants of VGG.
const (
	vggHidden    = 4096 // of each hidden layer of the head
	vggSide      = 7    // of the map that the head flattens
	vggAuxiliary = 512  // features of AugLocal's classifier, and of its hidden layers
	vggDropout   = 0.5  // after the hidden layers of the head
)

// vgg returns the constructor of a VGG network with batch normalisation (Simonyan and
// Zisserman, 2015), as in torchvision: five stages with the given numbers of layers and 64,
// 128, 256, 512 and 512 channels. A layer is a 3x3 convolution with bias, normalisation and
// ReLU, and a unit; there is no stem. A 2x2 max pool precedes the first
// layer of each later stage and belongs to its unit, as in the program of AugLocal. The
// last pool belongs to the head.
//
// The head is that of torchvision and of AugLocal's program: the map averaged to
// 7x7, two hidden layers of 4096, each followed by dropout of 0.5. For small images it is a global
// average pool and one linear layer without dropout, the usual form for CIFAR: the papers' programs
// for small images are not public. Parameters that both forms have are named as in torchvision.
func vgg(layers ...int) func(string, graph.Shape, int64) *model.Network {
	return func(name string, image graph.Shape, classes int64) *model.Network {
		n := &model.Network{Name: name, Input: image, Classes: classes, Drops: !small(image),
			Head: vggHead(classes), AuxiliaryHead: vggAuxiliaryHead(classes), Block: vggBlock, LateAuxiliary: !small(image)}
		if small(image) {
			n.Head = func(b *graph.Builder, x *graph.Value) *graph.Value {
				return model.PooledHead("classifier", classes)(b, halved(b, x))
			}
		}
		at := 0 // position in torchvision's list of features
		for stage, width := range []int64{64, 128, 256, 512, 512} {
			for i := range layers[stage] {
				pool := stage > 0 && i == 0
				if pool {
					at++
				}
				position := at
				u := model.Unit{Name: "features", Place: fmt.Sprintf("%d.%d", stage+1, i), Width: width,
					Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
						return vggLayer(b, x, position, width, pool)
					}}
				if !small(image) {
					u.PoolSide = image[0] * 64 / width // by width alone: in the last stage it is twice the side
				}
				n.Units = append(n.Units, u)
				at += 3
			}
		}
		return n
	}
}

// halved is a 2x2 max pool.
func halved(b *graph.Builder, x *graph.Value) *graph.Value {
	y, _ := b.MaxPool(x, graph.PoolOptions{Kernel: [2]int64{2, 2}})
	return y
}

// vggLayer is the layer at a position in the list of features, preceded by a pool if the list has
// one there.
func vggLayer(b *graph.Builder, x *graph.Value, at int, width int64, pool bool) *graph.Value {
	if pool {
		x = halved(b, x)
	}
	x = model.ConvWithZeroBias(b, fmt.Sprint(at), x, width, 3, 1)
	return b.ReLU(model.Norm(b, fmt.Sprint(at+1), x))
}

// vggBlock is model.Network.Block: a layer, preceded by a pool if the width changes.
func vggBlock(name string, like model.Unit, _ int64) model.Unit {
	return model.Unit{Name: name, Width: like.Width, Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
		return vggLayer(b, x, 0, like.Width, model.Channels(x) != like.Width)
	}}
}

// vggHead is model.Network.Head.
func vggHead(classes int64) func(*graph.Builder, *graph.Value) *graph.Value {
	return func(b *graph.Builder, x *graph.Value) *graph.Value {
		x = halved(b, x)
		if b.Err() == nil && (x.Shape[1] != vggSide || x.Shape[2] != vggSide || b.KeepsIdentities()) {
			x = b.AdaptiveAveragePool(x, vggSide, vggSide)
		}
		for _, layer := range []int{0, 3} {
			x = b.ReLU(model.LinearWith(b, fmt.Sprint("classifier.", layer), x, vggHidden, narrowStart()))
			x = model.Dropout(b, fmt.Sprint("classifier.", layer+2), x, vggDropout)
		}
		return model.LinearWith(b, "classifier.6", x, classes, narrowStart())
	}
}

// vggAuxiliaryHead is model.Network.AuxiliaryHead: the map, flattened channel by channel,
// is averaged to 512 features, the input of a perceptron with two hidden layers. A
// feature is the average of whole rows of one channel, or of the whole channel if there are 512
// channels, as after every auxiliary network of AugLocal's uniform selection.
func vggAuxiliaryHead(classes int64) func(*graph.Builder, *graph.Value) *graph.Value {
	return func(b *graph.Builder, x *graph.Value) *graph.Value {
		if b.Err() != nil {
			return x
		}
		height, channels := x.Shape[1], x.Shape[3]
		parts := vggAuxiliary / channels // of a channel
		if height%parts != 0 {
			b.Fail(fmt.Errorf("a map of %d rows and %d channels has no %d equal parts of whole rows to average: its rows must be a "+
				"multiple of %d", height, channels, vggAuxiliary, parts))
			return x
		}
		x = b.AdaptiveAveragePool(x, parts, 1)
		for i := 1; i <= 2; i++ {
			x = b.ReLU(model.Norm(b, fmt.Sprint("bn", i), model.Linear(b, fmt.Sprint("fc", i), x, vggAuxiliary)))
		}
		return model.Linear(b, "fc3", x, classes)
	}
}

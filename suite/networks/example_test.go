package networks_test

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// plain is a network of four 3x3 convolutions, each followed by normalisation and ReLU; the second and the fourth halve the
// image. It is the example of docs/adding-a-network.md.
func plain(name string, image graph.Shape, classes int64) *model.Network {
	n := &model.Network{Name: name, Input: image, Classes: classes,
		Head:  model.PooledHead("fc", classes),
		Block: plainBlock,
	}
	for i, width := range []int64{16, 32, 32, 64} {
		stride := int64(1 + i%2)
		unit := plainUnit(fmt.Sprintf("layers.%d", i), width, stride)
		unit.Place = fmt.Sprintf("%d.%d", i/2+1, i%2)
		n.Units = append(n.Units, unit)
	}
	return n
}

// plainUnit is one unit: Forward writes its ops and declares its parameters in the scope of its name.
func plainUnit(name string, width, stride int64) model.Unit {
	return model.Unit{Name: name, Width: width, Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
		return b.ReLU(model.Norm(b, "bn", model.Conv(b, "conv", x, width, 3, stride)))
	}}
}

// plainBlock makes a unit for AugLocal's auxiliary networks: as wide as the unit it copies, with the given stride.
func plainBlock(name string, like model.Unit, stride int64) model.Unit {
	return plainUnit(name, like.Width, stride)
}

func Example() {
	n := plain("plain4", graph.Shape{32, 32, 3}, 10)
	for _, u := range n.Units {
		fmt.Println(u.Name, u.Place, u.Width)
	}
	// Output:
	// layers.0 1.0 16
	// layers.1 1.1 32
	// layers.2 2.0 32
	// layers.3 2.1 64
}

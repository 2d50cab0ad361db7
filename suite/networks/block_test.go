package networks_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/suite/networks"
)

// Blocks of auxiliary networks that are made of an exported network's units have the ops and the parameters of those that are
// written in Go, for inputs of fewer, the same, and more channels, with stride 1 and 2.
func TestExportedBlocks(t *testing.T) {
	for _, c := range []struct{ file, name string }{{"resnet18", "resnet18"}, {"resnet50", "resnet50"},
		{"mobilenet_v2", "mobilenetv2"},
		{"regnet_x_400mf", "regnetx400mf"}, {"efficientnet_b0", "efficientnetb0"}} {
		want, err := networks.New(c.name, graph.Shape{224, 224, 3}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		got, err := networks.New("exported/testdata/"+c.file+".pt2", graph.Shape{224, 224, 3}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for i, u := range want.Units[1:] {
			inverted := c.file == "mobilenet_v2" || c.file == "efficientnet_b0"
			if inverted && i == 0 {
				continue // has no expansion in the file, but one in Go
			}
			for _, channels := range []int64{16, u.Width, 4 * u.Width} {
				for _, stride := range []int64{1, 2} {
					ops := blockOps(t, got.Block("block", got.Units[1+i], stride), channels)
					if inverted && stride == 1 && channels == u.Width && !sums(ops) {
						continue // a block that changes the shape has no sum in the file, but one in Go for an input of its shape
					}
					if d := cmp.Diff(blockOps(t, want.Block("block", u, stride), channels), ops); d != "" {
						t.Errorf("%s: unit %s for %d channels and stride %d (-in Go +exported):\n%s", c.name, u.Name, channels, stride, d)
					}
				}
			}
		}
	}
}

// sums says whether there is a sum among the ops.
func sums(ops []string) bool {
	return slices.ContainsFunc(ops, func(op string) bool { return strings.HasPrefix(op, "add ") })
}

// blockOps are the ops of a block on a map of the given number of channels, and its parameters.
func blockOps(t *testing.T, block model.Unit, channels int64) (out []string) {
	t.Helper()
	b := graph.NewBuilder(true)
	b.EnableDropout()
	b.Output(block.Forward(b, b.Input("x", graph.Shape{2, 16, 16, channels}, graph.TypeF32)))
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range g.Ops {
		line := fmt.Sprintf("%s %v %d %.6f", op.Kind, op.Attr.Stride, op.Attr.Groups, op.Attr.Rate)
		for _, v := range append(op.Operands[:len(op.Operands):len(op.Operands)], op.Results...) {
			if v != nil {
				line += " " + v.Shape.String()
			}
		}
		out = append(out, line)
	}
	return out
}

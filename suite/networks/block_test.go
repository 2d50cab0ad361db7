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

// Units of all kinds of op follow the width of their input, by hand.
// Units that slice, join and shuffle maps follow the width of their input, by hand: two halves of 12 channels, one of which goes
// through convolutions; the last of them keeps its 58 channels. A stride is that of all paths.
func TestExportedBlocksThatJoin(t *testing.T) {
	for _, c := range []struct {
		file, place      string
		channels, stride int64
		want             []string
	}{
		{"shufflenet_v2_x1_0", "stage2.1", 24, 1, []string{"slice 2x16x16x12", "slice 2x16x16x12", "conv 1 2x16x16x12",
			"conv 1 2x16x16x12 in 12 groups", "conv 1 2x16x16x58", "concat 2x16x16x70", "permute 2x16x16x70"}},
		{"shufflenet_v2_x1_0", "stage2.1", 24, 2, []string{"max_pool 2 2x8x8x24", "slice 2x8x8x12", "slice 2x8x8x12", "conv 1 2x8x8x12",
			"conv 1 2x8x8x12 in 12 groups", "conv 1 2x8x8x58", "concat 2x8x8x70", "permute 2x8x8x70"}},
		{"shufflenet_v2_x1_0", "stage2.0", 48, 2, []string{"conv 2 2x8x8x48 in 48 groups", "conv 1 2x8x8x58", "conv 1 2x16x16x58",
			"conv 2 2x8x8x58 in 58 groups", "conv 1 2x8x8x58", "concat 2x8x8x116", "permute 2x8x8x116"}},
		{"shufflenet_v2_x1_0", "stage2.0", 48, 1, []string{"conv 1 2x16x16x48 in 48 groups", "conv 1 2x16x16x58",
			"conv 1 2x16x16x58", "conv 1 2x16x16x58 in 58 groups", "conv 1 2x16x16x58", "concat 2x16x16x116", "permute 2x16x16x116"}},
		{"googlenet", "inception4b", 100, 2, []string{"max_pool 2 2x8x8x100", "conv 1 2x8x8x160", "conv 1 2x8x8x112",
			"conv 1 2x8x8x224", "conv 1 2x8x8x24", "conv 1 2x8x8x64", "max_pool 1 2x8x8x100", "conv 1 2x8x8x64", "concat 2x8x8x512"}},
		// The pool after the block is the unit's.
		{"googlenet", "inception3b", 100, 2, []string{"conv 1 2x16x16x128", "conv 1 2x16x16x128", "conv 1 2x16x16x192",
			"conv 1 2x16x16x32", "conv 1 2x16x16x96", "max_pool 1 2x16x16x100", "conv 1 2x16x16x64", "concat 2x16x16x480",
			"max_pool 2 2x8x8x480"}},
		// ConvNeXt: the linear layers keep their outputs, the normalisation has the channels of the depthwise convolution. The sum is
		// left out where the shapes differ, and with it stochastic depth; the layer scale stays.
		{"convnext_tiny_64", "features.3.0", 40, 2, []string{"conv 2 2x8x8x40 in 40 groups", "layer_norm 2x8x8x40", "linear 2x8x8x768",
			"activate 2x8x8x768", "linear 2x8x8x192", "scale 2x8x8x192"}},
		{"convnext_tiny_64", "features.3.1", 192, 1, []string{"conv 1 2x16x16x192 in 192 groups", "layer_norm 2x16x16x192",
			"linear 2x16x16x768", "activate 2x16x16x768", "linear 2x16x16x192", "scale 2x16x16x192", "add 2x16x16x192"}},
		// MobileNetV3: the squeeze keeps its ratio to the map, 24 of 96 channels; the excitation has those of the map.
		{"mobilenet_v3_small_64", "features.4", 48, 1, []string{"conv 1 2x16x16x192", "conv 1 2x16x16x192 in 192 groups",
			"conv 1 2x1x1x48", "conv 1 2x1x1x192", "gate 2x16x16x192", "conv 1 2x16x16x40"}},
		{"squeezenet1_1", "features.4", 40, 1, []string{"conv 1 2x16x16x16", "conv 1 2x16x16x64", "conv 1 2x16x16x64",
			"concat 2x16x16x128"}},
	} {
		n, err := networks.New("exported/testdata/"+c.file+".pt2", graph.Shape{64, 64, 3}, 10)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(n.Units, func(u model.Unit) bool { return u.Place == c.place })
		if at < 0 {
			t.Errorf("%s has no unit %s", c.file, c.place)
			continue
		}
		b := graph.NewBuilder(true)
		b.Output(n.Block("block", n.Units[at], c.stride).Forward(b, b.Input("x", graph.Shape{2, 16, 16, c.channels}, graph.TypeF32)))
		g, err := b.Graph()
		if err != nil {
			t.Errorf("%s: unit %s: %v", c.file, c.place, err)
			continue
		}
		var got []string
		for _, op := range g.Ops {
			line := op.Kind.String()
			switch op.Kind {
			case graph.KindConv, graph.KindMaxPool:
				line += fmt.Sprint(" ", op.Attr.Stride[0])
			case graph.KindSlice, graph.KindConcat, graph.KindPermute, graph.KindLayerNorm, graph.KindLinear, graph.KindScale,
				graph.KindGate, graph.KindAdd:
			case graph.KindActivate:
				if op.Attr.Activation != graph.ActivationGELU {
					continue
				}
			default:
				continue
			}
			line += " " + op.Results[0].Shape.String()
			if op.Attr.Groups > 1 {
				line += fmt.Sprintf(" in %d groups", op.Attr.Groups)
			}
			got = append(got, line)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: unit %s for %d channels and stride %d (-want +got):\n%s", c.file, c.place, c.channels, c.stride, d)
		}
	}
}

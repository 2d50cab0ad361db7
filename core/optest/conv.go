package optest

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/rng"
)

// convolution is the shapes of one convolution: x [n h w c], weight
// [o r s c/groups].
type convolution struct {
	name       string
	n, h, w, c int64
	o, r, s    int64
	stride     int64
	padding    int64
	groups     int64
	bias       bool
	dilation   int64
}

// convolutions are the shapes that all three kinds run on.
var convolutions = []convolution{
	{"one element", 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, true, 1},
	{"3 channels, 3x3", 2, 9, 7, 3, 16, 3, 3, 1, 1, 1, false, 1},
	{"3 channels, 7x7 with stride 2", 1, 23, 19, 3, 64, 7, 7, 2, 3, 1, false, 1},
	{"3 channels to 10, 5x5, bias", 3, 8, 11, 3, 10, 5, 5, 1, 1, 1, true, 1},
	{"10 channels, 5x5 with padding 2", 3, 6, 5, 10, 10, 5, 5, 1, 2, 1, false, 1},
	{"16 channels, 3x3", 5, 10, 6, 16, 16, 3, 3, 1, 1, 1, false, 1},
	{"16 channels, 3x3, a whole image", 4, 32, 32, 16, 16, 3, 3, 1, 1, 1, false, 1},
	{"16 channels, 3x3, bias, images of another height than a tile", 3, 11, 33, 16, 16, 3, 3, 1, 1, 1, true, 1},
	{"32 channels, 3x3, many small images", 11, 8, 8, 32, 32, 3, 3, 1, 1, 1, false, 1},
	{"16 to 32 channels, 3x3", 2, 17, 19, 16, 32, 3, 3, 1, 1, 1, true, 1},
	{"32 to 16 channels, 3x3, rows of one", 37, 1, 4, 32, 16, 3, 3, 1, 1, 1, false, 1},
	{"16 channels, 3x3, bias, no padding", 2, 7, 9, 16, 16, 3, 3, 1, 0, 1, true, 1},
	{"16 to 32 channels, stride 2, even sides", 3, 8, 10, 16, 32, 3, 3, 2, 1, 1, false, 1},
	{"32 to 64 channels, stride 2, odd sides", 2, 9, 11, 32, 64, 3, 3, 2, 1, 1, false, 1},
	{"16 to 32 channels, stride 2, whole images", 3, 32, 32, 16, 32, 3, 3, 2, 1, 1, false, 1},
	{"8 to 64 channels, stride 2, bias, rows of 23", 2, 6, 46, 8, 64, 3, 3, 2, 1, 1, true, 1},
	{"24 to 32 channels, stride 2, bias, one result an image", 5, 2, 2, 24, 32, 3, 3, 2, 1, 1, true, 1},
	{"32 to 48 channels, stride 2, bias, rows of 15", 2, 10, 30, 32, 48, 3, 3, 2, 1, 1, true, 1},
	{"48 to 10 channels, stride 2, rows of 65", 1, 6, 130, 48, 10, 3, 3, 2, 1, 1, false, 1},
	{"16 channels, stride 2, rows of 65", 1, 4, 130, 16, 16, 3, 3, 2, 1, 1, false, 1},
	{"64 channels, 3x3", 3, 8, 7, 64, 64, 3, 3, 1, 1, 1, true, 1},
	{"48 to 80 channels, 3x3, bias, many tiles, odd sides", 7, 13, 11, 48, 80, 3, 3, 1, 1, 1, true, 1},
	{"80 to 48 channels, 3x3, sides of a tile and one", 9, 5, 9, 80, 48, 3, 3, 1, 1, 1, false, 1},
	{"17 to 33 channels, 3x3", 1, 5, 8, 17, 33, 3, 3, 1, 1, 1, true, 1},
	{"12 to 3 channels, 3x3, bias, whole images", 5, 32, 32, 12, 3, 3, 3, 1, 1, 1, true, 1},
	{"5 to 4 channels, 3x3, rows of 37", 3, 6, 37, 5, 4, 3, 3, 1, 1, 1, false, 1},
	{"16 to 2 channels, 3x3, bias, rows of one", 40, 3, 1, 16, 2, 3, 3, 1, 1, 1, true, 1},
	{"one channel, 3x3, bias", 2, 7, 70, 1, 1, 3, 3, 1, 1, 1, true, 1},
	{"16 to 12 channels, 3x3, bias, whole images", 3, 32, 32, 16, 12, 3, 3, 1, 1, 1, true, 1},
	{"64 to 12 channels, 3x3, bias, many images", 37, 9, 10, 64, 12, 3, 3, 1, 1, 1, true, 1},
	{"12 to 20 channels, 3x3, odd sides", 19, 13, 11, 12, 20, 3, 3, 1, 1, 1, false, 1},
	{"128 to 256 channels, 3x3, bias", 2, 7, 9, 128, 256, 3, 3, 1, 1, 1, true, 1},
	{"16 to 64 channels, 3x3, tall images", 2, 70, 5, 16, 64, 3, 3, 1, 1, 1, false, 1},
	{"16 to 256 channels, 3x3, small images", 13, 8, 8, 16, 256, 3, 3, 1, 1, 1, false, 1},
	{"17 to 33 channels, 1x1", 3, 5, 4, 17, 33, 1, 1, 1, 0, 1, false, 1},
	{"64 to 16 channels, 1x1, bias", 1, 13, 6, 64, 16, 1, 1, 1, 0, 1, true, 1},
	{"32 to 96 channels, 1x1", 1, 5, 7, 32, 96, 1, 1, 1, 0, 1, false, 1},
	{"1x1 with stride 2, odd sides", 2, 7, 9, 16, 32, 1, 1, 2, 0, 1, false, 1},
	{"1x1 with stride 2, even sides: the last row and column are never read", 1, 8, 6, 10, 16, 1, 1, 2, 0, 1, true, 1},
	{"1x1 with padding: the border is the bias", 2, 4, 3, 10, 16, 1, 1, 1, 1, 1, true, 1},
	{"3x3 with stride 3", 2, 11, 10, 10, 17, 3, 3, 3, 0, 1, false, 1},
	{"2x2 with stride 2", 3, 7, 6, 16, 10, 2, 2, 2, 0, 1, false, 1},
	{"1x3 with padding 1", 2, 4, 9, 10, 16, 1, 3, 1, 1, 1, false, 1},
	{"5x3", 1, 9, 6, 16, 3, 5, 3, 1, 0, 1, true, 1},
	{"a kernel as large as the input", 5, 4, 6, 10, 32, 4, 6, 1, 0, 1, true, 1},
	{"a kernel larger than the input", 1, 3, 2, 3, 10, 7, 7, 1, 3, 1, false, 1},
	{"one pixel an image, batch 7", 7, 1, 1, 64, 10, 1, 1, 1, 0, 1, true, 1},
	{"two groups", 3, 6, 7, 16, 32, 3, 3, 1, 1, 2, false, 1},
	{"four groups of 3 channels in and 5 out, bias", 1, 5, 7, 12, 20, 3, 3, 2, 1, 4, true, 1},
	{"three groups of 16 channels, 3x3, bias", 3, 9, 6, 48, 48, 3, 3, 1, 1, 3, true, 1},
	{"four groups of 32 channels to 16, 3x3", 2, 7, 13, 128, 64, 3, 3, 1, 1, 4, false, 1},
	{"three groups of 16 channels to 32, stride 2, bias", 3, 8, 6, 48, 96, 3, 3, 2, 1, 3, true, 1},
	{"two groups of 16 channels, stride 2, bias, rows of 23", 2, 6, 46, 32, 32, 3, 3, 2, 1, 2, true, 1},
	{"four groups of 16 channels, stride 2, rows of one", 3, 10, 2, 64, 64, 3, 3, 2, 1, 4, false, 1},
	{"two groups of 32 channels, stride 2, rows of 7", 3, 14, 14, 64, 64, 3, 3, 2, 1, 2, false, 1},
	{"three groups of 32 channels to 16, stride 2, bias, one result an image", 5, 2, 2, 96, 48, 3, 3, 2, 1, 3, true, 1},
	{"32 groups of two channels", 2, 5, 6, 64, 64, 3, 3, 1, 1, 32, false, 1},
	{"depthwise, 10 channels, stride 2", 3, 9, 8, 10, 10, 3, 3, 2, 1, 10, false, 1},
	{"depthwise, 32 channels, 5x5, bias", 1, 7, 6, 32, 32, 5, 5, 1, 1, 32, true, 1},
	{"depthwise, 48 channels, bias", 2, 9, 11, 48, 48, 3, 3, 1, 1, 48, true, 1},
	{"depthwise, 16 channels, stride 2, even sides", 3, 10, 14, 16, 16, 3, 3, 2, 1, 16, false, 1},
	{"depthwise, 32 channels, 5x5 with stride 2, even sides, bias", 2, 8, 18, 32, 32, 5, 5, 2, 2, 32, true, 1},
	{"depthwise, 32 channels, 7x7, bias", 1, 9, 17, 32, 32, 7, 7, 1, 3, 32, true, 1},
	{"depthwise, 16 channels, 7x7 with stride 2, even sides", 2, 12, 10, 16, 16, 7, 7, 2, 3, 16, false, 1},
	{"depthwise, 16 channels, 5x5, images smaller than the filter", 2, 2, 3, 16, 16, 5, 5, 1, 2, 16, false, 1},
	{"depthwise, two results a channel", 2, 5, 5, 16, 32, 3, 3, 1, 1, 16, false, 1},
	{"3x3, dilation 2, padding 2", 2, 9, 7, 16, 16, 3, 3, 1, 2, 1, false, 2},
	{"5x3, dilation 3, stride 2, bias", 3, 17, 14, 10, 17, 5, 3, 2, 1, 1, true, 3},
	{"two groups, dilation 2", 1, 8, 9, 12, 20, 3, 3, 1, 1, 2, true, 2},
	{"depthwise, 32 channels, dilation 2", 2, 9, 10, 32, 32, 3, 3, 1, 2, 32, false, 2},
	{"a dilated kernel as large as the padded input", 2, 3, 4, 3, 5, 3, 3, 1, 1, 1, true, 2},
	{"1x1, dilation 2, which changes nothing", 2, 5, 4, 10, 16, 1, 1, 1, 0, 1, false, 2},
}

// convCases returns the three kinds on every shape, random shapes included.
func convCases() []Case {
	return convolutionCases(append(randomConvolutions(10), convolutions...))
}

func convolutionCases(shapes []convolution) []Case {
	var out []Case
	for _, s := range shapes {
		out = append(out,
			Case{Name: s.name, Kind: graph.KindConv, build: func(p *program) { s.forward(p) }},
			Case{Name: s.name, Kind: graph.KindConvBackwardWeights, build: func(p *program) {
				p.ConvBackwardWeights(s.made(p), p.input("dy", normal(0, 1), s.result()...))
			}},
			Case{Name: s.name, Kind: graph.KindConvBackwardData, build: func(p *program) {
				p.ConvBackwardData(s.made(p), p.input("dy", normal(0, 1), s.result()...))
			}})
	}
	return out
}

// operands declares x, weight and, if there is one, the bias.
func (s convolution) operands(p *program) (x, weight, bias *graph.Value) {
	x = p.input("x", normal(0.5, 1), s.n, s.h, s.w, s.c)
	weight, bias = s.parameters(p)
	return x, weight, bias
}

// parameters declares weight and, if there is one, the bias.
func (s convolution) parameters(p *program) (weight, bias *graph.Value) {
	weight = p.weight("weight", normal(0, 1), s.o, s.r, s.s, s.c/s.groups)
	if s.bias {
		bias = p.weight("bias", normal(0, 1), s.o)
	}
	return weight, bias
}

func (s convolution) forward(p *program) *graph.Value {
	x, weight, bias := s.operands(p)
	return p.Conv(x, weight, bias, s.options())
}

// made returns the forward op without writing it to the program: what the
// backward builders need to know of it.
func (s convolution) made(p *program) *graph.Op {
	x, weight, bias := s.operands(p)
	return s.op(x, weight, bias)
}

// op is the convolution of some operands.
func (s convolution) op(operands ...*graph.Value) *graph.Op {
	op := &graph.Op{Kind: graph.KindConv, Operands: operands, Attr: graph.Attributes{
		Stride: [2]int64{s.stride, s.stride}, Padding: [2]int64{s.padding, s.padding}, Groups: s.groups,
	}}
	if s.dilation > 1 {
		op.Attr.Dilation = [2]int64{s.dilation, s.dilation}
	}
	return op
}

func (s convolution) options() graph.ConvOptions {
	return graph.ConvOptions{Stride: s.stride, Padding: s.padding, Groups: s.groups, Dilation: s.dilation}
}

// result returns the shape of y.
func (s convolution) result() []int64 {
	side := func(x, kernel int64) int64 { return (x+2*s.padding-(kernel-1)*s.dilation-1)/s.stride + 1 }
	return []int64{s.n, side(s.h, s.r), side(s.w, s.s), s.o}
}

// randomConvolutions draws shapes, the same ones each time.
func randomConvolutions(count int) []convolution {
	out := make([]convolution, count)
	for i := range out {
		d := dice{rng.Stream{Seed: uint64(i), Purpose: rng.PurposeSynthetic, Epoch: rng.NameKey("convolution")}, 0}
		s := convolution{
			r: d.roll(1, 5), s: d.roll(1, 5), stride: d.roll(1, 3), padding: d.roll(0, 2),
			groups: d.roll(1, 3), n: d.roll(1, 5), bias: d.roll(0, 1) == 1, dilation: 1,
		}
		s.h, s.w = s.r+d.roll(0, 9), s.s+d.roll(0, 9)
		s.c, s.o = s.groups*d.roll(1, 21), s.groups*d.roll(1, 21)
		s.name = fmt.Sprintf("random: %dx%dx%dx%d to %d channels, %dx%d, stride %d, padding %d, %d groups, bias %t",
			s.n, s.h, s.w, s.c, s.o, s.r, s.s, s.stride, s.padding, s.groups, s.bias)
		out[i] = s
	}
	return out
}

// dice draws whole numbers one after the other.
type dice struct {
	stream rng.Stream
	next   uint64
}

// roll returns the next number in low..high.
func (d *dice) roll(low, high int64) int64 {
	d.next++
	return low + int64(d.stream.Uniform(d.next-1)*float64(high-low+1))
}

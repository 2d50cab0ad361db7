package engine_test

import (
	"fmt"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
)

// convKinds are the three ops of a convolution.
var convKinds = []graph.Kind{graph.KindConv, graph.KindConvBackwardData, graph.KindConvBackwardWeights}

// convShape is a convolution; the side is that of its result.
type convShape struct {
	batch, side, in, out, kernel int64
	bias                         bool
	groups                       int64 // 0: one
}

// BenchmarkConvFewChannels runs the convolutions of InfoPro's decoder on ResNet-32 at batch 128, on one thread, by oneDNN's
// kernel and by the one that native/choice.cc chooses. The time is processor time.
//
//	go test ./core/engine -run NONE -bench ConvFewChannels -benchtime 0.2s -count 3
func BenchmarkConvFewChannels(b *testing.B) {
	benchmarkShapes(b, []string{"oneDNN", ""}, []convShape{
		{128, 32, 12, 3, 3, true, 0}, {128, 32, 16, 12, 3, true, 0}, {128, 32, 32, 12, 3, true, 0}, {128, 32, 64, 12, 3, true, 0}})
}

// BenchmarkConv1x1 runs 1x1 convolutions of ResNet-50 and MobileNetV2 at batch 8 and 224x224 pixels, on one thread, by oneDNN's
// kernel and by ours; docs/performance.md says which is chosen. The time is processor time.
//
//	go test ./core/engine -run NONE -bench Conv1x1 -benchtime 0.1s -count 3
//	ONEDNN_MAX_CPU_ISA=AVX2 go test ./core/engine -run NONE -bench Conv1x1 -benchtime 0.1s -count 3
func BenchmarkConv1x1(b *testing.B) {
	benchmarkShapes(b, []string{"oneDNN", "product"}, []convShape{
		{8, 56, 64, 64, 1, false, 0}, {8, 56, 64, 256, 1, false, 0}, {8, 56, 256, 64, 1, false, 0},
		{8, 28, 128, 512, 1, false, 0}, {8, 28, 512, 128, 1, false, 0},
		{8, 14, 256, 1024, 1, false, 0}, {8, 14, 1024, 256, 1, false, 0},
		{8, 7, 512, 2048, 1, false, 0}, {8, 7, 2048, 512, 1, false, 0},
		{8, 112, 32, 16, 1, false, 0}, {8, 112, 16, 96, 1, false, 0}, {8, 28, 32, 192, 1, false, 0}, {8, 28, 192, 32, 1, false, 0},
		{8, 14, 64, 384, 1, false, 0}, {8, 14, 384, 64, 1, false, 0}, {8, 7, 160, 960, 1, false, 0}, {8, 7, 960, 160, 1, false, 0}})
}

// BenchmarkGroupedConv runs 3x3 convolutions in groups of 16 channels, those of RegNetX-400MF at batch 8 and 224x224 pixels, and
// in wider ones, as ResNeXt and larger RegNets have, on one thread, by oneDNN's kernel and by ours. The time is processor time.
//
//	go test ./core/engine -run NONE -bench GroupedConv -benchtime 0.1s -count 3
//	ONEDNN_MAX_CPU_ISA=AVX2 go test ./core/engine -run NONE -bench GroupedConv -benchtime 0.1s -count 3
func BenchmarkGroupedConv(b *testing.B) {
	benchmarkShapes(b, []string{"oneDNN", "winograd F(4x4, 3x3)"}, []convShape{
		{8, 28, 64, 64, 3, false, 4}, {8, 14, 160, 160, 3, false, 10}, {8, 7, 400, 400, 3, false, 25},
		{4, 7, 400, 400, 3, false, 25}, {1, 7, 400, 400, 3, false, 25},
		{8, 14, 512, 512, 3, false, 16}, {8, 14, 512, 512, 3, false, 8}, {8, 7, 512, 512, 3, false, 4}})
}

// BenchmarkStrided runs the three kinds of 3x3 convolutions of stride 2, those of ResNets for images of 32x32 at batch 128 and 64
// and of 224x224 at batch 8, two with tensors of 64 MiB, larger than the caches, and those of RegNetX-400MF and of wider groups,
// on one thread, by oneDNN's kernel and by ours. The time is processor time.
//
//	go test ./core/engine -run NONE -bench 'Strided$' -benchtime 0.1s -count 3
//	ONEDNN_MAX_CPU_ISA=AVX2 go test ./core/engine -run NONE -bench 'Strided$' -benchtime 0.1s -count 3
func BenchmarkStrided(b *testing.B) {
	for _, s := range []convShape{
		{128, 16, 16, 32, 3, false, 1}, {128, 8, 32, 64, 3, false, 1}, {64, 16, 64, 128, 3, false, 1},
		{64, 8, 128, 256, 3, false, 1}, {64, 4, 256, 512, 3, false, 1},
		{1024, 16, 16, 32, 3, false, 1}, {256, 16, 64, 128, 3, false, 1},
		{8, 28, 128, 128, 3, false, 1}, {8, 14, 256, 256, 3, false, 1}, {8, 7, 512, 512, 3, false, 1},
		{8, 56, 32, 32, 3, false, 2}, {8, 28, 64, 64, 3, false, 4}, {8, 14, 160, 160, 3, false, 10}, {8, 7, 400, 400, 3, false, 25},
		{8, 14, 256, 256, 3, false, 8}, {8, 14, 256, 256, 3, false, 4},
	} {
		for _, kind := range convKinds {
			for _, kernel := range []string{"oneDNN", stridedKernel} {
				d := enginetest.Open(b, "cpu", engine.Options{Threads: 1, PlanBook: kernel})
				b.Run(fmt.Sprintf("%s/%s/%s", s, kind, kernel), func(b *testing.B) {
					s.family(kind, 2).run(b, d, graph.TypeF32, []int64{s.batch, 2 * s.side, 2 * s.side, s.in})
				})
			}
		}
	}
}

// BenchmarkDepthwise runs the three kinds of depthwise convolutions of MobileNetV2 (3x3), EfficientNet-B0 (3x3 and 5x5) and
// ConvNeXt-T (7x7) at batch 8 and 224x224 pixels, in f32 and in bf16, on one thread, by oneDNN's kernel and by ours. The time is
// processor time.
//
//	go test ./core/engine -run NONE -bench Depthwise -benchtime 0.03s -count 3
//	ONEDNN_MAX_CPU_ISA=AVX2 go test ./core/engine -run NONE -bench Depthwise -benchtime 0.03s -count 3
func BenchmarkDepthwise(b *testing.B) {
	for _, c := range []struct{ channels, side, kernel, stride int64 }{
		{32, 112, 3, 1}, {96, 56, 3, 2}, {144, 56, 3, 1}, {144, 28, 3, 2}, {192, 28, 3, 1}, {192, 14, 3, 2}, {384, 14, 3, 1},
		{576, 14, 3, 1}, {576, 7, 3, 2}, {960, 7, 3, 1}, {144, 28, 5, 2}, {240, 28, 5, 1},
		{672, 14, 5, 1}, {672, 7, 5, 2}, {1152, 7, 5, 1},
		{96, 56, 7, 1}, {192, 28, 7, 1}, {384, 14, 7, 1}, {768, 7, 7, 1},
	} {
		s := convShape{batch: 8, side: c.side, in: c.channels, out: c.channels, kernel: c.kernel, groups: c.channels}
		for _, kind := range convKinds {
			for _, element := range []graph.ElementType{graph.TypeF32, graph.TypeBF16} {
				for _, kernel := range []string{"oneDNN", depthwiseKernel} {
					d := enginetest.Open(b, "cpu", engine.Options{Threads: 1, PlanBook: kernel})
					f := s.family(kind, c.stride)
					b.Run(fmt.Sprintf("%s_stride_%d/%s/%s/%s", s, c.stride, kind, element, kernel), func(b *testing.B) {
						f.run(b, d, element, []int64{s.batch, c.stride * s.side, c.stride * s.side, s.in})
					})
				}
			}
		}
	}
}

// BenchmarkConv512 runs 3x3 convolutions of 512 channels, those of ResNet-18 on images of 32x32 at batch 64 and of VGG-13 on
// images of 224x224 at batch 8, on one thread, by oneDNN's kernel, by F(4x4, 3x3) at once, whose workspace is larger than a
// kernel's may be, and in groups of channels. The time is processor time.
//
//	go test ./core/engine -run NONE -bench Conv512 -benchtime 0.1s -count 3
func BenchmarkConv512(b *testing.B) {
	benchmarkShapes(b, []string{"oneDNN", "winograd F(4x4, 3x3)", "groups of channels"}, []convShape{
		{64, 4, 512, 512, 3, false, 0}, {8, 14, 512, 512, 3, false, 0}, {8, 28, 256, 512, 3, false, 0}, {8, 28, 512, 512, 3, false, 0}})
}

// benchmarkShapes runs the three kinds of convolution on each shape by each kernel; "" is the one that is chosen.
func benchmarkShapes(b *testing.B, kernels []string, shapes []convShape) {
	for _, s := range shapes {
		for _, kind := range convKinds {
			for _, kernel := range kernels {
				d := enginetest.Open(b, "cpu", engine.Options{Threads: 1, PlanBook: kernel})
				name := kernel
				if name == "" {
					name = "chosen"
				}
				b.Run(fmt.Sprintf("%s/%s/%s", s, kind, name), func(b *testing.B) {
					s.family(kind, 1).run(b, d, graph.TypeF32, []int64{s.batch, s.side, s.side, s.in})
				})
			}
		}
	}
}

func (s convShape) String() string {
	name := fmt.Sprintf("%dx%d_%d_to_%d_at_%dx%d_batch_%d", s.kernel, s.kernel, s.in, s.out, s.side, s.side, s.batch)
	if s.groups > 0 {
		name += fmt.Sprintf("_groups_%d", s.groups)
	}
	return name
}

// family is a kind of the convolution with a stride; the side is that of the result.
func (s convShape) family(kind graph.Kind, stride int64) family {
	return family{s.String(), func(b *builder, shape ...int64) {
		dy := b.Input("dy", graph.Shape{s.batch, s.side, s.side, s.out}, b.element)
		var bias *graph.Value
		if s.bias {
			bias = b.Input("bias", graph.Shape{s.out}, b.element)
		}
		groups := max(s.groups, 1)
		w := b.Input("w", graph.Shape{s.out, s.kernel, s.kernel, s.in / groups}, b.element)
		b.Conv(b.Input("x", shape, b.element), w, bias, graph.ConvOptions{Padding: s.kernel / 2, Stride: stride, Groups: groups})
		switch kind {
		case graph.KindConvBackwardData:
			b.ConvBackwardData(b.Ops()[0], dy)
		case graph.KindConvBackwardWeights:
			b.ConvBackwardWeights(b.Ops()[0], dy)
		}
	}, 0}
}

package engine_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
)

// convKernels are the kernels of a 3x3 convolution of stride 1 on the cpu, in the order of native/choice.cc.
var convKernels = []string{"oneDNN", "winograd F(2x2, 3x3)", "winograd F(4x4, 3x3)", rowsKernel}

// rowsKernel is our kernel of tensors in bf16 alone.
const rowsKernel = "winograd F(4, 3)"

// multipliesBF16 tells whether oneDNN, and so our kernels, multiply bf16 by instructions for it.
func multipliesBF16(facts map[string]string) bool {
	isa := facts["oneDNN_isa"]
	return strings.Contains(isa, "bf16") || strings.Contains(isa, "amx")
}

// convKernelsOf are those of convKernels that may be chosen for tensors of a type. Without an instruction that multiplies bf16
// rowsKernel rounds and is not faster: it is there to be compared with.
func convKernelsOf(element graph.ElementType, facts map[string]string) []string {
	if element == graph.TypeBF16 && multipliesBF16(facts) {
		return convKernels
	}
	return slices.DeleteFunc(slices.Clone(convKernels), func(name string) bool { return name == rowsKernel })
}

// stridedKernel is our kernels of the three ops of a 3x3 convolution of stride 2.
const stridedKernel = "direct, stride 2"

// depthwiseKernel is our kernels of the three ops of a depthwise convolution.
const depthwiseKernel = "direct, depthwise"

// convClass is a row of a table of rates in native/rates_*.h.
type convClass struct {
	kind            graph.Kind
	channels, tiles int64 // tiles of 4x4 outputs, of all images
}

// BenchmarkConv runs 3x3 convolutions of stride 1 by each kernel that can compute them, in f32 and in bf16, on one thread:
// GFLOP/s of a direct convolution, by processor time. With -update it writes the tables by which native/choice.cc chooses:
//
//	go test ./core/engine -run NONE -bench '^BenchmarkConv$' -benchtime 0.05s -timeout 1h -update
//	ONEDNN_MAX_CPU_ISA=AVX512_CORE go test ./core/engine -run NONE -bench '^BenchmarkConv$/bf16' -benchtime 0.05s -timeout 1h \
//		-update
//	ONEDNN_MAX_CPU_ISA=AVX2 go test ./core/engine -run NONE -bench '^BenchmarkConv$' -benchtime 0.05s -timeout 1h -update
//
// With -count the best of several runs counts: other programs on the machine slow some of them down.
func BenchmarkConv(b *testing.B) {
	for _, element := range []graph.ElementType{graph.TypeF32, graph.TypeBF16} {
		b.Run(element.String(), func(b *testing.B) { benchmarkConv(b, element) })
	}
}

func benchmarkConv(b *testing.B, element graph.ElementType) {
	rates, classes := map[convClass]map[string]float64{}, convClasses(element)
	facts := enginetest.Open(b, "cpu", engine.Options{Threads: 1}).Facts()
	kernels := convKernelsOf(element, facts)
	for _, kernel := range kernels {
		d := enginetest.Open(b, "cpu", engine.Options{Threads: 1, PlanBook: kernel})
		for _, class := range classes {
			name := fmt.Sprintf("%s/%d_channels/%d_tiles/%s", class.kind, class.channels, class.tiles, kernel)
			b.Run(name, func(b *testing.B) {
				if rates[class] == nil {
					rates[class] = map[string]float64{}
				}
				shape := []int64{class.tiles / 4, 8, 8, class.channels}
				rates[class][kernel] = max(rates[class][kernel], class.family().run(b, d, element, shape))
			})
		}
	}
	if !*update || len(rates) < len(classes) {
		return
	}
	name, isa := "rates_", strings.TrimSuffix(facts["isa"], "f")
	if element == graph.TypeBF16 {
		name += "bf16_"
		if multipliesBF16(facts) {
			isa += "_" + strings.TrimPrefix(facts["oneDNN_isa"], "avx512_core_")
		}
	}
	if err := os.WriteFile("native/"+name+isa+".h", convTable(isa, element, kernels, rates), 0o666); err != nil {
		b.Fatal(err)
	}
}

// convClasses are the rows of a table; the longest take some tenths of a second. In bf16 the largest tensors exceed the caches of
// a core, which slows some kernels more than others.
func convClasses(element graph.ElementType) (out []convClass) {
	most, mostElements := int64(1024), int64(65536)
	if element == graph.TypeBF16 {
		most, mostElements = 4096, 131072
	}
	for _, kind := range convKinds {
		for _, channels := range []int64{16, 32, 64, 128, 256, 512} {
			for tiles := int64(4); tiles <= most && tiles*channels <= mostElements; tiles *= 4 {
				out = append(out, convClass{kind, channels, tiles})
			}
		}
	}
	return out
}

// family is the convolution of a class on images of 8x8, four tiles.
func (c convClass) family() family {
	return family{c.kind.String(), func(b *builder, shape ...int64) {
		x, dy := b.Input("x", shape, b.element), b.Input("dy", shape, b.element)
		b.Conv(x, b.Input("w", graph.Shape{c.channels, 3, 3, c.channels}, b.element), nil, graph.ConvOptions{Padding: 1})
		switch c.kind {
		case graph.KindConvBackwardData:
			b.ConvBackwardData(b.Ops()[0], dy)
		case graph.KindConvBackwardWeights:
			b.ConvBackwardWeights(b.Ops()[0], dy)
		}
	}, 0}
}

// convTable is the text of the header.
func convTable(isa string, element graph.ElementType, kernels []string, rates map[convClass]map[string]float64) []byte {
	var s strings.Builder
	s.WriteString("// clang-format off\n" +
		"// GFLOP/s of a direct 3x3 convolution of stride 1 in " + element.String() + ", by kernel, on one thread;\n" +
		"// written by BenchmarkConv -update on " + processor(isa) + ".\n" +
		"// kind, channels, tiles of 4x4 outputs, {" + strings.ReplaceAll(strings.Join(kernels, ", "), "winograd ", "") + "}\n")
	classes := slices.SortedFunc(maps.Keys(rates), func(x, y convClass) int {
		return slices.Compare([]int64{int64(x.kind), x.channels, x.tiles}, []int64{int64(y.kind), y.channels, y.tiles})
	})
	for _, c := range classes {
		fmt.Fprintf(&s, "{kind_%s, %d, %d, {", c.kind, c.channels, c.tiles)
		for i, kernel := range kernels {
			if i > 0 {
				s.WriteString(", ")
			}
			fmt.Fprintf(&s, "%.0f", rates[c][kernel]/1e9)
		}
		s.WriteString("}},\n")
	}
	return []byte(s.String())
}

// processor names the machine and the instruction set.
func processor(isa string) string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(text), "model name")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Trim(line, "\t :") + ", " + isa
}

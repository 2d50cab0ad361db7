package engine_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
)

// BenchmarkStridedConv runs the forward pass of 3x3 convolutions of stride 2 that double the channels, by oneDNN and by our
// direct kernel, on one thread: GFLOP/s by processor time. With -update it writes the tables by which native/choice.cc chooses:
//
//	go test ./core/engine -run NONE -bench '^BenchmarkStridedConv$' -benchtime 2x -count 3 -update
//	ONEDNN_MAX_CPU_ISA=AVX2 go test ./core/engine -run NONE -bench '^BenchmarkStridedConv$' -benchtime 2x -count 3 -update
//
// Tensors are larger than the caches, as those of a step are: results of 32 MiB from 64. With -count the best of several runs
// counts.
func BenchmarkStridedConv(b *testing.B) {
	kernels := [2]string{"oneDNN", stridedKernel}
	type class struct{ channels, side int64 }
	var table strings.Builder
	var isa string
	for _, c := range []class{{16, 4}, {16, 8}, {16, 16}, {32, 4}, {32, 8}, {32, 28}, {64, 4}, {64, 8}, {64, 16}, {64, 28}, {64, 56},
		{128, 4}, {128, 7}, {128, 14}, {128, 28}, {256, 2}, {256, 7}, {256, 14}} {
		f := family{"conv", func(b *builder, s ...int64) {
			w := b.Input("w", graph.Shape{2 * c.channels, 3, 3, c.channels}, b.element)
			b.Conv(b.Input("x", s, b.element), w, nil, graph.ConvOptions{Padding: 1, Stride: 2})
		}, 0}
		images := max(1, 1<<23/(c.side*c.side*2*c.channels))
		for i, kernel := range kernels {
			d := enginetest.Open(b, "cpu", engine.Options{Threads: 1, PlanBook: kernel})
			isa = d.Facts()["isa"]
			b.Run(fmt.Sprintf("%d_channels/%d/%s", c.channels, c.side, kernel), func(b *testing.B) {
				key := stridedClass{c.channels, c.side, i}
				stridedBest[key] = max(stridedBest[key], f.run(b, d, graph.TypeF32, []int64{images, 2 * c.side, 2 * c.side, c.channels}))
			})
		}
		fmt.Fprintf(&table, "{%d, %d, %.0f, %.0f},\n", c.channels, c.side, stridedBest[stridedClass{c.channels, c.side, 0}]/1e9,
			stridedBest[stridedClass{c.channels, c.side, 1}]/1e9)
	}
	if !*update {
		return
	}
	isa = strings.TrimSuffix(isa, "f")
	text := "// clang-format off\n// GFLOP/s of the forward pass of 3x3 convolutions of stride 2 in f32, on one thread;\n" +
		"// written by BenchmarkStridedConv -update on " + processor(isa) + ".\n// channels in, results in a row, oneDNN, direct\n" +
		table.String()
	if err := os.WriteFile("native/rates_strided_"+isa+".h", []byte(text), 0o666); err != nil {
		b.Fatal(err)
	}
}

// stridedClass is one rate of the table: of oneDNN (0) or of the direct kernel (1).
type stridedClass struct {
	channels, side int64
	kernel         int
}

// stridedBest are the best rates of the runs so far.
var stridedBest = map[stridedClass]float64{}

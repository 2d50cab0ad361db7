package optest

import (
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// LargeCases returns cases on tensors so large that a block of a kernel for a GPU takes more than one of the pieces that
// the kernel divides them into, as it does in every step of a benchmark. No other case does. They take seconds, so
// Cases does not have them.
func LargeCases() []Case {
	// 100 images of 32x32 elements are 400 tiles of 256, and 396 blocks run at once (mma_conv.cu).
	tiles := convolution{"16 channels, 3x3, more tiles than blocks", 100, 32, 32, 16, 16, 3, 3, 1, 1, 1, false, 1}
	// 280 images of one column are as many tiles, and 264 blocks run at once (mma_conv.cu, mma_backward.cu).
	columns := convolution{"32 channels, 3x3, rows of one, more tiles than blocks", 280, 32, 1, 32, 32, 3, 3, 1, 1, 1, false, 1}
	convolution := slices.Concat(convolutionCases([]convolution{tiles}), casesOfStatistics([]convolution{tiles, columns}),
		casesOfPrologues([]prologue{{tiles, graph.ActivationReLU}, {columns, graph.ActivationReLU}}))
	narrow := append(slices.Clone(convolution), casesOfCombinations([]combined{
		{convolution: tiles, activation: graph.ActivationReLU, input: new(graph.ActivationReLU), sums: true},
		{convolution: columns, activation: graph.ActivationNone}})...)
	for i := range narrow {
		narrow[i].Element, narrow[i].Name = graph.TypeBF16, narrow[i].Name+", bf16"
	}
	shape := []int64{132*32*256 + 300} // 132*32 blocks of 256 threads (gpu.h)
	elementwise := Case{Name: "more elements than threads", Kind: graph.KindAdd, build: func(p *program) {
		p.Add(p.input("x", normal(0, 1), shape...), p.input("y", normal(0, 1), shape...))
	}}
	// One row of pairs for each of 512 blocks (similarity.cu).
	return slices.Concat(convolution, narrow, []Case{elementwise}, pairCasesOf([]pairing{{530, 6, 4}}))
}

// StripCases returns convolutions with work of normalisations on tensors of which the cpu's kernels compute more than one strip
// of rows (core/engine/native/strips.cc): strips that end within an image and at its end, of several images, and fewer than
// threads. Cases does not have them, because they take long.
func StripCases() []Case {
	shapes := []convolution{
		{"32 channels, 3x3, strips within an image", 2, 37, 33, 32, 32, 3, 3, 1, 1, 1, false, 1},
		{"32 channels, 3x3, fewer strips than threads", 1, 8, 33, 32, 32, 3, 3, 1, 1, 1, false, 1},
		{"16 to 48 channels, 3x3, several images in a strip", 90, 5, 9, 16, 48, 3, 3, 1, 1, 1, false, 1},
		{"64 to 32 channels, 1x1, strips within an image", 3, 25, 19, 64, 32, 1, 1, 1, 0, 1, false, 1},
		{"two groups of 16 channels, 3x3, strips within an image", 4, 41, 31, 32, 32, 3, 3, 1, 1, 2, false, 1},
		{"32 to 64 channels, 3x3 with stride 2, strips within an image", 3, 50, 16, 32, 64, 3, 3, 2, 1, 1, false, 1},
		{"depthwise, 48 channels, 3x3, strips within an image", 3, 37, 21, 48, 48, 3, 3, 1, 1, 48, false, 1},
		{"depthwise, 32 channels, 5x5, strips within an image", 3, 31, 29, 32, 32, 5, 5, 1, 2, 32, false, 1},
		{"depthwise, 32 channels, 7x7, strips within an image", 3, 44, 30, 32, 32, 7, 7, 1, 3, 32, false, 1},
		{"depthwise, 32 channels, 5x5, several images in a strip", 60, 3, 7, 32, 32, 5, 5, 1, 2, 32, false, 1},
		{"depthwise, 32 channels, 3x3 with stride 2, strips within an image", 3, 50, 32, 32, 32, 3, 3, 2, 1, 32, false, 1},
		{"depthwise, 32 channels, 5x5 with stride 2, strips within an image", 3, 42, 34, 32, 32, 5, 5, 2, 2, 32, false, 1},
	}
	var out []Case
	for _, s := range shapes {
		in := prologue{s, graph.ActivationReLU}
		out = append(out, casesOfPrologues([]prologue{in})...)
		out = append(out, Case{Name: in.String() + ", statistics", Kind: graph.KindConv, build: func(p *program) {
			in.forward(p)
			in.statistics(p)
		}})
		out = append(out, casesOfCombinations([]combined{{convolution: s, activation: graph.ActivationNone},
			{convolution: s, activation: graph.ActivationReLU, input: new(graph.ActivationReLU), sums: true}})...)
	}
	return append(out, narrowed(out)...)
}

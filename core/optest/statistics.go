package optest

import (
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// statisticShapes are those of the convolutions on which the statistics of the result are tested.
var statisticShapes = []string{
	"3 channels, 7x7 with stride 2", "3 channels to 10, 5x5, bias", "16 channels, 3x3", "16 channels, 3x3, a whole image",
	"16 channels, 3x3, bias, images of another height than a tile", "32 channels, 3x3, many small images",
	"16 to 32 channels, 3x3", "32 to 16 channels, 3x3, rows of one", "64 channels, 3x3", "17 to 33 channels, 1x1",
	"32 to 64 channels, stride 2, odd sides", "depthwise, 10 channels, stride 2", "3x3, dilation 2, padding 2",
}

// statisticCases are convolutions that compute the statistics of their result, one of them with a normalised input.
func statisticCases() []Case {
	shapes := slices.DeleteFunc(slices.Clone(convolutions),
		func(s convolution) bool { return !slices.Contains(statisticShapes, s.name) })
	shapes = append(shapes, convolution{"16 to 32 channels, 3x3, no bias", 3, 11, 9, 16, 32, 3, 3, 1, 1, 1, false, 1})
	out := casesOfStatistics(shapes)
	both := prologue{shapes[len(shapes)-1], graph.ActivationReLU}
	return append(out, Case{Name: both.String() + ", statistics", Kind: graph.KindConv, build: func(p *program) {
		both.forward(p)
		both.statistics(p)
	}})
}

func casesOfStatistics(shapes []convolution) (out []Case) {
	for _, s := range shapes {
		out = append(out, Case{Name: s.name + ", statistics", Kind: graph.KindConv, build: func(p *program) {
			s.forward(p)
			s.statistics(p)
		}})
	}
	return out
}

// statistics has the last op, the convolution, compute the statistics of its result, as the pass does.
func (s convolution) statistics(p *program) {
	conv := p.last()
	mean, variance := p.buffer("running_mean", normal(0, 1), s.o), p.buffer("running_variance", uniform(0.5, 2), s.o)
	p.NormStats(conv.Results[0], mean, variance, 0.1)
	stats := p.last()
	copy(conv.Operands[graph.ConvRunning:], stats.Operands[1:])
	conv.Attr.Momentum, conv.Results = stats.Attr.Momentum, append(conv.Results, stats.Results...)
	p.Rewrite(0, func(ops []*graph.Op) []*graph.Op { return ops[:len(ops)-1] })
}

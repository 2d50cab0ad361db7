package optest

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/rng"
)

// pooling is the shapes of one pooling op on x [n h w c].
type pooling struct {
	name       string
	n, h, w, c int64
	options    graph.PoolOptions
}

func poolings() []pooling {
	pool := func(name string, n, h, w, c, kernel, stride, padding int64, ceil bool) pooling {
		return pooling{name, n, h, w, c, graph.PoolOptions{
			Kernel: [2]int64{kernel, kernel}, Stride: [2]int64{stride, stride}, Padding: [2]int64{padding, padding}, CeilSize: ceil,
		}}
	}
	return []pooling{
		pool("one element", 1, 1, 1, 1, 1, 1, 0, false),
		pool("2x2", 3, 8, 6, 16, 2, 2, 0, false),
		pool("2x2, odd sides: the last row and column are not seen", 2, 7, 9, 10, 2, 2, 0, false),
		pool("2x2, odd sides, ceil", 2, 7, 9, 10, 2, 2, 0, true),
		pool("3x3 with stride 2, padding 1", 1, 9, 12, 64, 3, 2, 1, false),
		pool("3x3 with stride 2, ceil: a window hangs over", 3, 8, 10, 3, 3, 2, 0, true),
		pool("3x3 with stride 2, padding 1, ceil: a window hangs over the padding too", 2, 8, 6, 17, 3, 2, 1, true),
		pool("2x2 with stride 3, padding 1, ceil: a window that would begin in the padding is dropped", 1, 6, 9, 10, 2, 3, 1, true),
		pool("3x3 with stride 1, padding 1: windows overlap", 2, 5, 7, 33, 3, 1, 1, false),
		pool("5x5 with stride 3, padding 2", 1, 11, 13, 10, 5, 3, 2, false),
		pool("3x3 with stride 4: gaps", 2, 11, 8, 16, 3, 4, 0, false),
		pool("1x1 with stride 2", 5, 5, 4, 3, 1, 2, 0, false),
		pool("2x2, 12 channels", 3, 6, 8, 12, 2, 2, 0, false),
		pool("3x3 with stride 2, a whole image", 4, 32, 32, 16, 3, 2, 1, false),
		{"2x3 with strides 1 and 2, padding 0 and 1", 3, 6, 9, 10, graph.PoolOptions{
			Kernel: [2]int64{2, 3}, Stride: [2]int64{1, 2}, Padding: [2]int64{0, 1}}},
		{"the whole input", 5, 4, 7, 17, graph.PoolOptions{Kernel: [2]int64{4, 7}}},
		{"255 places", 1, 16, 18, 3, graph.PoolOptions{Kernel: [2]int64{15, 17}, Stride: [2]int64{1, 1}}},
	}
}

func poolCases() []Case {
	out := []Case{
		{Name: "ties: the first of equal elements is the place", Kind: graph.KindMaxPool, build: func(p *program) {
			p.MaxPool(p.input("x", whole(3), 3, 9, 8, 17), graph.PoolOptions{Kernel: [2]int64{3, 3}, Stride: [2]int64{2, 2},
				Padding: [2]int64{1, 1}})
		}},
		{Name: "all elements negative: padding never wins", Kind: graph.KindMaxPool, build: func(p *program) {
			p.MaxPool(p.input("x", distinct(-100), 2, 5, 6, 10), graph.PoolOptions{Kernel: [2]int64{3, 3}, Stride: [2]int64{2, 2},
				Padding: [2]int64{1, 1}})
		}},
	}
	for _, s := range poolings() {
		out = append(out,
			Case{Name: s.name, Kind: graph.KindMaxPool, build: func(p *program) {
				p.MaxPool(p.input("x", distinct(0), s.n, s.h, s.w, s.c), s.options)
			}},
			Case{Name: s.name, Kind: graph.KindMaxPoolBackward, build: s.maxBackward})
		for _, counted := range []bool{false, true} {
			s := s
			if s.options.CountPadding = counted; counted {
				s.name += ", padding counted"
			}
			out = append(out,
				Case{Name: s.name, Kind: graph.KindAveragePool, build: func(p *program) {
					p.AveragePool(p.input("x", normal(0.5, 1), s.n, s.h, s.w, s.c), s.options)
				}},
				Case{Name: s.name, Kind: graph.KindAveragePoolBackward, build: s.averageBackward})
		}
	}
	return append(out, adaptiveCases()...)
}

func adaptiveCases() []Case {
	var out []Case
	for _, s := range []struct {
		name                      string
		n, h, w, c, height, width int64
	}{
		{"global", 3, 8, 8, 64, 1, 1},
		{"global, odd sides", 2, 7, 9, 17, 1, 1},
		{"global, one pixel", 5, 1, 1, 10, 1, 1},
		{"even cut", 2, 8, 6, 16, 2, 2},
		{"windows overlap", 1, 7, 5, 10, 3, 2},
		{"as large as the input", 2, 5, 6, 3, 5, 6},
		{"larger than the input", 1, 3, 2, 10, 4, 7},
		{"smaller one way, larger the other", 3, 9, 2, 33, 4, 3},
	} {
		name := fmt.Sprintf("%s: %dx%d to %dx%d", s.name, s.h, s.w, s.height, s.width)
		out = append(out,
			Case{Name: name, Kind: graph.KindAdaptiveAveragePool, build: func(p *program) {
				p.AdaptiveAveragePool(p.input("x", normal(0.5, 1), s.n, s.h, s.w, s.c), s.height, s.width)
			}},
			Case{Name: name, Kind: graph.KindAdaptiveAveragePoolBackward, build: func(p *program) {
				p.AveragePoolBackward(&graph.Op{
					Kind:     graph.KindAdaptiveAveragePool,
					Operands: []*graph.Value{{Shape: graph.Shape{s.n, s.h, s.w, s.c}}},
					Attr:     graph.Attributes{Output: [2]int64{s.height, s.width}},
				}, p.input("dy", normal(0, 1), s.n, s.height, s.width, s.c))
			}})
	}
	return out
}

// made returns the forward op of another program: its shapes and constants are
// what the backward builders read.
func (s pooling) made(kind graph.Kind) *graph.Op {
	p := newProgram()
	x := p.input("x", nil, s.n, s.h, s.w, s.c)
	if kind == graph.KindMaxPool {
		p.MaxPool(x, s.options)
	} else {
		p.AveragePool(x, s.options)
	}
	return p.last()
}

func (s pooling) averageBackward(p *program) {
	forward := s.made(graph.KindAveragePool)
	p.AveragePoolBackward(forward, p.input("dy", normal(0, 1), forward.Results[0].Shape...))
}

func (s pooling) maxBackward(p *program) {
	forward := s.made(graph.KindMaxPool)
	y := forward.Results[0].Shape
	dy := p.input("dy", normal(0, 1), y...)
	forward.Results[1] = p.typed("index", graph.TypeU8, s.places(y), y...)
	p.MaxPoolBackward(forward, dy)
}

// places gives for each element of the result y a random place of its window
// that lies in the input.
func (s pooling) places(y graph.Shape) fill {
	stride := s.options.Stride
	for i := range 2 {
		if stride[i] == 0 {
			stride[i] = s.options.Kernel[i]
		}
	}
	within := func(random float64, direction int, output, size int64) int64 {
		begin := output*stride[direction] - s.options.Padding[direction]
		low, high := max(0, -begin), min(s.options.Kernel[direction], size-begin)
		return low + int64(random*float64(high-low))
	}
	return each(func(stream rng.Stream, i uint64) float64 {
		pixel := int64(i) / y[3]
		row := within(stream.Uniform(2*i), 0, pixel/y[2]%y[1], s.h)
		column := within(stream.Uniform(2*i+1), 1, pixel%y[2], s.w)
		return float64(row*s.options.Kernel[1] + column)
	})
}

package engine_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
)

// family is one op, with the bytes that its kernel moves where these are more
// than the op's operands and results.
type family struct {
	name   string
	build  func(b *graph.Builder, shape ...int64)
	passes float64 // tensors of the input's size that are read or written; 0: conv or linear, counted in FLOPs
}

// BenchmarkOp runs one op of each family on the shapes of ResNet-32 at batch
// 128, on one thread. GB/s and GFLOP/s are by processor time, which a busy
// machine disturbs less than the clock.
func BenchmarkOp(b *testing.B) {
	d := openDevice(b, "cpu", 1)
	for _, f := range families() {
		for _, shape := range [][]int64{{128, 32, 32, 16}, {128, 16, 16, 32}, {128, 8, 8, 64}} {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", f.name, shape[1], shape[2], shape[3]), func(b *testing.B) { f.run(b, d, shape) })
		}
	}
}

func families() []family {
	channels := func(b *graph.Builder, c int64, names ...string) (out []*graph.Value) {
		for _, n := range names {
			out = append(out, b.Parameter(n, graph.Shape{c}, graph.Weight{}))
		}
		return out
	}
	tensor := func(b *graph.Builder, name string, shape []int64) *graph.Value {
		return b.Input(name, shape, graph.TypeF32)
	}
	apply := func(b *graph.Builder, shape []int64, relu, residual bool) *graph.Op {
		v := channels(b, shape[3], "mean", "variance", "gamma", "beta")
		b.NormApply(tensor(b, "x", shape), v[0], v[1], v[2], v[3], 1e-5)
		op := b.Ops()[len(b.Ops())-1]
		if op.Attr.ReLU = relu; residual {
			op.Operands[5] = tensor(b, "residual", shape)
		}
		return op
	}
	backward := func(b *graph.Builder, shape []int64, residual bool) {
		op := apply(b, shape, true, residual)
		b.NormBackward(op, tensor(b, "dy", shape))
	}
	conv := func(b *graph.Builder, shape []int64) *graph.Op {
		w := b.Parameter("weight", graph.Shape{shape[3], 3, 3, shape[3]}, graph.Weight{})
		b.Conv(tensor(b, "x", shape), w, nil, graph.ConvOptions{Padding: 1})
		return b.Ops()[len(b.Ops())-1]
	}
	window := graph.PoolOptions{Kernel: [2]int64{3, 3}, Stride: [2]int64{2, 2}, Padding: [2]int64{1, 1}}
	return []family{
		{"conv", func(b *graph.Builder, s ...int64) { conv(b, s) }, 0},
		{"conv_backward_data", func(b *graph.Builder, s ...int64) { b.ConvBackwardData(conv(b, s), tensor(b, "dy", s)) }, 0},
		{"conv_backward_weights", func(b *graph.Builder, s ...int64) { b.ConvBackwardWeights(conv(b, s), tensor(b, "dy", s)) }, 0},
		{"norm_stats", func(b *graph.Builder, s ...int64) { b.NormStats(tensor(b, "x", s), nil, nil, 0.1) }, 1},
		{"norm_apply", func(b *graph.Builder, s ...int64) { apply(b, s, true, false) }, 2},
		{"norm_apply_residual", func(b *graph.Builder, s ...int64) { apply(b, s, true, true) }, 3},
		{"norm_backward", func(b *graph.Builder, s ...int64) { backward(b, s, false) }, 5},
		{"norm_backward_residual", func(b *graph.Builder, s ...int64) { backward(b, s, true) }, 7},
		{"relu", func(b *graph.Builder, s ...int64) { b.ReLU(tensor(b, "x", s)) }, 2},
		{"add", func(b *graph.Builder, s ...int64) { b.Add(tensor(b, "x", s), tensor(b, "y", s)) }, 3},
		{"max_pool", func(b *graph.Builder, s ...int64) { b.MaxPool(tensor(b, "x", s), window) }, 1.3125},
		{"max_pool_backward", func(b *graph.Builder, s ...int64) {
			b.MaxPool(tensor(b, "x", s), window)
			b.MaxPoolBackward(b.Ops()[0], tensor(b, "dy", []int64{s[0], s[1] / 2, s[2] / 2, s[3]}))
		}, 1.3125},
		{"average_pool", func(b *graph.Builder, s ...int64) { b.AdaptiveAveragePool(tensor(b, "x", s), 1, 1) }, 1},
		{"average_pool_backward", func(b *graph.Builder, s ...int64) {
			b.AdaptiveAveragePool(tensor(b, "x", s), 1, 1)
			b.AveragePoolBackward(b.Ops()[0], tensor(b, "dy", []int64{s[0], 1, 1, s[3]}))
		}, 1},
		{"sgd", func(b *graph.Builder, s ...int64) {
			w := b.Parameter("w", s, graph.Weight{})
			b.SGD(w, tensor(b, "g", s), b.Momentum(w), b.Input("lr", graph.Shape{1}, graph.TypeF32), graph.SGDOptions{Momentum: 0.9})
		}, 5},
	}
}

// run times the last op of the program.
func (f family) run(b *testing.B, d engine.Device, shape []int64) {
	builder := graph.NewBuilder(true)
	f.build(builder, shape...)
	g, err := builder.Graph()
	if err != nil {
		b.Fatal(err)
	}
	last := len(g.Ops)
	g.Outputs = append(g.Outputs, g.Ops[last-1].Results...)
	p := bind(b, d, g)
	for _, v := range g.Values {
		content := make([]float64, v.Shape.Elements())
		for i := range content {
			content[i] = 0.5 + float64(uint32(i)*2654435761>>20)/4096
		}
		write(b, p, v, content)
	}
	if err := p.Run(last-1, last); err != nil {
		b.Fatal(err)
	}
	before := processorSeconds(b)
	for b.Loop() {
		if err := p.Run(last-1, last); err != nil {
			b.Fatal(err)
		}
	}
	seconds := (processorSeconds(b) - before) / float64(b.N)
	op := g.Ops[last-1]
	if f.passes == 0 {
		b.ReportMetric(float64(op.FLOPs())/seconds/1e9, "GFLOP/s")
		return
	}
	b.ReportMetric(f.passes*4*float64(graph.Shape(shape).Elements())/seconds/1e9, "GB/s")
}

// processorSeconds is the time that this process has computed.
func processorSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

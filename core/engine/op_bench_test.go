package engine_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
)

// family is one op, with the bytes that its kernel moves where these are more
// than the op's operands and results. build declares its tensors in an element type.
type family struct {
	name   string
	build  func(b *builder, shape ...int64)
	passes float64 // tensors of the input's size that are read or written; 0: conv or linear, counted in FLOPs
}

// builder declares tensors in one element type.
type builder struct {
	*graph.Builder
	element graph.ElementType
}

// BenchmarkOp runs one op of each family on the shapes of ResNet-32 at batch
// 128, on one thread. GB/s and GFLOP/s are by processor time, which a busy
// machine disturbs less than the clock. On a GPU the batch is 1024, the time is the device's own,
// and convolutions are measured as cuDNN's and as our own.
func BenchmarkOp(b *testing.B) {
	type setting struct {
		name    string
		options engine.Options
		element graph.ElementType
	}
	backend, batch := enginetest.Backends()[0], int64(128)
	settings := []setting{{"", engine.Options{Threads: 1}, graph.TypeF32}, {"bf16/", engine.Options{Threads: 1}, graph.TypeBF16}}
	if backend == "cuda" {
		if batch = 1024; testing.Short() { // to try the benchmark on the stand-in
			batch = 1
		}
		settings = []setting{
			{"tf32/", engine.Options{TF32: true}, graph.TypeF32},
			{"tf32, own kernels/", engine.Options{TF32: true, Own: true}, graph.TypeF32},
			{"bf16/", engine.Options{}, graph.TypeBF16}, {"bf16, own kernels/", engine.Options{Own: true}, graph.TypeBF16},
		}
	}
	for _, s := range settings {
		d := enginetest.Open(b, backend, s.options)
		for _, f := range families(s.element) {
			for _, shape := range [][]int64{{batch, 32, 32, 16}, {batch, 16, 16, 32}, {batch, 8, 8, 64}} {
				if s.options.Own && (f.passes > 0 || shape[3] > 32) {
					continue // what was measured before
				}
				b.Run(fmt.Sprintf("%s%s/%dx%dx%d", s.name, f.name, shape[1], shape[2], shape[3]),
					func(b *testing.B) { f.run(b, d, s.element, shape) })
			}
		}
	}
}

func families(element graph.ElementType) []family {
	channels := func(b *builder, c int64, names ...string) (out []*graph.Value) {
		for _, n := range names {
			out = append(out, b.Parameter(n, graph.Shape{c}, graph.Weight{}))
		}
		return out
	}
	tensor := func(b *builder, name string, shape []int64) *graph.Value {
		return b.Input(name, shape, b.element)
	}
	apply := func(b *builder, shape []int64, a graph.Activation, residual bool) *graph.Op {
		v := channels(b, shape[3], "mean", "variance", "gamma", "beta")
		b.NormApply(tensor(b, "x", shape), v[0], v[1], v[2], v[3], 1e-5)
		op := b.Ops()[len(b.Ops())-1]
		op.Attr.Activation = a
		if residual {
			op.Operands[5] = tensor(b, "residual", shape)
		}
		return op
	}
	backward := func(b *builder, shape []int64, a graph.Activation, residual bool) {
		op := apply(b, shape, a, residual)
		b.NormBackward(op, tensor(b, "dy", shape))
	}
	conv := func(b *builder, shape []int64) *graph.Op {
		w := tensor(b, "weight", []int64{shape[3], 3, 3, shape[3]})
		b.Conv(tensor(b, "x", shape), w, nil, graph.ConvOptions{Padding: 1})
		return b.Ops()[len(b.Ops())-1]
	}
	depthwise := func(b *builder, shape []int64) *graph.Op {
		w := tensor(b, "weight", []int64{shape[3], 3, 3, 1})
		b.Conv(tensor(b, "x", shape), w, nil, graph.ConvOptions{Padding: 1, Groups: shape[3]})
		return b.Ops()[len(b.Ops())-1]
	}
	gate := func(b *builder, s []int64) *graph.Op {
		b.Gate(tensor(b, "x", s), tensor(b, "z", []int64{s[0], 1, 1, s[3]}), graph.ActivationSigmoid)
		return b.Ops()[0]
	}
	upsample := func(b *builder, s []int64) *graph.Op {
		b.Upsample(tensor(b, "x", s), 2*s[1], 2*s[2])
		return b.Ops()[0]
	}
	quantized := func(b *builder, s []int64, bits int64) (packed, ranges *graph.Value) {
		return b.Quantize(tensor(b, "x", s), b.Input("stream", graph.Shape{3}, graph.TypeS32), bits)
	}
	reconstruction := func(b *builder, s []int64) *graph.Op {
		b.BinaryCrossEntropy(tensor(b, "z", s), b.Input("images", s, graph.TypeU8))
		return b.Ops()[0]
	}
	window := graph.PoolOptions{Kernel: [2]int64{3, 3}, Stride: [2]int64{2, 2}, Padding: [2]int64{1, 1}}
	all := []family{
		{"conv", func(b *builder, s ...int64) { conv(b, s) }, 0},
		{"conv_backward_data", func(b *builder, s ...int64) { b.ConvBackwardData(conv(b, s), tensor(b, "dy", s)) }, 0},
		{"conv_backward_weights", func(b *builder, s ...int64) { b.ConvBackwardWeights(conv(b, s), tensor(b, "dy", s)) }, 0},
		{"depthwise", func(b *builder, s ...int64) { depthwise(b, s) }, 0},
		{"depthwise_backward_data", func(b *builder, s ...int64) { b.ConvBackwardData(depthwise(b, s), tensor(b, "dy", s)) }, 0},
		{"depthwise_backward_weights", func(b *builder, s ...int64) { b.ConvBackwardWeights(depthwise(b, s), tensor(b, "dy", s)) }, 0},
		{"norm_stats", func(b *builder, s ...int64) { b.NormStats(tensor(b, "x", s), nil, nil, 0.1) }, 1},
		{"norm_apply", func(b *builder, s ...int64) { apply(b, s, graph.ActivationReLU, false) }, 2},
		{"norm_apply_silu", func(b *builder, s ...int64) { apply(b, s, graph.ActivationSiLU, false) }, 2},
		{"norm_apply_residual", func(b *builder, s ...int64) { apply(b, s, graph.ActivationReLU, true) }, 3},
		{"norm_backward", func(b *builder, s ...int64) { backward(b, s, graph.ActivationReLU, false) }, 5},
		{"norm_backward_silu", func(b *builder, s ...int64) { backward(b, s, graph.ActivationSiLU, false) }, 5},
		{"norm_backward_residual", func(b *builder, s ...int64) { backward(b, s, graph.ActivationReLU, true) }, 7},
		{"relu", func(b *builder, s ...int64) { b.ReLU(tensor(b, "x", s)) }, 2},
		{"add", func(b *builder, s ...int64) { b.Add(tensor(b, "x", s), tensor(b, "y", s)) }, 3},
		{"dropout", func(b *builder, s ...int64) {
			b.Dropout(tensor(b, "x", s), b.Input("stream", graph.Shape{3}, graph.TypeS32), graph.DropoutOptions{Rate: 0.5})
		}, 2},
		{"dropout_samples", func(b *builder, s ...int64) {
			b.Dropout(tensor(b, "x", s), b.Input("stream", graph.Shape{3}, graph.TypeS32), graph.DropoutOptions{Rate: 0.5, Rows: true})
		}, 2},
		{"quantize", func(b *builder, s ...int64) { quantized(b, s, 8) }, 1.25},
		{"quantize_4_bits", func(b *builder, s ...int64) { quantized(b, s, 4) }, 1.125},
		{"quantize_mask", func(b *builder, s ...int64) { b.QuantizeMask(tensor(b, "x", s), graph.ActivationReLU) }, 1.03},
		{"dequantize", func(b *builder, s ...int64) {
			packed, ranges := quantized(b, s, 8)
			b.Dequantize(packed, ranges, 8, s, b.element)
		}, 1.25},
		{"dequantize_4_bits", func(b *builder, s ...int64) {
			packed, ranges := quantized(b, s, 4)
			b.Dequantize(packed, ranges, 4, s, b.element)
		}, 1.125},
		{"dequantize_mask", func(b *builder, s ...int64) {
			b.Dequantize(b.QuantizeMask(tensor(b, "x", s), graph.ActivationReLU), nil, 1, s, b.element)
		}, 1.03},
		{"max_pool", func(b *builder, s ...int64) { b.MaxPool(tensor(b, "x", s), window) }, 1.3125},
		{"max_pool_backward", func(b *builder, s ...int64) {
			b.MaxPool(tensor(b, "x", s), window)
			b.MaxPoolBackward(b.Ops()[0], tensor(b, "dy", []int64{s[0], s[1] / 2, s[2] / 2, s[3]}))
		}, 1.3125},
		{"average_pool", func(b *builder, s ...int64) { b.AdaptiveAveragePool(tensor(b, "x", s), 1, 1) }, 1},
		{"average_pool_backward", func(b *builder, s ...int64) {
			b.AdaptiveAveragePool(tensor(b, "x", s), 1, 1)
			b.AveragePoolBackward(b.Ops()[0], tensor(b, "dy", []int64{s[0], 1, 1, s[3]}))
		}, 1},
		{"silu", func(b *builder, s ...int64) { b.SiLU(tensor(b, "x", s)) }, 2},
		{"gate", func(b *builder, s ...int64) { gate(b, s) }, 2},
		{"gate_backward", func(b *builder, s ...int64) { b.GateBackward(gate(b, s), tensor(b, "dy", s)) }, 3},
		{"upsample", func(b *builder, s ...int64) { upsample(b, s) }, 5},
		{"upsample_backward", func(b *builder, s ...int64) {
			b.UpsampleBackward(upsample(b, s), tensor(b, "dy", []int64{s[0], 2 * s[1], 2 * s[2], s[3]}))
		}, 5},
	}
	if element != graph.TypeF32 {
		return all
	}
	return append(all, // losses and updates are of f32 alone
		family{"binary_cross_entropy", func(b *builder, s ...int64) { reconstruction(b, s) }, 1.25},
		family{"binary_cross_entropy_backward",
			func(b *builder, s ...int64) { b.BinaryCrossEntropyBackward(reconstruction(b, s), 1) }, 2.25},
		family{"sgd", func(b *builder, s ...int64) {
			w := b.Parameter("w", s, graph.Weight{})
			b.SGD(w, tensor(b, "g", s), b.Momentum(w), b.Input("lr", graph.Shape{1}, graph.TypeF32), graph.SGDOptions{Momentum: 0.9})
		}, 5})
}

// run times the last op of the program and returns its operations a second.
func (f family) run(b *testing.B, d engine.Device, element graph.ElementType, shape []int64) (rate float64) {
	builder := &builder{graph.NewBuilder(true), element}
	f.build(builder, shape...)
	g, err := builder.Graph()
	if err != nil {
		b.Fatal(err)
	}
	for _, op := range g.Ops {
		op.Attr.Element = element
		if err := op.Retype(); err != nil {
			b.Fatal(err)
		}
	}
	last := len(g.Ops)
	g.Outputs = append(g.Outputs, g.Ops[last-1].Results...)
	p := bind(b, d, g)
	for _, v := range g.Values {
		fillPattern(b, p, v)
	}
	if err := p.Run(last-1, last); err != nil {
		b.Fatal(err)
	}
	p.Trace(true)
	before := processorSeconds(b)
	for b.Loop() {
		if err := p.Run(last-1, last); err != nil {
			b.Fatal(err)
		}
	}
	op, seconds := g.Ops[last-1], processorSeconds(b)-before
	if d.Name() != "cpu" {
		seconds = p.Trace(true)[last-1]
		b.ReportMetric(seconds/float64(b.N)*1e6, "device-us/op")
	}
	seconds /= float64(b.N)
	bytes := f.passes * float64(graph.Shape(shape).Elements()*element.Bytes())
	if f.passes == 0 {
		b.ReportMetric(float64(op.FLOPs())/seconds/1e9, "GFLOP/s")
		bytes = float64(op.Bytes())
	}
	b.ReportMetric(bytes/seconds/1e9, "GB/s")
	return float64(op.FLOPs()) / seconds
}

// patterns are numbers from 0.5 to 1.5 in each element type: a benchmark of many ops fills tensors of many megabytes, and
// computes their contents once.
var patterns struct {
	f32    []float32
	bf16   []uint16
	s32    []int32
	octets []byte
}

// fillPattern writes numbers of no regularity to a value, all of them normal.
func fillPattern(b testing.TB, p engine.Program, v *graph.Value) {
	b.Helper()
	n := int(v.Shape.Elements())
	for i := len(patterns.f32); i < n; i++ {
		x := float32(0.5 + float64(uint32(i)*2654435761>>20)/4096)
		patterns.f32, patterns.bf16 = append(patterns.f32, x), append(patterns.bf16, graph.BF16(x))
		patterns.s32, patterns.octets = append(patterns.s32, int32(x)), append(patterns.octets, byte(x))
	}
	var err error
	switch v.Type {
	case graph.TypeF32:
		err = p.Write(v, patterns.f32[:n])
	case graph.TypeBF16:
		err = p.Write(v, patterns.bf16[:n])
	case graph.TypeS32:
		err = p.Write(v, patterns.s32[:n])
	default:
		err = p.Write(v, patterns.octets[:n])
	}
	if err != nil {
		b.Fatal(err)
	}
}

// processorSeconds is the time that this process has computed.
func processorSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

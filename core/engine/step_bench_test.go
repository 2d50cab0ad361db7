package engine_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

// trainingStep is a training step of a network by a method on small images, with an auxiliary depth of 2 where it has one, bound
// to an arena, with small values everywhere; in bf16 if mixed.
func trainingStep(b testing.TB, d engine.Device, method, network string, batch int64, store graph.StoreFormat,
	mixed bool) (*core.Program, func()) {
	b.Helper()
	n, err := networks.New(network, graph.Shape{32, 32, 3}, 10)
	if err != nil {
		b.Fatal(err)
	}
	m, err := methods.Find(method)
	if err != nil {
		b.Fatal(err)
	}
	options := methods.Options{}
	if method == "auglocal" {
		options.AuxDepth = 2
	}
	stages, err := m.Stages(n, options)
	if err != nil {
		b.Fatal(err)
	}
	step, err := core.TrainingStep(stages, core.StepOptions{
		Batch: batch, Image: n.Input, Mean: [4]float64{125, 123, 114}, Deviation: [4]float64{63, 62, 67}, Mixed: mixed,
		Optimizer: graph.SGDOptions{Momentum: 0.9, WeightDecay: 1e-4, Nesterov: true}, Store: store,
	})
	if err != nil {
		b.Fatal(err)
	}
	p, err := core.Compile(d, step, nil)
	if err != nil {
		b.Fatal(err)
	}
	arena, err := core.Arena(d, p)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, p, func(v *graph.Value) bool { return v.Category.Persistent() })
	return p, func() { p.Close(); arena.Close() }
}

// fill writes the starting content of the values that are wanted.
func fill(b testing.TB, p *core.Program, wanted func(*graph.Value) bool) {
	b.Helper()
	for _, v := range p.Graph.Values {
		if !wanted(v) {
			continue
		}
		content := make([]float64, v.Shape.Elements())
		for i := range content {
			content[i] = starting(v, i)
		}
		write(b, p, v, content)
	}
}

// isInput tells what has to be written before every run.
func isInput(v *graph.Value) bool { return v.Category == graph.CategoryInput }

// starting is a value that keeps a network alive for some steps.
func starting(v *graph.Value, i int) float64 {
	noise := float64(uint32(i)*2654435761>>20) / 4096
	switch {
	case v.Type == graph.TypeU8:
		return float64(int(noise * 255))
	case v.Type == graph.TypeS32:
		return float64(i % 10)
	case v.Category == graph.CategoryInput:
		return 1e-3 // the learning rate
	case len(v.Shape) == 1:
		return 1
	case v.Category == graph.CategoryOptimizer:
		return 0
	}
	return (noise - 0.5) * 0.2
}

// BenchmarkStep runs a whole training step of ResNet-32 at batch 128, in f32 and in bf16, and reports
// where its time goes, by kind of op.
func BenchmarkStep(b *testing.B) {
	for _, method := range []string{"bp", "auglocal"} {
		for _, threads := range []int{1, 2} {
			for _, precision := range []graph.ElementType{graph.TypeF32, graph.TypeBF16} {
				b.Run(fmt.Sprintf("%s/threads=%d/%s", method, threads, precision), func(b *testing.B) {
					d := openDevice(b, "cpu", threads)
					p, done := trainingStep(b, d, method, "resnet32", 128, graph.StoreF32, precision == graph.TypeBF16)
					defer done()
					wholeStep(b, p)
				})
			}
		}
	}
}

func wholeStep(b *testing.B, p *core.Program) {
	fill(b, p, isInput)
	if err := p.Run(0, len(p.Graph.Ops)); err != nil {
		b.Fatal(err)
	}
	p.Trace(true)
	busy := 0.0
	for b.Loop() {
		b.StopTimer() // inputs do not outlive a step
		fill(b, p, isInput)
		b.StartTimer()
		begin := processorSeconds(b)
		if err := p.Run(0, len(p.Graph.Ops)); err != nil {
			b.Fatal(err)
		}
		busy += processorSeconds(b) - begin
	}
	b.ReportMetric(busy*1e3/float64(b.N), "cpu-ms/op")
	reportByKind(b, p, p.Trace(false), b.N)
}

// BenchmarkSmallBatches runs training steps of many small ops, where what surrounds an op counts: starting it, and waiting for
// the threads that share it. fastest-ms is the sum, over the ops, of the least time that each one took in any step: what
// other programs do on the machine hits some steps of an op, and hardly all of them.
func BenchmarkSmallBatches(b *testing.B) {
	for _, method := range []string{"bp", "auglocal"} {
		for _, network := range []string{"resnet32", "resnet110"} {
			for _, batch := range []int64{8, 32} {
				for _, threads := range []int{1, 2} {
					b.Run(fmt.Sprintf("%s/%s/batch=%d/threads=%d", method, network, batch, threads), func(b *testing.B) {
						d := openDevice(b, "cpu", threads)
						p, done := trainingStep(b, d, method, network, batch, graph.StoreF32, false)
						defer done()
						fastestOps(b, p)
					})
				}
			}
		}
	}
}

// BenchmarkStoredStep runs the step of BenchmarkStep with activations stored in each format, and reports fastest-ms.
func BenchmarkStoredStep(b *testing.B) {
	for _, threads := range []int{1, 2} {
		for _, format := range graph.StoreFormats() {
			b.Run(fmt.Sprintf("%s/threads=%d", format, threads), func(b *testing.B) {
				p, done := trainingStep(b, openDevice(b, "cpu", threads), "bp", "resnet32", 128, format, false)
				defer done()
				fastestOps(b, p)
			})
		}
	}
}

// fastestOps runs steps and reports fastest-ms.
func fastestOps(b *testing.B, p *core.Program) {
	p.Trace(true)
	fastest := make([]float64, len(p.Graph.Ops))
	for i := range fastest {
		fastest[i] = math.Inf(1)
	}
	for b.Loop() {
		b.StopTimer() // inputs do not outlive a step
		fill(b, p, isInput)
		b.StartTimer()
		if err := p.Run(0, len(p.Graph.Ops)); err != nil {
			b.Fatal(err)
		}
		for i, seconds := range p.Trace(true) {
			fastest[i] = min(fastest[i], seconds)
		}
	}
	sum := 0.0
	for _, seconds := range fastest {
		sum += seconds
	}
	b.ReportMetric(sum*1e3, "fastest-ms")
	b.ReportMetric(float64(len(p.Graph.Ops)), "ops")
	if testing.Verbose() {
		reportByKind(b, p, fastest, 1)
	}
}

// reportByKind reports milliseconds a step, and GB/s or GFLOP/s, of each kind, from the seconds that the ops took in some steps.
func reportByKind(b *testing.B, p *core.Program, trace []float64, steps int) {
	var seconds, bytes, flops [64]float64
	var kinds []graph.Kind
	for i, op := range p.Graph.Ops {
		k := op.Kind
		seconds[k] += trace[i] / float64(steps)
		bytes[k] += float64(op.Bytes())
		flops[k] += float64(op.FLOPs())
		if !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	slices.SortFunc(kinds, func(x, y graph.Kind) int {
		if seconds[x] > seconds[y] {
			return -1
		}
		return 1
	})
	for _, k := range kinds {
		rate := fmt.Sprintf("%6.1f GB/s", bytes[k]/seconds[k]/1e9)
		if flops[k] > 0 {
			rate += fmt.Sprintf(" %6.1f GFLOP/s", flops[k]/seconds[k]/1e9)
		}
		b.Logf("%-32s %8.3f ms  %s", k, seconds[k]*1e3, rate)
	}
}

// BenchmarkPrepare prepares and binds a program of some thousand ops of few
// shapes: what a plan of a deep network costs before it runs.
func BenchmarkPrepare(b *testing.B) {
	d := openDevice(b, "cpu", 1)
	builder := graph.NewBuilder(true)
	x := builder.Input("x", graph.Shape{128, 8, 8, 64}, graph.TypeF32)
	v := make([]*graph.Value, 4)
	for i := range v {
		v[i] = builder.Parameter(fmt.Sprint("vector", i), graph.Shape{64}, graph.Weight{})
	}
	w := builder.Parameter("weight", graph.Shape{64, 3, 3, 64}, graph.Weight{})
	for range 1700 {
		x = builder.Conv(x, w, nil, graph.ConvOptions{Padding: 1})
		mean, variance := builder.NormStats(x, nil, nil, 0.1)
		x = builder.NormApply(x, mean, variance, v[2], v[3], 1e-5)
	}
	g, err := builder.Graph()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p, err := d.Prepare(g)
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
	b.ReportMetric(float64(len(g.Ops)), "ops")
}

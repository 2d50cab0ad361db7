package engine_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

// residualStep is one training step of ResNet-32 by backpropagation on small
// images, bound to an arena, with small values everywhere.
func residualStep(b testing.TB, d engine.Device, batch int64) (*core.Program, func()) {
	b.Helper()
	n, err := networks.New("resnet32", graph.Shape{32, 32, 3}, 10)
	if err != nil {
		b.Fatal(err)
	}
	m, err := methods.Find("bp")
	if err != nil {
		b.Fatal(err)
	}
	stages, err := m.Stages(n, methods.Options{})
	if err != nil {
		b.Fatal(err)
	}
	step, err := core.TrainingStep(stages, core.StepOptions{
		Batch: batch, Image: n.Input, Mean: [4]float64{125, 123, 114}, Deviation: [4]float64{63, 62, 67},
		Optimizer: graph.SGDOptions{Momentum: 0.9, WeightDecay: 1e-4, Nesterov: true},
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

// BenchmarkStep runs a whole training step of ResNet-32 at batch 128 and reports
// where its time goes, by kind of op.
func BenchmarkStep(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			d := openDevice(b, "cpu", threads)
			p, done := residualStep(b, d, 128)
			defer done()
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
			reportByKind(b, p)
		})
	}
}

// reportByKind reports milliseconds a step, and GB/s or GFLOP/s, of each kind.
func reportByKind(b *testing.B, p *core.Program) {
	var seconds, bytes, flops [64]float64
	var kinds []graph.Kind
	trace := p.Trace(false)
	for i, op := range p.Graph.Ops {
		k := op.Kind
		seconds[k] += trace[i] / float64(b.N)
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

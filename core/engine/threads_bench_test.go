package engine_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/localbench/localbench/core/graph"
)

// BenchmarkThreads runs small ops on one thread and on two: where the second one begins to pay is what serial_limit and
// light_limit in native/cpu.h are chosen by. fastest-us is the least time of any run, which other programs on the machine
// disturb little. OMP_WAIT_POLICY says whether threads spin (active) or sleep (passive) while they wait for work.
func BenchmarkThreads(b *testing.B) {
	for _, f := range families(graph.TypeF32) {
		light := []string{"norm_stats", "norm_apply", "norm_backward", "norm_backward_residual", "relu", "add", "sgd"}
		if !slices.Contains(light, f.name) {
			continue
		}
		for _, batch := range []int64{4, 8, 16, 32, 64} {
			for _, threads := range []int{1, 2} {
				shape := []int64{batch, 32, 32, 16}
				b.Run(fmt.Sprintf("%s/elements=%d/threads=%d", f.name, graph.Shape(shape).Elements(), threads), func(b *testing.B) {
					f.fastest(b, threads, shape)
				})
			}
		}
	}
}

// fastest reports the least time of the last op of the program.
func (f family) fastest(b *testing.B, threads int, shape []int64) {
	builder := &builder{graph.NewBuilder(true), graph.TypeF32}
	f.build(builder, shape...)
	g, err := builder.Graph()
	if err != nil {
		b.Fatal(err)
	}
	last := len(g.Ops)
	g.Outputs = append(g.Outputs, g.Ops[last-1].Results...)
	p := bind(b, openDevice(b, "cpu", threads), g)
	for _, v := range g.Values {
		fillPattern(b, p, v)
	}
	least := math.Inf(1)
	p.Trace(true)
	for b.Loop() {
		if err := p.Run(last-1, last); err != nil {
			b.Fatal(err)
		}
		least = min(least, p.Trace(true)[last-1])
	}
	b.ReportMetric(least*1e6, "fastest-us")
}

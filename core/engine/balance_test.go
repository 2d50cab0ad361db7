package engine_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
)

// divided are ops whose work threads divide among themselves while they run, on tensors of many parts: the last op of each graph.
func divided(element graph.ElementType) map[string]func(b *builder) {
	out := map[string]func(b *builder){}
	input := func(b *builder, name string, shape ...int64) *graph.Value { return b.Input(name, shape, element) }
	for _, c := range []struct {
		n, size, in, out, kernel int64
		options                  graph.ConvOptions
	}{
		{8, 32, 16, 16, 3, graph.ConvOptions{Padding: 1}},
		{16, 9, 64, 32, 3, graph.ConvOptions{Padding: 1}},
		{8, 30, 64, 64, 3, graph.ConvOptions{Padding: 1, Groups: 4}},
		{1, 16, 128, 128, 3, graph.ConvOptions{Padding: 1}},
		{8, 32, 32, 64, 3, graph.ConvOptions{Padding: 1, Stride: 2}},
		{8, 21, 32, 32, 3, graph.ConvOptions{Padding: 1, Groups: 32}},
		{8, 21, 32, 32, 5, graph.ConvOptions{Padding: 2, Groups: 32, Stride: 2}},
		{8, 15, 128, 128, 1, graph.ConvOptions{}},
		{8, 7, 400, 400, 1, graph.ConvOptions{}},
	} {
		groups := max(c.options.Groups, 1)
		conv := func(b *builder) *graph.Op {
			w := input(b, "w", c.out, c.kernel, c.kernel, c.in/groups)
			b.Conv(input(b, "x", c.n, c.size, c.size, c.in), w, nil, c.options)
			return b.Ops()[len(b.Ops())-1]
		}
		name := fmt.Sprintf("%d to %d channels, %dx%d, stride %d, %d groups, %d of %dx%d", c.in, c.out, c.kernel, c.kernel,
			max(c.options.Stride, 1), groups, c.n, c.size, c.size)
		out["conv "+name] = func(b *builder) { conv(b) }
		out["conv_backward_weights "+name] = func(b *builder) {
			op := conv(b)
			b.ConvBackwardWeights(op, input(b, "dy", op.Results[0].Shape...))
		}
		out["conv_backward_data "+name] = func(b *builder) {
			op := conv(b)
			b.ConvBackwardData(op, input(b, "dy", op.Results[0].Shape...))
		}
	}
	for _, f := range families(element) {
		switch f.name {
		case "norm_apply", "norm_apply_silu", "norm_apply_residual", "relu", "add", "quantize", "quantize_4_bits", "quantize_mask",
			"dequantize", "dequantize_4_bits", "dequantize_mask", "norm_stats", "norm_backward":
			out[f.name] = func(b *builder) { f.build(b, 5, 33, 31, 24) }
		}
	}
	return out
}

func sums(k graph.Kind) bool {
	return k == graph.KindConvBackwardWeights || k == graph.KindNormStats || k == graph.KindNormBackward
}

// TestAnyDivision: several threads, more than there may be cores, compute the bits that one thread computes, whichever thread
// takes which part. Of ops that sum, whose bits depend on the number of threads, they compute the same bits each time.
func TestAnyDivision(t *testing.T) {
	enginetest.NeedsCPU(t)
	one, five := enginetest.Open(t, "cpu", engine.Options{Threads: 1}), enginetest.Open(t, "cpu", engine.Options{Threads: 5})
	for _, element := range []graph.ElementType{graph.TypeF32, graph.TypeBF16} {
		for name, build := range divided(element) {
			t.Run(fmt.Sprintf("%s, %s", name, element), func(t *testing.T) {
				b := &builder{graph.NewBuilder(true), element}
				build(b)
				g, err := b.Graph()
				if err != nil {
					t.Fatal(err)
				}
				for _, op := range g.Ops {
					op.Attr.Element = element
					if err := op.Retype(); err != nil {
						t.Fatal(err)
					}
				}
				last := len(g.Ops) - 1
				g.Outputs = append(g.Outputs, g.Ops[last].Results...)
				run := func(d engine.Device) (p engine.Program, again func() [][]float32) {
					p = bind(t, d, g)
					for _, v := range g.Values {
						fillPattern(t, p, v)
					}
					return p, func() (out [][]float32) {
						if err := p.Run(last, last+1); err != nil {
							t.Fatal(err)
						}
						for _, v := range g.Ops[last].Results {
							out = append(out, read(t, p, v))
						}
						return out
					}
				}
				p, of := run(one)
				want := of()
				q, of := run(five)
				if sums(g.Ops[last].Kind) {
					want = of()
				}
				if a, b := p.Kernels()[last], q.Kernels()[last]; a != b || strings.HasPrefix(a, "oneDNN") {
					return // the library divides its work itself; other kernels need not give the same bits
				}
				for range 5 {
					for i, got := range of() {
						for j := range got {
							if math.Float32bits(got[j]) != math.Float32bits(want[i][j]) {
								t.Fatalf("%s: %s[%d] is %g with five threads, want %g", p.Kernels()[last], g.Ops[last].Results[i].Name, j,
									got[j], want[i][j])
							}
						}
					}
				}
			})
		}
	}
}

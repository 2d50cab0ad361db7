package engine_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
	"github.com/localbench/localbench/core/reference"
	"github.com/localbench/localbench/core/rng"
)

// blockOps has ops with tensors in bf16 that the cpu backend runs on blocks of samples. Each of a few threads has several
// blocks, and a last one with fewer samples.
func blockOps(t *testing.T) *graph.Graph {
	t.Helper()
	const n, bf16 = 13, graph.TypeBF16
	b := graph.NewBuilder(true)
	x := b.Input("x", graph.Shape{n, 20, 24, 32}, bf16)
	w := b.Input("w", graph.Shape{48, 3, 3, 32}, bf16)
	bias := b.Input("bias", graph.Shape{48}, graph.TypeF32)
	dy := b.Input("dy", graph.Shape{n, 20, 24, 48}, bf16)
	last := func() *graph.Op { return b.Ops()[len(b.Ops())-1] }
	var results []*graph.Value
	keep := func(v ...*graph.Value) { results = append(results, v...) }

	keep(b.Conv(x, w, nil, graph.ConvOptions{Padding: 1}))
	conv := last()
	keep(b.ConvBackwardData(conv, dy))
	keep(b.ConvBackwardWeights(conv, dy))
	keep(b.Conv(x, w, bias, graph.ConvOptions{Padding: 1}))
	keep(b.ConvBackwardWeights(last(), dy))
	v := b.Input("v", graph.Shape{10, 20 * 24 * 32}, bf16)
	keep(b.Linear(x, v, b.Input("c", graph.Shape{10}, graph.TypeF32)))
	linear, du := last(), b.Input("du", graph.Shape{n, 10}, bf16)
	keep(b.LinearBackwardData(linear, du))
	keep(b.LinearBackwardWeights(linear, du))

	y, index := b.MaxPool(x, graph.PoolOptions{Kernel: [2]int64{3, 3}, Stride: [2]int64{2, 2}, Padding: [2]int64{1, 1}})
	keep(y, index)
	keep(b.MaxPoolBackward(last(), b.Input("dp", y.Shape, bf16)))
	gamma, beta := b.Input("gamma", graph.Shape{32}, graph.TypeF32), b.Input("beta", graph.Shape{32}, graph.TypeF32)
	keep(b.LayerNorm(x, gamma, beta, 1e-5))
	dx, dgamma, dbeta := b.LayerNormBackward(last(), x)
	keep(dx, dgamma, dbeta)
	keep(b.Scale(x, gamma))
	dx, ds := b.ScaleBackward(last(), x)
	keep(dx, ds)
	keep(b.Gate(x, b.Input("z", graph.Shape{n, 1, 1, 32}, bf16), graph.ActivationSigmoid))
	keep(b.Deviation(x))
	keep(b.DeviationBackward(last(), b.Input("dd", graph.Shape{n, 32}, graph.TypeF32)))
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range results {
		if v != nil {
			g.Outputs = append(g.Outputs, v)
		}
	}
	return g
}

// fillNoise writes noise of the normal distribution to the inputs of g, numbers that bf16 has.
func fillNoise(t *testing.T, g *graph.Graph, p engine.Program, m *reference.Machine) {
	t.Helper()
	for _, v := range g.Inputs {
		content := make([]float64, v.Shape.Elements())
		noise := rng.Stream{Seed: 5, Purpose: rng.PurposeSynthetic, Epoch: rng.NameKey(v.Name)}
		for i := range content {
			content[i] = float64(graph.FromBF16(graph.BF16(float32(noise.Normal(uint64(i))))))
		}
		m.Set(v, content)
		write(t, p, v, content)
	}
}

// TestBlocks runs ops on blocks of samples, without our own convolutions, which need none: 1, 2 and 3 threads with a share of the
// samples each, and 16, which are more than the samples and work on one block together.
func TestBlocks(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 16} {
		t.Run(fmt.Sprint(threads, " threads"), func(t *testing.T) {
			enginetest.NeedsCPU(t)
			d, g := enginetest.Open(t, "cpu", engine.Options{Threads: threads, PlanBook: "oneDNN"}), blockOps(t)
			p, m := bind(t, d, g), reference.New(g)
			fillNoise(t, g, p, m)
			if err := m.Run(0, len(g.Ops)); err != nil {
				t.Fatal(err)
			}
			if err := p.Run(0, len(g.Ops)); err != nil {
				t.Fatal(err)
			}
			for i, op := range g.Ops {
				kernel := p.Kernels()[i]
				native := strings.Contains(kernel, "bf16") || strings.Contains(kernel, "amx")
				if !strings.HasPrefix(kernel, "blocks of ") && (!native || os.Getenv(limitISA) != "") {
					t.Errorf("%s runs as %q, want it in blocks", op.Kind, kernel)
				}
				for _, v := range op.Results {
					if err := optest.Compare(read(t, p, v), m.Get(v), optest.Tolerance(op, v)); err != nil {
						t.Errorf("%s, %s: %s: %v", op.Kind, kernel, v.Name, err)
					}
				}
			}
		})
	}
}

// TestBlocksWithoutBF16 runs TestBlocks, and the convolutions and linear layers of the op table, as a processor does that
// does not multiply bf16.
func TestBlocksWithoutBF16(t *testing.T) {
	enginetest.NeedsCPU(t)
	for _, isa := range []string{"AVX512_CORE", "AVX2"} {
		c := exec.Command(os.Args[0], "-test.run=^(TestBlocks|TestParity)$/^(.* threads)$/^(conv|linear)")
		c.Env = append(os.Environ(), limitISA+"="+isa)
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%s=%s: %v\n%s", limitISA, isa, err, out)
		}
	}
}

// TestBlocksWithinLimit: a limit of workspaces makes blocks smaller; one that no block fits into is an error.
func TestBlocksWithinLimit(t *testing.T) {
	largest := func(limit int64) (most int64, err error) {
		b := graph.NewBuilder(true)
		x, two := b.Input("x", graph.Shape{64, 16, 16, 32}, graph.TypeBF16), [2]int64{2, 2}
		b.MaxPool(x, graph.PoolOptions{Kernel: two, Stride: two})
		g, err := b.Graph()
		if err != nil {
			return 0, err
		}
		p, err := enginetest.Open(t, "cpu", engine.Options{Threads: 1, WorkspaceLimit: limit}).Prepare(g)
		if err != nil {
			return 0, err
		}
		defer p.Close()
		return p.Scratch()[0], nil
	}
	// A sample has 32 KiB in f32, its result 8 KiB, and its indices 2 KiB.
	const sample = 42 << 10
	free, err := largest(0)
	if err != nil || free != 6*sample {
		t.Errorf("got %d bytes, %v, want six samples of %d bytes", free, err, sample)
	}
	if got, err := largest(3 * sample); err != nil || got > 3*sample || got < sample {
		t.Errorf("got %d bytes, %v, want at most the limit of %d", got, err, 3*sample)
	}
	if _, err := largest(sample - 1); err == nil || !strings.Contains(err.Error(), "more than the limit of 43007 bytes") {
		t.Errorf("got %v, want an error that names the limit", err)
	}
}

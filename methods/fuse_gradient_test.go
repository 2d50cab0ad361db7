package methods_test

import (
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
)

// TestFusedGradientOwn trains in bf16 with our own kernel of both gradients of a convolution, which does not store the gradient
// of its result, and where it normalises its input adds up what the normalisation's backward pass needs. Losses and state after
// the steps are near those of the program that stores all of it: the order of sums and the rounding of coefficients differ.
func TestFusedGradientOwn(t *testing.T) {
	for _, backend := range enginetest.Backends() {
		if backend == "cpu" {
			continue
		}
		for _, method := range []string{"bp", "auglocal"} {
			t.Run(backend+" "+method, func(t *testing.T) {
				d := enginetest.Open(t, backend, engine.Options{Threads: 1, TF32: true, Own: true, Deterministic: backend == "cuda"})
				plain := bits(t, tinySession(t, d, method, core.StepOptions{Mixed: true}), false)
				for _, fuse := range []core.FuseNorm{core.FuseNormGradient, core.FuseNormGradient | core.FuseNormInput} {
					s := tinySession(t, d, method, core.StepOptions{Mixed: true, FuseNorm: fuse})
					own := 0
					for i, op := range s.Training.Graph.Ops {
						if op.Kind == graph.KindConvNormBackward && s.Training.Kernels()[i] == "own, tensor cores" {
							own++
						}
					}
					if own < 2 {
						t.Errorf("fused %d: %d own kernels of both gradients, want 2 at least", fuse, own)
					}
					near(t, "fused", bits(t, s, false), plain, 1e-2)
				}
			})
		}
	}
}

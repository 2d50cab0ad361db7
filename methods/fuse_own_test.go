package methods_test

import (
	"fmt"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
)

// TestFusedInputSameBits trains with our own convolutions, which normalise their input while they load it: losses and state after
// the steps have the same bits as those of the program that stores normalised tensors, in tf32 and in bf16. The convolutions
// that own kernels serve have no workspace for the normalised input.
func TestFusedInputSameBits(t *testing.T) {
	for _, backend := range enginetest.Backends() {
		if backend == "cpu" {
			continue
		}
		for _, method := range []string{"bp", "auglocal"} {
			for _, mixed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s, bf16 %t", backend, method, mixed), func(t *testing.T) {
					d := enginetest.Open(t, backend, engine.Options{Threads: 1, TF32: true, Own: true, Deterministic: backend == "cuda"})
					want := bits(t, tinySession(t, d, method, core.StepOptions{Mixed: mixed}), false)
					s := tinySession(t, d, method, core.StepOptions{Mixed: mixed, FuseNorm: core.FuseNormInput})
					own := 0
					for i, op := range s.Training.Graph.Ops {
						if op.NormalisesInput() && s.Training.Kernels()[i] == "own, tensor cores" {
							own++
							if op.Kind == graph.KindConv && s.Training.Scratch()[i] != 0 {
								t.Errorf("%s: %d bytes of workspace, want 0", op.Kind, s.Training.Scratch()[i])
							}
						}
					}
					if own < 2 {
						t.Errorf("%d own kernels normalise their input, want a convolution and its gradient at least", own)
					}
					same(t, "fused", bits(t, s, false), want)
				})
			}
		}
	}
}

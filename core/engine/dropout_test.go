package engine_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/rng"
)

// TestDropoutNumbers holds what each backend drops of ones against the generator, element by element
// and sample by sample, and the share of it against the rate. One program runs for several seeds and
// steps, from the third on as a captured graph: what reads the batch among the first ops is no part of that,
// so there are some in front.
func TestDropoutNumbers(t *testing.T) {
	const rows, columns, rate = 5000, 13, 0.3
	for _, backend := range enginetest.Backends() {
		for _, samples := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, samples %v", backend, samples), func(t *testing.T) {
				b := graph.NewBuilder(true)
				b.EnableDropout()
				x := b.Input("x", graph.Shape{rows, columns}, graph.TypeF32)
				y := x
				for range 4 {
					y = b.ReLU(y)
				}
				b.In("head", func() { y = b.Dropout(y, b.DropoutStream(), graph.DropoutOptions{Rate: rate, Rows: samples}) })
				b.Output(y)
				g, err := b.Graph()
				if err != nil {
					t.Fatal(err)
				}
				p := bind(t, enginetest.Open(t, backend, engine.Options{Threads: 2}), g)
				salt := uint64(rng.NameKey("head")) << 32
				dropped, numbers := 0, 0
				for step, seed := range []uint64{1, 1, 1, 1<<63 | 1<<31, math.MaxUint64} {
					ones := make([]float32, rows*columns)
					for i := range ones {
						ones[i] = 1
					}
					epoch := uint32(step) * 0x3fffffff // the last two are beyond 2^31
					for _, err := range []error{p.Write(x, ones),
						p.Write(b.DropoutStream(), []int32{int32(uint32(seed)), int32(seed >> 32), int32(epoch)}), p.Run(0, len(g.Ops))} {
						if err != nil {
							t.Fatal(err)
						}
					}
					for i, got := range read(t, p, y) {
						k := i
						if samples {
							k = i / columns
						}
						word := rng.Block(seed, rng.PurposeDropout, epoch, salt|uint64(k/4))[k%4]
						want := float32(0)
						if float64(word)/(1<<32) >= rate {
							want = float32(1 / (1 - rate))
						}
						if got != want {
							t.Fatalf("seed %d, step %d, element %d: got %g, want %g", seed, epoch, i, got, want)
						}
						if !samples || i%columns == 0 {
							numbers++
							if got == 0 {
								dropped++
							}
						}
					}
				}
				share, deviation := float64(dropped)/float64(numbers), math.Sqrt(rate*(1-rate)/float64(numbers))
				t.Logf("%d of %d dropped: %.4f", dropped, numbers, share)
				if math.Abs(share-rate) > 4*deviation {
					t.Errorf("%.4f of %d are dropped, want %g within %.4f", share, numbers, rate, 4*deviation)
				}
			})
		}
	}
}

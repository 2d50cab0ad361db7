package train_test

import (
	"runtime"
	"testing"

	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/rng"
)

// TestInitialise finds each element of a network with tensors of some MiB in its stream, by its place in the canonical order, and
// holds what is allocated for it to a small part of them.
func TestInitialise(t *testing.T) {
	const seed, most = 5, 4 << 20
	s := newSession(t, "vgg11", graph.Shape{32, 32, 3})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := s.Initialise(seed); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if bytes := after.TotalAlloc - before.TotalAlloc; bytes > most {
		t.Errorf("%d bytes were allocated, want at most %d", bytes, most)
	}
	kinds := map[graph.Init]int64{} // the largest tensor of each
	for _, v := range s.Persistent() {
		content := make([]float32, v.Shape.Elements())
		if err := s.Training.Read(v, content); err != nil {
			t.Fatal(err)
		}
		kinds[v.Weight.Init] = max(kinds[v.Weight.Init], v.Bytes())
		stream := rng.Stream{Seed: seed, Purpose: rng.PurposeInit, Epoch: rng.NameKey(v.Name)}
		for i, got := range content {
			at := uint64(enginetest.CanonicalPlace(v, int64(i)))
			want := float32(v.Weight.Scale)
			switch v.Weight.Init {
			case graph.InitNormal:
				want = float32(stream.Normal(at) * v.Weight.Scale)
			case graph.InitUniform:
				want = float32(-v.Weight.Scale + float64(2*v.Weight.Scale*stream.Uniform(at)))
			}
			if got != want {
				t.Fatalf("%s[%d]: got %g, want %g", v.Name, i, got, want)
			}
		}
	}
	if kinds[graph.InitNormal] < 8<<20 || kinds[graph.InitConstant] < 8<<20 {
		t.Errorf("the largest tensors by distribution have %d bytes: too small for this test", kinds)
	}
}

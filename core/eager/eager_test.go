package eager_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/eager"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

func predict(t *testing.T, network, method string, batch int64) eager.Prediction {
	t.Helper()
	n, err := networks.New(network, graph.Shape{32, 32, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	m, err := methods.Find(method)
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, methods.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := core.TrainingStep(stages, core.StepOptions{Batch: batch, Image: n.Input, Deviation: [4]float64{1, 1, 1}, Eager: true})
	if err != nil {
		t.Fatal(err)
	}
	return eager.Predict(s.Graph)
}

// TestLiveBytes holds the model against the live tensor bytes of real steps in
// PyTorch, which testdata/make_peaks.py measured.
func TestLiveBytes(t *testing.T) {
	text, err := os.ReadFile("testdata/peaks.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Network string
		Batch   int64
		Methods map[string]struct{ Peak int64 }
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	for _, must := range []string{"bp", "dgl", "infopro", "auglocal"} {
		if golden.Methods[must].Peak == 0 {
			t.Errorf("%s: nothing was measured", must)
		}
	}
	for method, want := range golden.Methods {
		got := predict(t, golden.Network, method, golden.Batch)
		off := float64(got.RequestedBytes)/float64(want.Peak) - 1
		t.Logf("%s: %d bytes predicted, %d measured: %+.2f %%", method, got.RequestedBytes, want.Peak, 100*off)
		if math.Abs(off) > 0.03 {
			t.Errorf("%s: got %d bytes, PyTorch had %d: %+.1f %%, want within 3 %%", method, got.RequestedBytes, want.Peak, 100*off)
		}
		if got.AllocatedBytes < got.RequestedBytes || got.ReservedBytes < got.AllocatedBytes {
			t.Errorf("%s: %+v, want requested, allocated and reserved in that order", method, got)
		}
	}
}

// TestDropoutMasks counts by hand a linear layer of 1000 features, dropout, and a linear layer of 10
// classes, for 8 samples of one number. The peak is in the backward pass of the second: weights and
// momentum (88,000 bytes), images, normalised too (64), labels (64), rate (4), the result of the dropout
// (32,000) and its gradient (32,000), the gradients of the logits (320) and of the weight (40,000); and
// the mask. The operand of the dropout is dead.
func TestDropoutMasks(t *testing.T) {
	const rest = 88000 + 64 + 64 + 4 + 32000 + 32000 + 320 + 40000
	for _, c := range []struct {
		name  string
		drops func(*graph.Builder, string, *graph.Value, float64) *graph.Value
		rate  float64
		want  int64
	}{
		{"none", model.Dropout, 0, rest},
		{"a byte an element", model.Dropout, 0.5, rest + 8000},
		{"an f32 a sample", model.StochasticDepth, 0.5, rest + 32},
	} {
		first := model.Unit{Name: "first", Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
			return model.LinearWithoutBias(b, "fc", x, 1000)
		}}
		s, err := core.TrainingStep([]model.Stage{{Units: []model.Unit{first}, Classifier: true,
			Losses: func(b *graph.Builder, x *graph.Value, batch model.Batch) []model.Term {
				return []model.Term{model.CrossEntropy(b, model.LinearWithoutBias(b, "last", c.drops(b, "drop", x, c.rate), 10), batch)}
			}}},
			core.StepOptions{Batch: 8, Image: graph.Shape{1, 1, 1}, Deviation: [4]float64{1}, Eager: true, Dropout: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := eager.Predict(s.Graph).RequestedBytes; got != c.want {
			t.Errorf("%s: got %d bytes, want %d", c.name, got, c.want)
		}
	}
}

// TestAllocatorRules plays hand-worked sequences: sizes are allocated, negative
// numbers free the allocation of that number, counted from 1.
func TestAllocatorRules(t *testing.T) {
	const kib, mib = 1 << 10, 1 << 20
	for _, c := range []struct {
		name                string
		play                []int64
		allocated, reserved int64
	}{
		{"one byte is a block of 512 in a segment of 2 MiB", []int64{1}, 512, 2 * mib},
		{"513 bytes are 1024", []int64{513}, 1024, 2 * mib},
		{"small blocks share a segment", []int64{512 * kib, 512 * kib, 512 * kib}, 1536 * kib, 2 * mib},
		{"just over 1 MiB is large: a segment of 20 MiB, split", []int64{mib + 1, 5 * mib}, mib + 512 + 5*mib, 20 * mib},
		{"from 10 MiB on a segment is the size in steps of 2 MiB", []int64{14*mib + mib/2}, 14*mib + mib/2, 16 * mib},
		{"a rest of at most 1 MiB is not split off", []int64{11*mib + 512*kib}, 12 * mib, 12 * mib},
		{"a freed block serves again", []int64{30 * mib, -1, 30 * mib}, 30 * mib, 30 * mib},
		{"a larger free block is split", []int64{30 * mib, -1, 12 * mib, 12 * mib}, 24 * mib, 30 * mib},
		{"neighbours merge", []int64{6 * mib, 6 * mib, 6 * mib, -1, -2, 9 * mib}, 15 * mib, 20 * mib},
		{"apart they do not serve", []int64{6 * mib, 6 * mib, 6 * mib, -1, -3, 9 * mib}, 15 * mib, 40 * mib},
		{"the smallest that fits is taken", []int64{40 * mib, 24 * mib, -1, -2, 24 * mib, 40 * mib}, 64 * mib, 64 * mib},
	} {
		allocated, reserved := eager.Play(c.play)
		if allocated != c.allocated || reserved != c.reserved {
			t.Errorf("%s: allocated %d, reserved %d, want %d and %d", c.name, allocated, reserved, c.allocated, c.reserved)
		}
	}
}

// TestAllocatorKeepsAccount plays chance sequences: when all is freed nothing is
// allocated, and one block of all that was reserved can be had without more.
func TestAllocatorKeepsAccount(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var play []int64
		var live []int64
		count := int64(0)
		for range 300 {
			if len(live) > 0 && random.IntN(2) == 0 {
				i := random.IntN(len(live))
				play = append(play, -live[i])
				live = append(live[:i], live[i+1:]...)
				continue
			}
			count++
			live = append(live, count)
			play = append(play, 1+random.Int64N(1<<(4+random.IntN(22))))
		}
		for _, l := range live {
			play = append(play, -l)
		}
		if allocated, _ := eager.Play(play); allocated != 0 {
			t.Fatalf("%d bytes are allocated after everything is freed", allocated)
		}
	}
}

// TestPublishedPeaks holds the model against what two papers report for bp on
// ResNet-110, CIFAR-10, batch 1024, from real GPUs: 9.40 GB (InfoPro, ICLR 2021) and
// 9.26 GB (HPFF, ECCV 2024). Their programs search for algorithms.
func TestPublishedPeaks(t *testing.T) {
	p := predict(t, "resnet110", "bp", 1024)
	for _, published := range []float64{9.40e9, 9.26e9} {
		off := float64(p.SearchedBytes)/published - 1
		t.Logf("%.2f GB published, %d bytes predicted: %+.1f %%; without the search %d: %+.1f %%", published/1e9, p.SearchedBytes, 100*off,
			p.AllocatedBytes, 100*(float64(p.AllocatedBytes)/published-1))
		if math.Abs(off) > 0.05 {
			t.Errorf("got %d bytes, published %.0f: %+.1f %%, want within 5 %%", p.SearchedBytes, published, 100*off)
		}
	}
}

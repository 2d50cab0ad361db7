package train

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

func TestTop5ByHand(t *testing.T) {
	scores := []float32{
		7, 6, 5, 4, 3, 2, 1,
		7, 6, 5, 4, 3, 2, 1,
		1, 1, 1, 1, 1, 1, 1, // alike: the first five are taken
		1, 1, 1, 1, 1, 1, 1,
	}
	for range 7 {
		scores = append(scores, float32(math.NaN()))
	}
	if got := top5(scores, []int32{4, 5, 4, 5, 0}); got != 2 {
		t.Errorf("got %g, want 2: the first and the third", got)
	}
}

// TestEvaluateTop5: of 25 classes the five likeliest are counted, of 10 they are not.
func TestEvaluateTop5(t *testing.T) {
	const batch = 64
	images, labels := make([]byte, batch*8*8*3), make([]int32, batch)
	for i := range images {
		images[i] = byte(i * i * 31 >> 3)
	}
	for classes, want := range map[int64]bool{25: true, 10: false} {
		for i := range labels {
			labels[i] = int32(int64(i) % classes)
		}
		network := &model.Network{Classes: classes, Input: graph.Shape{8, 8, 3}, Head: model.PooledHead("fc", classes),
			Units: []model.Unit{{Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
				return model.Conv(b, "conv", x,
					8, 3, 1)
			}}}}
		device, err := engine.Open("cpu", engine.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer device.Close()
		s, err := NewSession(device,
			SessionOptions{Evaluation: true, Stages: []model.Stage{{Units: network.Units, Losses: network.HeadLosses, Classifier: true}},
				Step: core.StepOptions{Batch: batch, Image: network.Input, Deviation: [4]float64{60, 60, 60, 60}}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Initialise(1); err != nil {
			t.Fatal(err)
		}
		out, err := s.Evaluate(images, labels)
		if err != nil || (out.Top5 != nil) != want {
			t.Fatalf("%d classes: top-5 %v, %v", classes, out.Top5, err)
		}
		if !want {
			continue
		}
		scores := make([]float32, batch*classes)
		if err := s.Evaluation.Read(s.Evaluation.Probabilities, scores); err != nil {
			t.Fatal(err)
		}
		count := float32(0)
		for i, label := range labels {
			row := scores[int64(i)*classes:][:classes]
			order := make([]int32, classes)
			for c := range order {
				order[c] = int32(c)
			}
			slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(row[b], row[a]) })
			if slices.Contains(order[:5], label) {
				count++
			}
		}
		if *out.Top5 != count || count <= out.Correct[0] || count == batch {
			t.Errorf("got %g of %d, want %g, more than the %g of top-1", *out.Top5, batch, count, out.Correct[0])
		}
		var sums Sums
		sums.add(out, batch)
		sums.add(out, batch)
		if share := sums.top5(); share == nil || *share != float64(count)/batch {
			t.Errorf("over two batches: got %v, want %g", share, count/batch)
		}
	}
}

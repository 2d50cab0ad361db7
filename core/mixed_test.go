package core_test

import (
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
)

// mixedStep is tinyStep in bf16.
func mixedStep(t *testing.T, method string) *core.Step {
	t.Helper()
	s, err := core.TrainingStep(tiny(t, method), core.StepOptions{Batch: 3, Image: graph.Shape{8, 8, 3},
		Mean: [4]float64{120, 120, 120}, Deviation: [4]float64{60, 60, 60}, Mixed: true})
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return s
}

// TestMixedTypes checks the type of every value of every method's step: bf16 for values with an element for each position
// of an image, and for the gradients of the weights of such ops; f32 for what is kept from step to step, sums and decisions.
func TestMixedTypes(t *testing.T) {
	for _, m := range methods.List() {
		s := mixedStep(t, m.Name)
		count := map[graph.ElementType]int{}
		for i, op := range s.Graph.Ops {
			for r, v := range op.Results {
				want := graph.TypeBF16
				switch op.Kind {
				case graph.KindNormStats, graph.KindCrossEntropy, graph.KindBinaryCrossEntropy, graph.KindDeviation,
					graph.KindSimilarity, graph.KindSimilarityBackward, graph.KindContrast, graph.KindContrastBackward:
					want = graph.TypeF32
				case graph.KindMaxPool:
					if r == 1 {
						want = graph.TypeU8
					}
				case graph.KindConvBackwardWeights, graph.KindLinearBackwardWeights, graph.KindNormBackward:
					if len(v.Shape) == 1 {
						want = graph.TypeF32
					}
				case graph.KindCast:
					want = graph.TypeF32 + graph.TypeBF16 - op.Operands[0].Type
				}
				if count[v.Type]++; v.Type != want {
					t.Errorf("%s: op %d %s: %s is %s, want %s", m.Name, i, op.Kind, v.Name, v.Type, want)
				}
			}
		}
		for _, v := range s.Graph.Values {
			if v.Category.Persistent() && v.Type != graph.TypeF32 {
				t.Errorf("%s: %s outlives the step, want f32", m.Name, v)
			}
		}
		if count[graph.TypeF32] == 0 || count[graph.TypeBF16] == 0 {
			t.Errorf("%s: %v values by type, want both", m.Name, count)
		}
	}
}

// TestMixedCopies says how long casts live: the copy of a weight for the one op that reads
// it, that of an activation from the forward pass to no op of the backward pass.
func TestMixedCopies(t *testing.T) {
	for _, m := range methods.List() {
		s := mixedStep(t, m.Name)
		last, readers, weights := s.Graph.LastUse(), map[*graph.Value]int{}, 0
		for _, op := range s.Graph.Ops {
			for _, v := range op.Operands {
				readers[v]++
			}
		}
		for i, op := range s.Graph.Ops {
			if op.Kind != graph.KindCast {
				continue
			}
			from, to := op.Operands[0], op.Results[0]
			end := s.Graph.Ops[last[to.ID]]
			if from.Category.Persistent() {
				weights++
				if to.Category != graph.CategoryWorkspace || readers[to] != 1 || last[to.ID] != i+1 || end.Module != op.Module {
					t.Errorf("%s: %s, %s, is read %d times until op %d: want workspace that op %d alone reads", m.Name, to, to.Category,
						readers[to], last[to.ID], i+1)
				}
			} else if op.Phase != graph.PhaseBackward && end.Phase == graph.PhaseBackward {
				t.Errorf("%s: %s is kept for the backward pass, want %s kept", m.Name, to, from)
			}
		}
		if weights == 0 {
			t.Errorf("%s: no copy of a weight was found: the test tests nothing", m.Name)
		}
	}
}

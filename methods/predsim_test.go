package methods_test

import (
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

// TestPredSimOfOnePosition: maps of one position have no deviation over positions. There the published program matches the
// similarity of the channels themselves, x.view(N, -1), of the convolution's result.
func TestPredSimOfOnePosition(t *testing.T) {
	n, err := networks.New("resnet20", graph.Shape{4, 4, 3}, 10) // sides of 4, 2 and 1
	if err != nil {
		t.Fatal(err)
	}
	m, err := methods.Find("predsim")
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, methods.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := core.TrainingStep(stages, core.StepOptions{Batch: 3, Image: n.Input,
		Deviation: [4]float64{1, 1, 1}})
	if err != nil {
		t.Fatal(err)
	}
	makers, count := map[*graph.Value]*graph.Op{}, map[graph.Kind]int{}
	for _, op := range s.Graph.Ops {
		for _, v := range op.Results {
			makers[v] = op
		}
		if op.Kind != graph.KindSimilarity {
			continue
		}
		maker := makers[op.Operands[0]]
		x := maker.Operands[0]
		want := graph.KindDeviation
		if x.Shape[1]*x.Shape[2] == 1 {
			want = graph.KindReshape
		}
		if maker.Kind != want || makers[x].Kind != graph.KindConv || !maker.Results[0].Shape.Equal(graph.Shape{3, x.Shape[3]}) {
			t.Errorf("%s: the features %s are those of the op %s of %s, want %s of a convolution",
				op.Scope, maker.Results[0], maker.Kind, x, want)
		}
		count[maker.Kind]++
	}
	if count[graph.KindDeviation] != 7 || count[graph.KindReshape] != 2 { // of 10 units the last has the head
		t.Errorf("%d modules match deviations and %d channels, want 7 and 2", count[graph.KindDeviation], count[graph.KindReshape])
	}
}

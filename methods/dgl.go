package methods

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// dgl is Decoupled Greedy Learning (Belilovsky, Eickenberg, Oyallon, ICML 2020).
func dgl(n *model.Network, o Options) ([]model.Stage, error) {
	ends, err := o.moduleEnds(n)
	if err != nil {
		return nil, fmt.Errorf("dgl: %w", err)
	}
	return localStages(n, ends, o.lateAuxiliary(n, func(b *graph.Builder, m int, x *graph.Value, batch model.Batch) []model.Term {
		return []model.Term{model.CrossEntropy(b, dglClassifier(b, x, n.Units[ends[m]].PoolSide, n.Classes), batch)}
	})), nil
}

// dglClassifier is the auxiliary network of the paper's multi-layer variant: x
// pooled to a quarter of its side, three 1x1 convolutions, pooled to 2x2, and a
// perceptron with two hidden layers. A side of 0 is that of x.
func dglClassifier(b *graph.Builder, x *graph.Value, side, classes int64) *graph.Value {
	if b.Err() != nil {
		return x
	}
	c := x.Shape[3]
	height, width := (x.Shape[1]+3)/4, (x.Shape[2]+3)/4
	if side > 0 {
		height, width = min((side+3)/4, x.Shape[1]), min((side+3)/4, x.Shape[2])
	}
	x = b.AdaptiveAveragePool(x, height, width)
	for i := 1; i <= 3; i++ {
		x = b.ReLU(model.Norm(b, fmt.Sprint("bn", i), model.Conv(b, fmt.Sprint("conv", i), x, c, 1, 1)))
	}
	height, width = min(height, 2), min(width, 2)
	x = b.AdaptiveAveragePool(x, height, width)
	for i := 1; i <= 2; i++ {
		x = b.ReLU(model.Norm(b, fmt.Sprint("bn", i+3), model.LinearWithoutBias(b, fmt.Sprint("fc", i), x, c*height*width)))
	}
	return model.Linear(b, "fc3", x, classes)
}

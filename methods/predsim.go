package methods

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// Weights of PredSim's two terms.
const (
	predSimSimilarity = 0.99
	predSimPrediction = 0.01
)

// predSimFeatures is the most features that the prediction reads.
const predSimFeatures = 512

// predSim is local error signals by prediction and similarity matching (Noekland
// and Eidnes, ICML 2019).
func predSim(n *model.Network, o Options) ([]model.Stage, error) {
	ends, err := o.moduleEnds(n)
	if err != nil {
		return nil, fmt.Errorf("predsim: %w", err)
	}
	return localStages(n, ends, func(b *graph.Builder, _ int, x *graph.Value, batch model.Batch) []model.Term {
		if b.Err() != nil {
			return nil
		}
		features := predSimMatched(b, model.Conv(b, "sim", x, x.Shape[3], 3, 1))
		similarity := model.Term{Name: "similarity", Value: b.Similarity(features, batch.Labels, n.Classes), Weight: predSimSimilarity}
		prediction := model.CrossEntropy(b, model.Linear(b, "pred", predSimPool(b, x), n.Classes), batch)
		prediction.Name, prediction.Weight = "prediction", predSimPrediction
		return []model.Term{similarity, prediction}
	}), nil
}

// predSimMatched returns the features [N C] whose similarities are matched, of y [N H W C]: the standard deviation of each
// channel over the positions. A map of one position has none: as in the published program, the channels themselves are the
// features.
func predSimMatched(b *graph.Builder, y *graph.Value) *graph.Value {
	if b.Err() == nil && y.Shape[1]*y.Shape[2] == 1 {
		return b.Reshape(y, graph.Shape{y.Shape[0], y.Shape[3]})
	}
	return b.Deviation(y)
}

// predSimPool averages x [N H W C] until at most 512 features are left: the
// window doubles its height, then its width, in turn. What does not divide is
// padded with zeros that count, as in the published program.
func predSimPool(b *graph.Builder, x *graph.Value) *graph.Value {
	side := [2]int64{x.Shape[1], x.Shape[2]}
	window := [2]int64{1, 1}
	out := func(i int) int64 { return (side[i] + window[i] - 1) / window[i] }
	for turn := 0; x.Shape[3]*out(0)*out(1) > predSimFeatures && (window[0] < side[0] || window[1] < side[1]); turn = 1 - turn {
		window[turn] *= 2
	}
	if window == [2]int64{1, 1} {
		return x
	}
	o := graph.PoolOptions{Kernel: window, CountPadding: true}
	for i := range 2 {
		o.Padding[i] = window[i] * (out(i) - side[i]/window[i]) / 2
	}
	return b.AveragePool(x, o)
}

package suite

import (
	"errors"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/results"
)

// Fitted is a batch and the bytes that it needs.
type Fitted struct {
	Batch int64 // samples; 0: no batch
	Bytes int64
}

// LargestBatch searches for the largest batch from least to limit whose size, as measure tells it, is at most budget bytes.
// It doubles the batch until it does not fit and then halves the gap, which takes about two measurements for each binary
// digit of the answer. Found is that batch, with Batch 0 where not even least fits; next is the smallest batch above it that
// was seen not to fit, one sample more than found, or empty where the limit ended the search.
func LargestBatch(least, limit, budget int64, measure func(batch int64) (int64, error)) (found, next Fitted, err error) {
	low, high := int64(0), int64(0) // low fits, high does not; 0: not known yet
	for high != max(low+1, least) && low < limit {
		batch := max(least, low*2)
		if high > 0 {
			batch = low + (high-low)/2
		}
		batch = min(batch, limit)
		bytes, err := measure(batch)
		if err != nil {
			return found, next, err
		}
		if bytes <= budget {
			low, found = batch, Fitted{batch, bytes}
		} else {
			high, next = batch, Fitted{batch, bytes}
		}
	}
	return found, next, nil
}

// LeastBatch is the smallest batch that the run of a spec can be trained on: two where an auxiliary network takes batch
// statistics of one value for each sample, else one.
func LeastBatch(d engine.Device, s results.Spec) int64 {
	s.Batch = 1
	var one *graph.OneValueError
	if _, err := CompileOn(d, s); errors.As(err, &one) {
		return 2
	}
	return 1
}

// LeastEagerBatch is LeastBatch without a device.
func LeastEagerBatch(s results.Spec) int64 {
	s.Batch = 1
	var one *graph.OneValueError
	if _, _, err := PredictEager(s); errors.As(err, &one) {
		return 2
	}
	return 1
}

// TrainSamples is the number of samples that a run of a spec trains on, by its data set's card: the most that a batch can have.
func TrainSamples(s results.Spec) (int64, error) {
	b, err := stagesOf(s)
	if err != nil {
		return 0, err
	}
	return int64(b.samples(s).train), nil
}

package suite

import (
	"errors"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
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

// LeastBatch is the smallest batch that the run can be trained on: two where an auxiliary network takes batch
// statistics of one value for each sample, else one.
func (r *Run) LeastBatch(d engine.Device) int64 {
	_, err := r.WithBatch(1).Compile(d, JobOptions{})
	return leastBatch(err)
}

// LeastEagerBatch is LeastBatch without a device.
func (r *Run) LeastEagerBatch() int64 {
	_, _, err := r.WithBatch(1).PredictEager()
	return leastBatch(err)
}

// leastBatch is the smallest batch of a run whose step of one sample has this error, or none.
func leastBatch(err error) int64 {
	var one *graph.OneValueError
	if errors.As(err, &one) {
		return 2
	}
	return 1
}

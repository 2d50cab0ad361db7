package suite

import (
	"testing"

	"github.com/localbench/localbench/results"
)

// TestSelected: the epoch is chosen by the held out samples alone, the first of those that
// are alike, though another did better on the test set.
func TestSelected(t *testing.T) {
	epoch := func(n int64, val, test float64) results.Epoch {
		return results.Epoch{Epoch: n, ValTop1: &val, TestTop1: &test}
	}
	top1, at := selected([]results.Epoch{epoch(1, 0.5, 0.9), epoch(2, 0.7, 0.6), epoch(3, 0.7, 0.8), epoch(4, 0.6, 0.7)})
	if top1 == nil || *top1 != 0.6 || *at != 2 {
		t.Errorf("got %v after epoch %v, want 0.6 after 2", top1, at)
	}
	if top1, at := selected([]results.Epoch{{Epoch: 1}}); top1 != nil || at != nil {
		t.Errorf("without held out samples: got %v, %v, want nothing", top1, at)
	}
}

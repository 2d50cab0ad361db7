package plan_test

import (
	"bytes"
	"testing"

	"github.com/localbench/localbench/core/plan"
)

// TestCoverScratchOnTop: no kernel need touch all of its scratch memory, so that a step may end anywhere in
// that which lies last; where a value lies last it has to reach its end.
func TestCoverScratchOnTop(t *testing.T) {
	const pattern = 0xaa
	value := plan.Allocation{ValueBytes: plan.ValueBytes{Bytes: 100}}
	scratch := plan.Allocation{ValueBytes: plan.ValueBytes{Bytes: 256}, Offset: 128, Scratch: true}
	for _, c := range []struct{ touched, highWater int64 }{{128, 128}, {200, 256}, {384, 384}} {
		arena := bytes.Repeat([]byte{pattern}, 384)
		clear(arena[:c.touched])
		got, err := plan.Cover([]plan.Allocation{value, scratch}, 384, pattern, func(to []byte, offset int64) error { copy(to, arena[offset:]); return nil })
		want := plan.Coverage{TouchedBytes: c.highWater, PlannedBytes: 128, HighWaterBytes: c.highWater, PlannedHighWaterBytes: 384, ValueHighWaterBytes: 128}
		if err != nil || got != want {
			t.Errorf("%d bytes touched: got %+v (%v), want %+v", c.touched, got, err, want)
		}
	}
}

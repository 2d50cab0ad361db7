package results

import "testing"

// A step reaches its plan if it wrote to the end of the last value and not past the last workspace.
func TestCoverageReaches(t *testing.T) {
	for _, c := range []struct {
		highWater, value, planned int64
		want                      bool
	}{
		{320, 128, 320, true},
		{256, 128, 320, true}, // a part of the last workspace is unwritten
		{128, 128, 320, true},
		{64, 128, 320, false},  // the last value is unwritten
		{384, 128, 320, false}, // written past the plan
		{384, 320, 320, false},
	} {
		got := Coverage{HighWaterBytes: c.highWater, ValueHighWaterBytes: c.value, PlannedHighWaterBytes: c.planned}.Reaches()
		if got != c.want {
			t.Errorf("written to %d, last value ends at %d, plan at %d: got %v, want %v", c.highWater, c.value, c.planned, got, c.want)
		}
	}
}

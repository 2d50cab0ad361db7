package suite_test

import (
	"math"
	"testing"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/planbook"
	"github.com/localbench/localbench/suite"
)

// TestRoofline: with memory of no limit a step takes its operations, which are those that its model
// counts, with arithmetic of no limit its bytes, and with both something between the larger and the
// sum. What it cannot say is an error.
func TestRoofline(t *testing.T) {
	c := compile(t, openCPU(t), "resnet20", "bp", 8, 2)
	roofline := func(bytes, flops float64) results.Roofline {
		r, err := c.Roofline(planbook.Rates{Bytes: bytes, FLOPs: map[string]float64{suite.PrecisionF32: flops}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Abs(b) }
	work, traffic, both := roofline(math.Inf(1), 1e9), roofline(1e9, math.Inf(1)), roofline(1e9, 3e10)
	if want := *c.Model.FLOPsPerSample.Step * 8; work.FLOPs != want || !near(work.Seconds, float64(want)/1e9) {
		t.Errorf("got %d operations in %g s, want %d at 1e9 a second", work.FLOPs, work.Seconds, want)
	}
	if !near(traffic.Seconds, float64(traffic.Bytes)/1e9) || traffic.Bytes < *c.Memory.PlannedPeakBytes {
		t.Errorf("got %d bytes in %g s, want more than the planned peak, at 1e9 a second", traffic.Bytes, traffic.Seconds)
	}
	if both.Seconds <= max(both.Arithmetic, both.Memory) || both.Seconds >= both.Arithmetic+both.Memory {
		t.Errorf("got %g s of %g s arithmetic and %g s memory, want more than the larger and less than the sum", both.Seconds,
			both.Arithmetic, both.Memory)
	}
	if _, err := c.Roofline(planbook.Rates{Bytes: 1, FLOPs: map[string]float64{suite.PrecisionBF16: 1}}); err == nil {
		t.Error("a precision without a rate was taken")
	}
}

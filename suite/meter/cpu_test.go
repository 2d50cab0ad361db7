package meter

import "testing"

// TestCPUSecondsCountsWork: the processor time rises while this process computes, and never falls.
func TestCPUSecondsCountsWork(t *testing.T) {
	before := CPUSeconds()
	if !(before > 0) {
		t.Fatalf("got %g s, want more than none", before)
	}
	x := 1.0
	for CPUSeconds() < before+0.01 { // ends once the kernel has counted 10 ms
		for range 10000 {
			x *= 1.0000001
		}
	}
	if x <= 1 {
		t.Error(x)
	}
}

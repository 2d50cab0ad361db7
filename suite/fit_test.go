package suite

import (
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/results"
)

// The answer is compared with a search over all batches.
func TestLargestBatch(t *testing.T) {
	size := func(batch int64) int64 { return 1000 + 37*batch + batch*batch/7 }
	for _, least := range []int64{1, 2} {
		for _, limit := range []int64{2, 63, 64, 65, 300} {
			testLargestBatch(t, least, limit, size)
		}
	}
	testLargestBatch(t, 1, 1, size)
}

// testLargestBatch compares LargestBatch with trying every batch from the least on.
func testLargestBatch(t *testing.T, least, limit int64, size func(batch int64) int64) {
	t.Helper()
	for _, budget := range []int64{500, 1036, 1037, 1078, 1079, 1100, 5000, 1 << 20} {
		want, above := int64(0), least
		for b := least; b <= limit && size(b) <= budget; b++ {
			want, above = b, b+1
		}
		asked := 0
		found, next, err := LargestBatch(least, limit, budget, func(batch int64) (int64, error) {
			if batch < least {
				t.Errorf("least %d: planned %d", least, batch)
			}
			asked++
			return size(batch), nil
		})
		if err != nil || found.Batch != want {
			t.Errorf("least %d, limit %d, budget %d: got %d, %v, want %d", least, limit, budget, found.Batch, err, want)
		}
		if want < limit && next.Batch != above {
			t.Errorf("least %d, limit %d, budget %d: got %d as the next batch, want %d", least, limit, budget, next.Batch, above)
		}
		if asked > 20 {
			t.Errorf("limit %d, budget %d: planned %d times, want at most 20", limit, budget, asked)
		}
	}
}

// FitProcess never returns a batch that was not probed within the limit, and comes within a fiftieth of the largest that is.
func TestFitProcess(t *testing.T) {
	null, err := engine.Open("null", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	runs, err := Request{Methods: []string{"bp"}, Networks: []string{"resnet20"}}.Build()
	if err != nil {
		t.Fatal(err)
	}
	arena := func(batch int64) int64 {
		c, err := runs[0].WithBatch(batch).Compile(null, JobOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return *c.Memory.ArenaBytes
	}
	const mib = 1 << 20
	for name, c := range map[string]struct {
		beside func(batch int64) int64 // what the run's process takes besides the arena
		bytes  int64
	}{
		"a fixed part":          {func(int64) int64 { return 60 * mib }, 400 * mib},
		"buffers of the loader": {func(batch int64) int64 { return 60*mib + 10000*batch }, 400 * mib},
		"more than the plan":    {func(batch int64) int64 { return 60*mib + arena(batch)/5 }, 400 * mib},
		"less than at first":    {func(batch int64) int64 { return 90*mib - 50000*batch }, 400 * mib},
		"less than firstProbe":  {func(int64) int64 { return 60 * mib }, 90 * mib},
		"nothing fits":          {func(int64) int64 { return 60 * mib }, 70 * mib},
	} {
		const sweep = 10 * mib
		total := func(batch int64) int64 { return arena(batch) + c.beside(batch) + sweep }
		probed := map[int64]bool{}
		f, err := runs[0].FitProcess(null, JobOptions{}, 1, 50000, c.bytes, LimitContainer,
			func(s results.Spec) (ProcessMemory, error) {
				probed[s.Batch] = true
				return ProcessMemory{RunBytes: total(s.Batch) - sweep, SweepBytes: sweep}, nil
			})
		if err != nil {
			t.Fatal(err)
		}
		room := c.bytes - f.Headroom
		want, _, err := LargestBatch(1, 50000, room, func(batch int64) (int64, error) { return total(batch), nil })
		if err != nil {
			t.Fatal(err)
		}
		if f.Headroom < 8*mib || f.Batch > want.Batch || f.Batch < want.Batch-1-want.Batch/50 || want.Batch > 0 && !probed[f.Batch] ||
			len(probed) != f.Probes {
			t.Errorf("%s: got batch %d after %d probes (%v), want %d or a fiftieth less", name, f.Batch, f.Probes, probed, want.Batch)
		}
		if f.Batch > 0 && f.Process.RunBytes+f.Process.SweepBytes != total(f.Batch) {
			t.Errorf("%s: the figures are not those of batch %d", name, f.Batch)
		}
	}
}

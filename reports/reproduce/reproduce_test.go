package reproduce

import (
	"testing"

	"github.com/localbench/localbench/results/published"
)

// TestVerdicts has a case for each rule, and one at each border.
func TestVerdicts(t *testing.T) {
	value := func(x float64) *float64 { return &x }
	full, reduced := Settings{Scale: published.ScaleFull}, Settings{Scale: published.ScaleReduced}
	paper := Settings{Scale: published.ScaleSmoke, Paper: true}
	top1 := func(published_, sd, own, ownSD float64) Cell {
		r := Cell{Cell: published.Cell{Metric: published.Top1, Value: &published_}, Own: own, OwnSD: ownSD, N: 3}
		if sd > 0 {
			r.SD = &sd
		}
		return r
	}
	bytes := func(metric string, published_, own float64) Cell {
		return Cell{Cell: published.Cell{Metric: metric, Value: &published_}, Own: own, N: 1}
	}
	unseen, other := top1(0.9, 0, 0.9, 0), top1(0.9, 0, 0.9, 0)
	unseen.Value, other.Recipe = nil, "DGL's own"
	for _, c := range []struct {
		what  string
		f     Settings
		r     Cell
		want  string
		holds bool
	}{
		{"no such network", full, Cell{Why: "network: got x"}, "not run: network: got x", true},
		{"no record", full, Cell{Cell: published.Cell{Metric: published.Top1, Value: value(0.9)}}, "not run", true},
		{"unseen", full, unseen, "not comparable: the published figure could not be verified", true},
		{"reduced", reduced, top1(0.9, 0, 0.9, 0), "not comparable: reduced schedule", true},
		{"other recipe", full, other, "not comparable: another recipe (DGL's own)", true},
		{"half a point", full, top1(0.93, 0, 0.935, 0), "reproduced", true},
		{"more than half a point", full, top1(0.93, 0, 0.9351, 0), "higher", false},
		{"less by more", full, top1(0.93, 0, 0.9249, 0), "lower", false},
		{"within both spreads", full, top1(0.93, 0.003, 0.92, 0.004), "within seed noise", true},
		{"beyond both spreads", full, top1(0.93, 0.003, 0.9199, 0.004), "lower", false},
		{"within our own spread", full, top1(0.93, 0, 0.922, 0.004), "within seed noise", true},
		{"memory, a twentieth", paper, bytes(published.Memory, 100, 95), "reproduced", true},
		{"memory, less", paper, bytes(published.Memory, 100, 94.9), "lower", false},
		{"memory, more", paper, bytes(published.Memory, 100, 105.1), "higher", false},
		{"memory without the search", full, bytes(published.Memory, 100, 100),
			"not comparable: the published figure includes the algorithm search, as with --quirks paper", true},
		{"saving", paper, bytes(published.MemoryReduction, 0.4, 0.45), "reproduced", true},
		{"saving, more", paper, bytes(published.MemoryReduction, 0.4, 0.451), "higher", false},
	} {
		if got, holds := c.f.verdict(c.r); got != c.want || holds != c.holds {
			t.Errorf("%s: got %q, %v, want %q, %v", c.what, got, holds, c.want, c.holds)
		}
	}
}

package suite

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
)

// Options of a stored spec that cannot be read are errors, not defaults.
func TestStoredOptionsAreChecked(t *testing.T) {
	base := results.Spec{Method: "bp", Network: "resnet20", Dataset: "synthetic", Batch: 4, Precision: "f32", Backend: "cpu", Epochs: 1}
	for _, row := range []struct{ key, value, want string }{
		{"overlap", "x", `option overlap: "x": must be a whole number of at least 1`},
		{"overlap", "0", "at least 1"},
		{"budget", "4GB", `option budget: "4GB": must be a whole number of at least 0, without a unit`},
		{"budget", "-1", "at least 0"},
		{"workspace_limit", "1e3", "without a unit"},
		{"segment", "", `option segment: ""`},
		{"recompute", "everything", `must be "norm"`},
		{"update", "early", `must be "deferred"`},
		{"program", "other", `must be "published-program"`},
		{"overlapp", "2", "option overlapp: unknown; this program knows [budget coefficients"},
	} {
		s := base
		s.Options = map[string]string{row.key: row.value}
		if _, err := Compile(s); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %q: got %v, want %q", row.key, row.value, err, row.want)
		}
	}
	// The first in order of their names, each time.
	s := base
	s.Options = map[string]string{"overlap": "x", "budget": "x", "segment": "x"}
	for range 20 {
		if err := checkOptions(s); err == nil || !strings.HasPrefix(err.Error(), "option budget:") {
			t.Fatalf("got %v", err)
		}
	}
}

// What Expand writes passes.
func TestExpandedOptionsPass(t *testing.T) {
	for _, r := range []Request{
		{Recompute: RecomputeNorm, Update: UpdateDeferred},
		{Budget: 1 << 40, WorkspaceLimit: 5},
		{Methods: []string{"checkpoint"}, Segment: 3},
		{Methods: []string{"infopro"}, Mode: "contrast"},
		{Methods: []string{"man"}, Quirks: QuirksPaper},
		{Eager: "foreach=false"},
		{Methods: []string{"auglocal"}, Overlap: 2},
		{Backend: "cuda", Deterministic: true},
	} {
		r.Networks = []string{"resnet20"}
		specs, err := r.Expand()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range specs {
			if err := checkOptions(s); err != nil {
				t.Errorf("%s: %v", s.Method, err)
			}
		}
	}
}

// Two bad values give the same error each time.
func TestFirstOfTwoErrors(t *testing.T) {
	for range 20 {
		_, err := Request{Overlap: -1, Epochs: -2, TrainLimit: -3, TestLimit: -4, Threads: -5, Device: -6}.Expand()
		if err == nil || !strings.HasPrefix(err.Error(), "epochs") {
			t.Fatalf("got %v, want the first in the order of the flags: epochs", err)
		}
	}
}

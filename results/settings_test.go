package results

import (
	"maps"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Every setting comes back from the options, each stored under the key and as the text that records have had.
func TestSettingsRoundTrip(t *testing.T) {
	for _, row := range []struct {
		set        func(*Settings)
		key, value string
	}{
		{func(s *Settings) { s.Cuts = "even" }, "cuts", "even"},
		{func(s *Settings) { s.Mode = "contrast" }, "mode", "contrast"},
		{func(s *Settings) { s.Coefficients = "1,2,3,4" }, "coefficients", "1,2,3,4"},
		{func(s *Settings) { s.Head = "1c2f" }, "head", "1c2f"},
		{func(s *Settings) { s.PublishedProgram = true }, "program", "published-program"},
		{func(s *Settings) { s.Segment = 3 }, "segment", "3"},
		{func(s *Settings) { s.NetworkDigest = "sha256:ab12" }, "network_digest", "sha256:ab12"},
		{func(s *Settings) { s.InitDigest = "ab12" }, "init", "ab12"},
		{func(s *Settings) { s.RecomputeNorm = true }, "recompute", "norm"},
		{func(s *Settings) { s.FuseNorm = "input" }, "fuse_norm", "input"},
		{func(s *Settings) { s.DeferUpdates = true }, "update", "deferred"},
		{func(s *Settings) { s.Store = "int8" }, "store", "int8"},
		{func(s *Settings) { s.Budget = 1 << 40 }, "budget", "1099511627776"},
		{func(s *Settings) { s.Overlap = 2 }, "overlap", "2"},
		{func(s *Settings) { s.WorkspaceLimit = 5 }, "workspace_limit", "5"},
		{func(s *Settings) { s.Eager = "foreach=false" }, "eager", "foreach=false"},
		{func(s *Settings) { s.Deterministic = true }, "deterministic", "yes"},
	} {
		var want Settings
		row.set(&want)
		spec := Spec{Options: map[string]string{"cuts": "of another spec"}}.WithSettings(want)
		if !maps.Equal(spec.Options, map[string]string{row.key: row.value}) {
			t.Errorf("%s: got the options %v, want %s", row.key, spec.Options, row.value)
		}
		if got, err := spec.Settings(); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", row.key, got, err, want)
		}
	}
	if n := reflect.TypeFor[Settings]().NumField(); n != 17 {
		t.Errorf("got %d settings, want a row above for each of them", n)
	}
}

// Plans are compared with the same run without a budget, without compressed activations, and without overlapping modules: each
// alone is at its default.
func TestComparedSettings(t *testing.T) {
	s := Settings{Budget: 1 << 20, Overlap: 3, Segment: 2, RecomputeNorm: true, Store: "int4"}
	want := map[string]Settings{
		"budget":  {Overlap: 3, Segment: 2, RecomputeNorm: true, Store: "int4"},
		"overlap": {Budget: 1 << 20, Segment: 2, RecomputeNorm: true, Store: "int4"},
		"store":   {Budget: 1 << 20, Overlap: 3, Segment: 2, RecomputeNorm: true},
	}
	if got := s.Compared(); !maps.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := (Settings{Overlap: 1, Segment: 2}).Compared(); len(got) > 0 {
		t.Errorf("one module in flight and no budget: got %+v, want nothing to compare with", got)
	}
}

// The command of a spec has the flags of its settings; what other flags decide, and defaults that are stored, are left out.
func TestFlagsOfSettings(t *testing.T) {
	all := Settings{Cuts: "even", Mode: "contrast", Coefficients: "1,2,3,4", Head: "1c2f", PublishedProgram: true, Segment: 3,
		InitDigest: "ab", NetworkDigest: "cd", RecomputeNorm: true, DeferUpdates: true, Budget: 100, Overlap: 2, WorkspaceLimit: 5,
		Store: "bf16",
		Eager: "foreach=false", Deterministic: true}
	want := " --budget 100B --infopro-coefficients 1,2,3,4 --cuts even --deterministic --eager foreach=false --init FILE " +
		"--infopro-mode contrast --overlap 2 --recompute norm --segment 3 --store bf16 --update deferred --workspace-limit 5B"
	if got := Command(Spec{}.WithSettings(all)); !strings.HasSuffix(got, want) {
		t.Errorf("got %s, want it to end in %s", got, want)
	}
	plain := Command(Spec{})
	for _, s := range []Settings{{}, {Mode: "softmax"}, {Overlap: 1}, {Head: "1c2f"}} {
		if got := Command(Spec{}.WithSettings(s)); got != plain {
			t.Errorf("%+v: got %s, want %s", s, got, plain)
		}
	}
	if got, want := all.AtDefaults(), all; got.Budget != 0 || got.Overlap != 0 || got.Segment != want.Segment ||
		got.Cuts != want.Cuts {
		t.Errorf("at the defaults of what plans are compared without: got %+v", got)
	}
}

// Defaults are not stored: the ids of runs without options stay.
func TestDefaultSettingsAreNotStored(t *testing.T) {
	spec := Spec{Method: "bp"}
	for _, s := range []Settings{{}, {Overlap: 1}} {
		if got := spec.WithSettings(s); got.Options != nil || SpecID(got) != SpecID(spec) {
			t.Errorf("%+v: got the options %v, want none", s, got.Options)
		}
	}
	if s, err := spec.Settings(); err != nil || s != (Settings{}) {
		t.Errorf("got %+v, %v, want the zero value", s, err)
	}
}

// Options that cannot be read are errors, not defaults.
func TestStoredOptionsAreChecked(t *testing.T) {
	for _, row := range []struct{ key, value, want string }{
		{"overlap", "x", `option overlap: "x": must be a whole number of at least 1`},
		{"overlap", "0", "at least 1"},
		{"overlap", "9999999999999999999", "at least 1"},
		{"budget", "4GB", `option budget: "4GB": must be a whole number of at least 0, without a unit`},
		{"budget", "-1", "at least 0"},
		{"workspace_limit", "1e3", "without a unit"},
		{"segment", "", `option segment: ""`},
		{"recompute", "everything", `must be "norm"`},
		{"update", "early", `must be "deferred"`},
		{"store", "int7", `option store: "int7": must be one of bf16, int8, int4, or left out`},
		{"program", "other", `must be "published-program"`},
		{"deterministic", "no", `must be "yes"`},
		{"overlapp", "2", "option overlapp: unknown; this program knows budget, coefficients"},
	} {
		s := Spec{Options: map[string]string{row.key: row.value}}
		if _, err := s.Settings(); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %q: got %v, want %q", row.key, row.value, err, row.want)
		}
	}
	for range 20 { // the first in the order of the keys, each time
		s := Spec{Options: map[string]string{"overlap": "x", "budget": "x", "segment": "x"}}
		if _, err := s.Settings(); err == nil || !strings.HasPrefix(err.Error(), "option budget:") {
			t.Fatalf("got %v", err)
		}
	}
	if err := (Settings{WorkspaceLimit: -1}).Check(); err == nil || err.Error() != "--workspace-limit -1: must be at least 0" {
		t.Errorf("got %v", err)
	}
}

// The records that are kept in this folder can be read, and keep their options and ids.
func TestSettingsOfKeptRecords(t *testing.T) {
	var paths []string
	for _, pattern := range []string{"baselines/*.json", "reproductions/*/*.json"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	count := 0
	for _, path := range paths {
		records, _, err := ReadAny(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, r := range records {
			s, err := r.Spec.Settings()
			if err != nil {
				t.Fatalf("%s: %s: %v", path, r.ID, err)
			}
			again := r.Spec.WithSettings(s)
			if !maps.Equal(again.Options, r.Spec.Options) || SpecID(again) != r.ID {
				t.Errorf("%s: %s: got %s with %v, want %v", path, r.ID, SpecID(again), again.Options, r.Spec.Options)
			}
			count++
		}
	}
	if count < 200 {
		t.Errorf("got %d records, want those of the baselines and of the reproductions", count)
	}
}

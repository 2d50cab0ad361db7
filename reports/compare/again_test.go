package compare

import (
	"strings"
	"testing"
	"time"

	"github.com/localbench/localbench/results"
)

// of is a record of a program on a machine.
func of(network string, seed uint64, minute int, commit, version, cpu string) results.Record {
	return results.Record{Status: results.StatusDone, Spec: results.Spec{Method: "bp", Network: network, Seed: seed},
		Started:     time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC),
		Environment: results.Environment{Commit: commit, Version: version, CPU: cpu}}
}

func TestNewestIsTheLastFinishedRunOfEachExperiment(t *testing.T) {
	failed := of("a", 9, 9, "", "", "")
	failed.Status = results.StatusFailed
	got := Newest([]results.Record{of("b", 1, 1, "", "", ""), of("a", 1, 2, "", "", ""), of("a", 7, 3, "", "", ""), failed})
	if len(got) != 2 || got[0].Spec.Network != "a" || got[0].Spec.Seed != 7 || got[1].Spec.Network != "b" {
		t.Errorf("got %+v, want seed 7 of a, then b", got)
	}
}

// New specs have seeds that no record has, and rounds go over all experiments.
func TestRoundsGoOverAllExperiments(t *testing.T) {
	last := LastSeed(of("a", 3, 0, "", "", ""), of("b", 5, 0, "", "", ""))
	specs := append(Again(results.Spec{Network: "a"}, 2, last), Again(results.Spec{Network: "b"}, 2, last)...)
	Rounds(specs)
	var order []string
	for _, s := range specs {
		order = append(order, s.Network+string(rune('0'+s.Seed)))
	}
	if got := strings.Join(order, " "); got != "a6 b6 a7 b7" {
		t.Errorf("got %s, want a6 b6 a7 b7", got)
	}
}

func TestProgramOfTheOldRecords(t *testing.T) {
	for _, c := range []struct {
		name     string
		old, new []results.Record
		commit   string
		same     bool
		fault    string
	}{
		{"another program", []results.Record{of("a", 1, 0, "c1", "v1", "")}, []results.Record{of("a", 1, 0, "c2", "v1", "")}, "c1",
			false, ""},
		{"the same program", []results.Record{of("a", 1, 0, "c1", "v1", "")}, []results.Record{of("a", 1, 0, "c1", "v1", "")},
			"c1", true, ""},
		{"two programs", []results.Record{of("a", 1, 0, "c1", "v1", ""), of("a", 2, 0, "c2", "v1", "")}, nil, "", false,
			"of 2 programs"},
		{"no commit", []results.Record{of("a", 1, 0, "", "v1", "")}, nil, "", false, "name no commit"},
		{"local changes", []results.Record{of("a", 1, 0, "c1", "v1"+results.WithLocalChanges, "")}, nil, "", false, "local changes"},
	} {
		commit, same, err := OldCommit(c.old, c.new)
		if commit != c.commit || same != c.same || (err == nil) != (c.fault == "") || err != nil &&
			!strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: got %q, %v, %v, want %q, %v, %q", c.name, commit, same, err, c.commit, c.same, c.fault)
		}
	}
}

func TestWhatCannotBeRepeated(t *testing.T) {
	new := of("a", 1, 0, "c", "v", "cpu")
	here := new.Environment
	if err := Repeatable(here, []results.Record{of("a", 2, 0, "old", "v", "cpu")}, new); err != nil {
		t.Errorf("the same machine and program: got %v", err)
	}
	if err := Repeatable(here, []results.Record{of("a", 2, 0, "old", "v", "other")}, new); err == nil ||
		!strings.Contains(err.Error(), `libraries are not those of the old records: cpu "other" and "cpu"`) {
		t.Errorf("another processor: got %v", err)
	}
	if err := Repeatable(here, []results.Record{of("b", 2, 0, "old", "v", "other")}, new); err != nil {
		t.Errorf("another processor of another experiment: got %v", err)
	}
	here.Commit = "d"
	if err := Repeatable(here, nil, new); err == nil || !strings.Contains(err.Error(), "this program (commit") {
		t.Errorf("another program: got %v", err)
	}
}

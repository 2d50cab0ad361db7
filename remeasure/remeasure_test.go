package remeasure_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/localbench/localbench/git"
	"github.com/localbench/localbench/remeasure"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// TestMain is also the measured program: its steps take 1 s, or 2 s if its file is named slow.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "execute" {
		os.Exit(m.Run())
	}
	var job suite.Job
	if err := json.NewDecoder(os.Stdin).Decode(&job); err != nil {
		os.Exit(1)
	}
	r := record(job.Spec, filepath.Base(os.Args[0]) == "slow")
	r.Attempt = job.Attempt
	if err := results.Write(job.Out, r); err != nil {
		os.Exit(1)
	}
}

// record is of a run by a program.
func record(s results.Spec, slow bool) results.Record {
	r := results.Record{Spec: s, Status: results.StatusDone, Started: time.Unix(0, 0), Finished: time.Unix(1, 0)}
	seconds := 1.0 + 1e-4*float64(s.Seed)
	if slow {
		seconds *= 2
	}
	r.Time.StepSeconds = &results.Distribution{Median: seconds, P05: seconds, P95: seconds, N: 3}
	run, err := suite.Build(s)
	if err != nil {
		panic(err)
	}
	if r.Environment, err = run.Environment(suite.Host{}); err != nil {
		panic(err)
	}
	return r
}

// programs are this program and its slow twin.
func programs(t *testing.T) (fast, slow string) {
	t.Helper()
	fast, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	slow = filepath.Join(t.TempDir(), "slow")
	if err := os.Symlink(fast, slow); err != nil {
		t.Fatal(err)
	}
	return fast, slow
}

func measurer(t *testing.T, self string, log *bytes.Buffer) remeasure.Measurer {
	runner := suite.Runner{Command: []string{self, "execute"}, Out: filepath.Join(t.TempDir(), "out"), Now: time.Now}
	return remeasure.Measurer{Turns: suite.Turns{Runner: runner, Pairs: 6, Turns: 1, Order: 1}, Log: log,
		Build: git.Build{Say: func(string) {}}}
}

func runs(t *testing.T) []*suite.Run {
	t.Helper()
	runs, err := suite.Request{Methods: []string{"bp"}, Networks: []string{"resnet20"}, Batches: []int64{8}}.Build()
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

func verdict(t *testing.T, c compare.Comparison) compare.Cell {
	t.Helper()
	if len(c.Cells) != 1 {
		t.Fatalf("got %d cells, want one", len(c.Cells))
	}
	return c.Cells[0]
}

// A program that is slower in every pair is a regression, the other way round it is better; the folder of a comparison is not
// used twice, and a program that does not exist is named.
func TestInterleave(t *testing.T) {
	fast, slow := programs(t)
	for _, c := range []struct {
		old, new string
		want     compare.Verdict
	}{{fast, slow, compare.Regression}, {slow, fast, compare.Better}} {
		var log bytes.Buffer
		m := measurer(t, fast, &log)
		pairs, err := m.Interleave(context.Background(), runs(t), c.old, c.new)
		if err != nil || len(pairs) != 6 {
			t.Fatalf("got %d pairs, %v", len(pairs), err)
		}
		for _, p := range pairs {
			if len(p.Old) != 1 || len(p.New) != 1 || p.Old[0].Spec.Seed != p.New[0].Spec.Seed {
				t.Errorf("got %d and %d records, want one each of the same seed", len(p.Old), len(p.New))
			}
		}
		if got := verdict(t, compare.RunPaired(pairs, compare.Defaults(), "step_time")); got.Verdict != c.want {
			t.Errorf("%s to %s: got %s, want %s", c.old, c.new, got.Verdict, c.want)
		}
		if !strings.Contains(log.String(), "interleave: 1 measurement, 6 pairs of 1 turn each: 12 runs") {
			t.Errorf("got the log %q", log.String())
		}
		_, err = m.Interleave(context.Background(), runs(t), c.old, c.new)
		if err == nil || !strings.Contains(err.Error(), "earlier") {
			t.Errorf("a second comparison in the same folder: %v", err)
		}
		m = measurer(t, fast, &log)
		_, err = m.Interleave(context.Background(), runs(t), c.old, c.old+".no")
		if err == nil || !strings.HasPrefix(err.Error(), "NEW: ") {
			t.Errorf("a program that does not exist: %v", err)
		}
	}
}

// flagged are records of which the new side looks slower than it is.
func flagged(t *testing.T) (old, new []results.Record, c compare.Comparison) {
	t.Helper()
	spec := suite.Specs(runs(t))[0]
	for seed := range uint64(6) {
		spec.Seed = seed + 1
		old, new = append(old, record(spec, false)), append(new, record(spec, true))
	}
	c = compare.Run(old, new, compare.Defaults(), "step_time")
	if got := verdict(t, c); got.Verdict != compare.Regression {
		t.Fatalf("got %s before the confirmation, want a regression", got.Verdict)
	}
	return old, new, c
}

// Cells are judged by the new runs alone, whose seeds neither side has: in turns with the program of the old side, and by the
// new side where it can't be told.
func TestConfirm(t *testing.T) {
	fast, slow := programs(t)
	for _, row := range []struct {
		name, self, old, log string
		want                 compare.Verdict
		swept                int
	}{
		{name: "in turns", self: slow, old: fast, want: compare.Regression, log: "confirm: 1 flagged cell, old and new in turns"},
		{name: "a false alarm", self: fast, old: fast, want: compare.Same, log: "confirm: 1 flagged cell, old and new in turns"},
		{name: "the new side alone", self: fast, want: compare.Same, swept: 6, log: "confirm: only the new program is measured"},
	} {
		t.Run(row.name, func(t *testing.T) {
			old, new, c := flagged(t)
			for i := range old { // by which the old program would be built
				old[i].Environment.Commit = ""
			}
			var log bytes.Buffer
			swept := 0
			m := remeasure.Confirmation{Measurer: measurer(t, row.self, &log), Old: row.old, Repeats: 10,
				Sweep: func(ctx context.Context, r suite.Runner, specs []results.Spec) ([]results.Record, error) {
					for _, s := range specs {
						if s.Seed <= 6 {
							t.Errorf("seed %d is one of the sides'", s.Seed)
						}
					}
					swept = len(specs)
					return r.Run(ctx, specs)
				}}
			if err := m.Confirm(context.Background(), &c, old, new, compare.Defaults()); err != nil {
				t.Fatal(err)
			}
			got := verdict(t, c)
			if got.Verdict != row.want || got.First != compare.Regression || swept != row.swept ||
				!strings.Contains(log.String(), row.log) {
				t.Errorf("got %s (was %s) after %d runs of the new side, log %q", got.Verdict, got.First, swept, log.String())
			}
		})
	}
}

// What another program measured keeps its verdict, and a program that was named and is missing is an error.
func TestConfirmCannot(t *testing.T) {
	fast, _ := programs(t)
	old, new, c := flagged(t)
	for i := range new {
		new[i].Environment.Commit = "0123456789abcdef"
	}
	var log bytes.Buffer
	m := remeasure.Confirmation{Measurer: measurer(t, fast, &log), Old: fast}
	if err := m.Confirm(context.Background(), &c, old, new, compare.Defaults()); err != nil {
		t.Fatal(err)
	}
	if got := verdict(t, c); got.Verdict != compare.Regression || got.First != "" ||
		!strings.Contains(log.String(), "can't be measured again here") {
		t.Errorf("got %s (was %q), log %q", got.Verdict, got.First, log.String())
	}
	m.Old = filepath.Join(t.TempDir(), "nowhere")
	err := m.Confirm(context.Background(), &c, old, new, compare.Defaults())
	if err == nil || !strings.HasPrefix(err.Error(), "--old: ") {
		t.Errorf("got %v, want an error about --old", err)
	}
}

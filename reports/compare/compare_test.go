package compare

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
)

// record is a finished run with the given seed, peak and step time.
func record(network string, seed uint64, peak int64, seconds float64) results.Record {
	r := results.Record{Status: results.StatusDone, Spec: results.Spec{Method: "bp", Network: network, Dataset: "cifar10", Batch: 128, Seed: seed, Epochs: 1, Precision: "f32", Backend: "cpu"}}
	r.Memory.PlannedPeakBytes = &peak
	r.Memory.ByCategory = map[string]int64{"saved activations": peak - 100, "parameters": 100}
	r.Time.StepSeconds = &results.Distribution{Median: seconds, P05: seconds, P95: seconds, N: 10}
	return r
}

// recorded are medians of step times of one machine, relative to their mean:
// testdata/steps.json says how they were taken.
func recorded(t *testing.T) []float64 {
	t.Helper()
	text, err := os.ReadFile("testdata/steps.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Seconds []float64 }
	if err := json.Unmarshal(text, &file); err != nil || len(file.Seconds) < 40 {
		t.Fatalf("%d timings, %v", len(file.Seconds), err)
	}
	return file.Seconds
}

// grid draws repetitions for so many measurements from the recorded timings, slowed
// by a factor.
func grid(random *rand.Rand, timings []float64, measurements, repetitions int, slow float64) []results.Record {
	var out []results.Record
	for m := range measurements {
		for seed := range repetitions {
			out = append(out, record(fmt.Sprint("net", m), uint64(seed), 1<<20, slow*timings[random.IntN(len(timings))]))
		}
	}
	return out
}

// simulations is how many comparisons TestFalseAlarms makes. A thousand take nine
// minutes on two cores: 12 of them had a false alarm, and 989 of 1000 found a
// slow-down of 5 % (November 2026).
var simulations = flag.Int("simulations", 20, "comparisons of 200 cells in TestFalseAlarms")

// TestFalseAlarms compares the same against the same, over a grid of 200 cells with 20
// repetitions: in at most 5 % of the comparisons may anything be called worse.
func TestFalseAlarms(t *testing.T) {
	timings, random := recorded(t), rand.New(rand.NewPCG(7, 11))
	rounds := *simulations
	alarms := 0
	for range rounds {
		old, new := grid(random, timings, 200, 20, 1), grid(random, timings, 200, 20, 1)
		if len(Run(old, new, Defaults(), "step_time").Worst(Regression)) > 0 {
			alarms++
		}
	}
	t.Logf("%d false alarms in %d comparisons of 200 cells", alarms, rounds)
	if alarms > rounds*5/100 {
		t.Errorf("%d false alarms in %d comparisons, want at most 5 %%", alarms, rounds)
	}
}

// TestDetection slows one measurement by 5 %: in more than 95 % of comparisons with
// 20 repetitions it is found.
func TestDetection(t *testing.T) {
	timings, random := recorded(t), rand.New(rand.NewPCG(3, 5))
	const rounds = 1000
	found := 0
	for range rounds {
		old, new := grid(random, timings, 1, 20, 1), grid(random, timings, 1, 20, 1.05)
		if len(Run(old, new, Defaults(), "step_time").Worst(Regression)) == 1 {
			found++
		}
	}
	t.Logf("a slow-down of 5 %% is found in %d of %d comparisons", found, rounds)
	if found <= rounds*95/100 {
		t.Errorf("a slow-down of 5 %% is found in %d of %d comparisons, want more than 95 %%", found, rounds)
	}
}

// TestOneByte: an exact metric is worse by a byte, and the cell says where it lies.
func TestOneByte(t *testing.T) {
	old, new := record("net", 1, 1<<30, 1), record("net", 1, 1<<30+1, 1)
	c := Run([]results.Record{old}, []results.Record{new}, Defaults(), "planned_peak")
	bad := c.Worst(Regression)
	if len(bad) != 1 || len(bad[0].Why) != 1 || !strings.Contains(bad[0].Why[0], "saved activations") || !strings.Contains(bad[0].Why[0], "(+1)") {
		t.Errorf("got %+v", c.Cells)
	}
	if s := c.Sentence(); !strings.Contains(s, "planned_peak of net") || !strings.Contains(s, "1073741825, was 1073741824") {
		t.Errorf("sentence: %s", s)
	}
	if got := Run([]results.Record{new}, []results.Record{old}, Defaults(), "planned_peak").Cells[0].Verdict; got != Better {
		t.Errorf("a byte less is %s", got)
	}
}

// TestTooFewRepetitions: what cannot be told is said, with the number that is needed.
// With one noisy cell that is 4: 2 / (8 choose 4) = 0.029, 2 / (6 choose 3) = 0.1.
func TestTooFewRepetitions(t *testing.T) {
	old, new := []results.Record{record("net", 1, 1, 1)}, []results.Record{record("net", 1, 1, 2)}
	c := Run(old, new, Defaults(), "step_time")
	if c.Cells[0].Verdict != Undecided || c.Cells[0].Need != 4 || !strings.Contains(c.Sentence(), "want 4 each") {
		t.Errorf("got %+v: %s", c.Cells[0], c.Sentence())
	}
	for cells, want := range map[int]int{1: 4, 2: 5, 200: 8} {
		if got := repetitions(cells); got != want {
			t.Errorf("%d cells need %d repetitions, want %d", cells, got, want)
		}
	}
}

// TestHolm is a hand-worked correction: p 0.01, 0.04, 0.03 become 0.03, 0.06, 0.06.
func TestHolm(t *testing.T) {
	c := Comparison{Cells: []Cell{{P: 0.01, OldN: 20, NewN: 20}, {P: 0.04, OldN: 20, NewN: 20}, {P: 0.03, OldN: 20, NewN: 20}}}
	c.correct()
	for i, want := range []float64{0.03, 0.06, 0.06} {
		if got := c.Cells[i].P; got < want-1e-12 || got > want+1e-12 {
			t.Errorf("cell %d: p %g, want %g", i, got, want)
		}
	}
}

func TestOutputs(t *testing.T) {
	old := []results.Record{record("net", 1, 1000, 1), record("gone", 1, 1, 1)}
	new := []results.Record{record("net", 1, 1001, 1), record("fresh", 1, 1, 1)}
	c := Run(old, new, Defaults())
	var github, junit, lines bytes.Buffer
	if err := c.Annotations(&github); err != nil || !strings.Contains(github.String(), "::error title=benchctl compare::planned_peak of net") || !strings.Contains(github.String(), "0.10 %25") {
		t.Errorf("annotations: %v\n%s", err, github.String())
	}
	if err := c.JUnit(&junit); err != nil {
		t.Fatal(err)
	}
	var suite junitSuite
	if err := xml.Unmarshal(junit.Bytes(), &suite); err != nil || suite.Failures != 1 || suite.Skipped != 1 || suite.Tests != 2 {
		t.Errorf("junit: %v: %+v", err, suite)
	}
	if err := Benchmarks(&lines, new); err != nil || !strings.HasPrefix(lines.String(), "BenchmarkStep/network=net/method=bp/dataset=cifar10/batch=128 10 1000000000 ns/op 1001 planned-B\n") {
		t.Errorf("benchmarks: %v\n%s", err, lines.String())
	}
	notes := strings.Join(c.Tables(false)[0].Notes, " ")
	if !strings.Contains(notes, "Only in old: gone") || !strings.Contains(notes, "Only in new: fresh") {
		t.Errorf("notes: %s", notes)
	}
}

package compare

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/perf/benchfmt"

	"github.com/localbench/localbench/reports/rank"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// record is a finished run with the given seed, peak and step time.
func record(network string, seed uint64, peak int64, seconds float64) results.Record {
	r := results.Record{Status: results.StatusDone, Spec: results.Spec{Method: "bp", Network: network, Dataset: "cifar10",
		Batch: 128, Seed: seed, Epochs: 1, Precision: "f32", Backend: "cpu"}}
	r.Memory.PlannedPeakBytes = &peak
	r.Memory.ByCategory = map[string]int64{"saved activations": peak - 100, "parameters": 100}
	r.Environment.Libraries = map[string]string{"oneDNN": "2.6.3", "oneDNN_isa": "avx2", "isa": "avx2"}
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

// simulations is how many comparisons of a whole grid the two tests below make, with a fixed seed.
var simulations = flag.Int("simulations", 1000, "comparisons of 200 cells in TestFalseAlarms and TestDetection")

// The grid of both tests.
const (
	gridCells       = 200
	gridRepetitions = 20
)

// slowed is a cell of two sides of repetitions drawn from the recorded timings, the second slowed by a factor.
func slowed(tester *rank.Tester, random *rand.Rand, timings []float64, slow, threshold float64) Cell {
	m, _ := metricOf("step_time")
	draw := func(factor float64) (values []float64) {
		for range gridRepetitions {
			values = append(values, factor*timings[random.IntN(len(timings))])
		}
		return values
	}
	a, b := draw(1), draw(slow)
	return Cell{Metric: m.name, OldN: len(a), NewN: len(b), Threshold: threshold,
		Old: median(a), New: median(b), Change: m.change(median(a), median(b)), test: tester.Compare(a, b, m.change, m.less)}
}

// family compares a whole grid of such cells, of which the first is slowed, as Run does: the same test, judged by
// the same rule.
func family(tester *rank.Tester, random *rand.Rand, timings []float64, slow, threshold float64) (c Comparison) {
	for i := range gridCells {
		factor := 1.0
		if i == 0 {
			factor = slow
		}
		c.Cells = append(c.Cells, slowed(tester, random, timings, factor, threshold))
	}
	c.judge()
	return c
}

// TestFalseAlarms compares the same against the same, over a grid of 200 cells with 20
// repetitions: in at most 5 % of the comparisons may anything be called worse.
func TestFalseAlarms(t *testing.T) {
	timings, random := recorded(t), rand.New(rand.NewPCG(7, 11))
	var tester rank.Tester
	alarms, coarse := 0, 0
	for range *simulations {
		c := family(&tester, random, timings, 1, 0)
		if len(c.Worst(Regression)) > 0 {
			alarms++
		}
		for _, cell := range c.Cells {
			if cell.Smallest > Defaults()["step_time"] {
				coarse++
			}
		}
	}
	t.Logf("%d false alarms in %d comparisons of %d cells; %.2f %% of the cells could have missed 5 %%",
		alarms, *simulations, gridCells, 100*float64(coarse)/float64(*simulations*gridCells))
	if alarms > *simulations*5/100 {
		t.Errorf("%d false alarms in %d comparisons, want at most 5 %%", alarms, *simulations)
	}
}

// TestDetection slows one measurement of the grid: a slow-down of 5 % with a threshold of 3 %, and one of 10 % with
// the default one of 5 %, are found in more than 95 % of the comparisons, after the correction for all 200
// cells. A slow-down of just the threshold is found in about half of them, by the rule.
func TestDetection(t *testing.T) {
	timings := recorded(t)
	for _, row := range []struct{ slow, threshold, least, most float64 }{
		{0.05, 0.03, 0.95, 1},
		{0.10, Defaults()["step_time"], 0.95, 1},
		{0.05, Defaults()["step_time"], 0.35, 0.65},
	} {
		random, found := rand.New(rand.NewPCG(3, 5)), 0
		var tester rank.Tester
		for range *simulations {
			c := slowed(&tester, random, timings, 1+row.slow, row.threshold)
			c.judge(gridCells) // the other cells count by their number alone
			if c.Verdict == Regression {
				found++
			}
		}
		share := float64(found) / float64(*simulations)
		t.Logf("threshold %.0f %%: a slow-down of %.0f %% is found in %d of %d comparisons of %d cells",
			100*row.threshold, 100*row.slow, found, *simulations, gridCells)
		if share <= row.least || share > row.most {
			t.Errorf("threshold %.0f %%: a slow-down of %.0f %% is found in %d of %d comparisons, want a share above %g and at most %g",
				100*row.threshold, 100*row.slow, found, *simulations, row.least, row.most)
		}
	}
}

// TestFamilyIsRun: a whole grid through Run gives the verdicts and the corrected p that family gives.
func TestFamilyIsRun(t *testing.T) {
	timings := recorded(t)
	for seed := range uint64(3) {
		var tester rank.Tester
		got := family(&tester, rand.New(rand.NewPCG(seed, 1)), timings, 1.05, Defaults()["step_time"])
		random := rand.New(rand.NewPCG(seed, 1))
		var old, new []results.Record
		for i := range gridCells {
			factor := 1.0
			if i == 0 {
				factor = 1.05
			}
			for side, records := range []*[]results.Record{&old, &new} {
				for repetition := range gridRepetitions {
					slow := []float64{1, factor}[side]
					*records = append(*records, record(fmt.Sprintf("net%03d", i), uint64(repetition), 1<<20,
						slow*timings[random.IntN(len(timings))]))
				}
			}
		}
		want := Run(old, new, Defaults(), "step_time")
		if len(want.Cells) != gridCells {
			t.Fatalf("%d cells, want %d", len(want.Cells), gridCells)
		}
		for i, cell := range want.Cells {
			if got.Cells[i].Verdict != cell.Verdict || cell.P < 0.5 && got.Cells[i].P != cell.P {
				t.Errorf("seed %d, cell %d: got %s, p %g, want %s, p %g", seed, i, got.Cells[i].Verdict, got.Cells[i].P, cell.Verdict, cell.P)
			}
		}
	}
}

// TestOneByte: an exact metric is worse by a byte, and the cell says where it lies.
func TestOneByte(t *testing.T) {
	old, new := record("net", 1, 1<<30, 1), record("net", 1, 1<<30+1, 1)
	c := Run([]results.Record{old}, []results.Record{new}, Defaults(), "planned_peak")
	bad := c.Worst(Regression)
	if len(bad) != 1 || len(bad[0].Why) != 1 || !strings.Contains(bad[0].Why[0], "saved activations") ||
		!strings.Contains(bad[0].Why[0], "(+1)") {
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
// With one noisy cell that is 5: p is twice 2 / (10 choose 5) = 0.016, and with 4 twice
// 2 / (8 choose 4) = 0.057.
func TestTooFewRepetitions(t *testing.T) {
	old, new := []results.Record{record("net", 1, 1, 1)}, []results.Record{record("net", 1, 1, 2)}
	c := Run(old, new, Defaults(), "step_time")
	if c.Cells[0].Verdict != Inconclusive || c.Cells[0].Need != 5 || !strings.Contains(c.Sentence(), "at least 5 each are needed") {
		t.Errorf("got %+v: %s", c.Cells[0], c.Sentence())
	}
	for cells, want := range map[int]int{1: 5, 2: 5, 200: 9} {
		if got := Repetitions(cells); got != want {
			t.Errorf("%d cells need %d repetitions, want %d", cells, got, want)
		}
	}
}

var update = flag.Bool("update", false, "rewrite the golden files")

// outputsCase has a regression with its explanation, inconclusive cells, one that is better, and measurements
// without a partner.
func outputsCase() (Comparison, []results.Record) {
	old := []results.Record{record("net", 1, 1000, 1), record("small", 1, 500, 1), record("gone", 1, 1, 1)}
	new := []results.Record{record("net", 1, 1001, 1), record("small", 1, 400, 1), record("fresh", 1, 1, 1)}
	old[0].Memory.ByPhase = map[string]int64{"forward": 900, "backward": 1000}
	new[0].Memory.ByPhase = map[string]int64{"forward": 900, "backward": 1001}
	old[0].Memory.Top = []results.Value{{Name: "a", Category: "saved activations", Bytes: 900}}
	new[0].Memory.Top = []results.Value{{Name: "a", Category: "saved activations", Bytes: 901}}
	old[0].Memory.ByModule = []results.ModuleBytes{{Module: 0, Name: "module0", Bytes: 900},
		{Module: 1, Name: "module1", Bytes: 100}}
	new[0].Memory.ByModule = []results.ModuleBytes{{Module: 0, Name: "module0", Bytes: 901},
		{Module: 1, Name: "module1", Bytes: 100}}
	old[0].Memory.PeakOp, new[0].Memory.PeakOp = "conv at module0/b (backward, op 7)", "conv at module0/a (backward, op 8)"
	old[0].Environment.Commit, new[0].Environment.Commit = "0123456789abcdef", "fedcba9876543210"
	return Run(old, new, Defaults()), new
}

// TestOutputs holds every format against testdata/outputs.txtar, which a person has read.
func TestOutputs(t *testing.T) {
	c, new := outputsCase()
	got := &txtar.Archive{Comment: []byte("# go test ./reports/compare -run Outputs -update\n")}
	add := func(name string, write func(io.Writer) error) {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got.Files = append(got.Files, txtar.File{Name: name, Data: append(bytes.TrimRight(b.Bytes(), "\n"), '\n')})
	}
	for _, f := range table.Formats() {
		add("table"+f.Extension(), func(w io.Writer) error { return f.Write(w, c.Tables(true)...) })
	}
	add("annotations.txt", func(w io.Writer) error { return c.Annotations(w, "error") })
	add("junit.xml", func(w io.Writer) error { return c.JUnit(w, false) })
	add("benchmarks.txt", func(w io.Writer) error { return Benchmarks(w, new) })
	add("sentence.txt", func(w io.Writer) error { _, err := fmt.Fprintln(w, c.Sentence()); return err })
	const path = "testdata/outputs.txtar"
	if *update {
		if err := os.WriteFile(path, txtar.Format(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(txtar.Format(want)), string(txtar.Format(got))); d != "" {
		t.Errorf("%s: got +, want -:\n%s", path, d)
	}
	var suite junitSuite
	for _, f := range got.Files {
		if f.Name != "junit.xml" {
			continue
		}
		if err := xml.Unmarshal(f.Data, &suite); err != nil || suite.Failures != 4 || suite.Skipped != 0 || suite.Tests != 5 {
			t.Errorf("junit: %v: %+v", err, suite)
		}
	}
}

// TestConfirm: what was flagged by chance is let go by new runs, and a real slow-down is not.
func TestConfirm(t *testing.T) {
	repeat := func(network string, slow float64) (out []results.Record) {
		for seed := range uint64(10) {
			out = append(out, record(network, seed, 1, slow*(1+0.001*float64(seed))))
		}
		return out
	}
	old := append(repeat("lucky", 1), repeat("slow", 1)...)
	c := Run(old, append(repeat("lucky", 1.1), repeat("slow", 1.1)...), Defaults(), "step_time", "planned_peak")
	if n := len(c.Flagged()); n != 2 {
		t.Fatalf("%d flagged cells, want 2", n)
	}
	fresh := append(repeat("lucky", 1), repeat("slow", 1.1)...)
	c.Confirm(old, fresh, Defaults())
	bad := c.Worst(Regression)
	if len(bad) != 1 || !strings.HasPrefix(bad[0].Run, "slow") || bad[0].First != Regression || len(c.Cells) != 4 {
		t.Errorf("got %+v, want the slow one alone", bad)
	}
	if rows := c.Tables(false)[0].Rows; len(rows) != 2 || rows[0][10].Text != "same (measured again, was: regression)" {
		t.Errorf("got %+v, want a row for what was let go, too", rows)
	}
	// Planted: the fresh runs are of another machine, or missing.
	c = Run(old, append(repeat("lucky", 1.1), repeat("slow", 1.1)...), Defaults(), "step_time")
	c.Confirm(old, nil, Defaults())
	if n := len(c.Worst(Regression)); n != 2 {
		t.Errorf("without fresh runs: %d regressions, want both to stay", n)
	}
	for i := range old {
		old[i].Environment.CPU = "one"
	}
	for i := range fresh {
		fresh[i].Environment.CPU = "another"
	}
	c.Confirm(old, fresh, Defaults())
	if len(c.Apart) != 2 {
		t.Errorf("fresh runs of another machine: got %v, want two that cannot be compared", c.Apart)
	}
}

// TestFewRepetitions: as many repetitions as the table asks for find a slow-down, though
// they are too few for an interval.
func TestFewRepetitions(t *testing.T) {
	for _, n := range []uint64{5, 6} {
		var old, new []results.Record
		for seed := range n {
			old, new = append(old, record("net", seed, 1, 1+0.001*float64(seed))),
				append(new, record("net", seed, 1, 1.8+0.001*float64(seed)))
		}
		for _, r := range new { // the other side may have more
			r.Spec.Seed += n
			new = append(new, r)
		}
		for _, side := range [][]results.Record{new, new[:n]} {
			if c := Run(old, side, Defaults(), "step_time"); c.Cells[0].Verdict != Regression {
				t.Errorf("%d and %d repetitions, 80 %% slower: got %q (%g to %g), want %q", n, len(side), c.Cells[0].Verdict,
					c.Cells[0].Low, c.Cells[0].High, Regression)
			}
			if c := Run(side, old, Defaults(), "step_time"); c.Cells[0].Verdict != Better {
				t.Errorf("%d and %d repetitions, faster: got %q, want %q", n, len(side), c.Cells[0].Verdict, Better)
			}
		}
	}
}

// TestNewestCommit: an exact metric is judged by the newest commit of a side, whatever the
// order of the files, and the first of those that have the bytes is named.
func TestNewestCommit(t *testing.T) {
	at := func(hour int, commit string, peak int64) results.Record {
		r := record("net", uint64(hour), peak, 1)
		r.Started, r.Environment.Commit = time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC), commit
		return r
	}
	old := []results.Record{at(1, "base", 1000)}
	new := []results.Record{at(5, "later", 2000), at(3, "innocent", 1000), at(4, "culprit", 2000)}
	c := Run(old, new, Defaults(), "planned_peak")
	if s := c.Sentence(); !strings.HasSuffix(s, "(2000, was 1000) since commit culprit (base was base)") {
		t.Errorf("got %q", s)
	}
	mended := append(new, at(6, "mended", 1000))
	if bad := Run(old, mended, Defaults(), "planned_peak").Worst(Regression); len(bad) > 0 {
		t.Errorf("got %+v, want no regression: the newest commit has none", bad)
	}
}

// TestSince: the commit that is named is the first whose runs are worse.
func TestSince(t *testing.T) {
	at := func(hour int, commit string, seconds float64) results.Record {
		r := record("net", uint64(hour), 1, seconds)
		r.Started, r.Environment.Commit = time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC), commit
		return r
	}
	var old, new []results.Record
	for i := range 6 {
		old = append(old, at(i, "base", 1+0.001*float64(i)))
		new = append(new, at(18+i, "later", 1.2+0.001*float64(i)), at(12+i, "culprit", 1.2+0.001*float64(i)),
			at(6+i, "innocent", 1.001+0.001*float64(i)))
	}
	c := Run(old, new, Defaults(), "step_time")
	if s := c.Sentence(); len(c.Worst(Regression)) != 1 || !strings.HasSuffix(s, "since commit culprit (base was base)") {
		t.Errorf("got %q, want the commit culprit", s)
	}
}

// TestBenchmarksKeepApart: what tells records apart is in the names, so that benchstat averages over
// seeds alone; golang.org/x/perf reads the file.
func TestBenchmarksKeepApart(t *testing.T) {
	soft, hard, wide := record("net", 1, 1000, 1), record("net", 1, 1000, 1), record("net", 2, 1000, 1)
	soft.Spec.Options, hard.Spec.Options = map[string]string{"mode": "softmax"}, map[string]string{"mode": "contrast"}
	wide.Spec.Precision, wide.Spec.Options = "bf16", soft.Spec.Options
	soft.Environment.CPU = "a  processor"
	var out bytes.Buffer
	if err := Benchmarks(&out, []results.Record{soft, hard, wide}); err != nil {
		t.Fatal(err)
	}
	reader := benchfmt.NewReader(&out, "out")
	var names []string
	for reader.Scan() {
		switch line := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Error(line)
		case *benchfmt.Result:
			names = append(names, string(line.Name))
			if v, ok := line.Value("sec/op"); !ok || v != 1 {
				t.Errorf("%s: %g seconds, want 1", line.Name, v)
			}
			if got := line.GetConfig("epochs"); got != "1" {
				t.Errorf("%s: epochs %q, want 1", line.Name, got)
			}
		}
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != 3 || !strings.Contains(strings.Join(names, " "), "/precision=bf16") {
		t.Errorf("got %q, want three names", names)
	}
}

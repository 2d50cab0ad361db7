package table

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/localbench/localbench/results"
)

// run is a finished run with figures that follow from its arguments.
func run(method string, seed uint64, top1, mebibytes, milliseconds float64) results.Record {
	r := results.Record{Schema: results.Schema, Status: results.StatusDone,
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Spec: results.Spec{Method: method, Network: "resnet32", Dataset: "cifar10", Batch: 1024, Precision: "f32",
			Backend: "cpu", Seed: seed, Epochs: 400, LR: 0.8, WeightDecay: 1e-4, Momentum: 0.9, Nesterov: true},
		Environment: results.Environment{Version: "1.0.0", OS: "linux/amd64", CPU: "a cpu", Threads: new(int64(2))}}
	if method == "auglocal" {
		r.Spec.AuxDepth, r.Spec.Pyramid, r.Spec.Options = 2, true, map[string]string{"head": "deep"}
	}
	peak := int64(mebibytes * (1 << 20))
	r.Memory.PlannedPeakBytes, r.Memory.ArenaBytes = &peak, new(peak+1<<20)
	r.Memory.ProcessPeakBytes = new(peak + 100<<20)
	r.Time.StepSeconds = &results.Distribution{Median: milliseconds / 1e3, P05: milliseconds / 1e3, P95: milliseconds / 1e3, N: 10}
	r.Time.SamplesPerSecond = new(1024 / (milliseconds / 1e3))
	r.Accuracy.BestTop1, r.Accuracy.LastTop1 = &top1, new(top1-0.001)
	r.ID = results.SpecID(r.Spec)
	return r
}

func sweep() []results.Record {
	var records []results.Record
	for seed := range uint64(6) {
		x := float64(seed)
		records = append(records,
			run("bp", seed, 0.931+0.001*x, 800, 500+x),
			run("dgl", seed, 0.911+0.002*x, 400, 450-x),
			run("auglocal", seed, 0.929+0.001*x, 344, 600))
	}
	deep := run("auglocal", 0, 0.93, 380, 700)
	deep.Spec.AuxDepth = 5
	deep.ID = results.SpecID(deep.Spec)
	failed := results.Record{Schema: 1, Status: results.StatusOutOfMemory, Error: "arena: got 12 GiB, want at most 8 GiB",
		Spec: records[0].Spec, Environment: records[0].Environment}
	failed.Spec.Method = "infopro"
	failed.ID = results.SpecID(failed.Spec)
	diverged := run("predsim", 1, 0.1, 400, 400)
	diverged.Status, diverged.Time.DataShare = results.StatusDiverged, new(0.25)
	diverged.ID = results.SpecID(diverged.Spec)
	return append(records, deep, failed, diverged)
}

func TestSummaryGolden(t *testing.T) { golden(t, "summary", Summary(sweep())) }

// TestSummaryOfEnergy has a column for the energy of an epoch where a GPU told it: the mean over the
// epochs, and relative to BP.
func TestSummaryOfEnergy(t *testing.T) {
	bp, local := run("bp", 0, 0.93, 800, 500), run("dgl", 0, 0.91, 400, 450)
	bp.GPU.Epochs = []results.EpochEnergy{{Epoch: 1, EnergyJoules: 1500}, {Epoch: 2, EnergyJoules: 1700}}
	local.GPU.Epochs = []results.EpochEnergy{{Epoch: 1, EnergyJoules: 1200}}
	s := Summary([]results.Record{bp, local, run("predsim", 0, 0.9, 400, 450)})
	column := slices.IndexFunc(s.Columns, func(c Column) bool { return c.Key == "epoch_energy_joules" })
	if column < 0 {
		t.Fatal("no column for the energy")
	}
	if got := *s.Rows[0][column].Number; got != 1600 {
		t.Errorf("bp: got %g J, want the mean of 1500 and 1700", got)
	}
	for _, r := range s.Rows[1:] {
		switch c := r[column]; {
		case r[0].Text == "predsim" && c.Number != nil:
			t.Errorf("predsim: got %g J, want none: no GPU told", *c.Number)
		case r[0].Text == "dgl" && (*c.Number != 1200 || *c.Ratio != 0.75 || c.Best):
			t.Errorf("dgl: got %+v, want 1200 J, 0.75 of BP's, not marked: one run is no evidence", c)
		}
	}
}

func TestSummaryOfNothing(t *testing.T) {
	var b bytes.Buffer
	for _, f := range Formats() {
		if err := f.Write(&b, Summary(nil)); err != nil {
			t.Errorf("%s: %v", f.Name(), err)
		}
	}
}

func TestSummaryDoesNotDependOnTheOrderOfRecords(t *testing.T) {
	want := Summary(sweep())
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		records := sweep()
		random.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		if d := cmp.Diff(want, Summary(records)); d != "" {
			t.Fatal(d)
		}
	}
}

// at finds a cell by the text of its row's cells and its column's key.
func at(t *testing.T, table Table, row int, key string) Cell {
	t.Helper()
	for i, c := range table.Columns {
		if c.Key == key {
			return table.Rows[row][i]
		}
	}
	t.Fatalf("got no column %s", key)
	return Cell{}
}

func has(table Table, key string) bool {
	for _, c := range table.Columns {
		if c.Key == key {
			return true
		}
	}
	return false
}

func TestRatiosAreToTheRightBP(t *testing.T) {
	change := func(r results.Record, f func(*results.Record)) results.Record {
		f(&r)
		r.ID = results.SpecID(r.Spec)
		return r
	}
	bp, dgl := run("bp", 0, 0.9, 800, 500), run("dgl", 0, 0.9, 400, 500)
	for name, row := range map[string]struct {
		records []results.Record
		ratio   string // of the last row
		note    string
	}{
		"the same task and machine": {[]results.Record{bp, dgl}, "400.0 MiB (0.50x)", "relative to BP"},
		"another seed": {[]results.Record{bp, change(dgl, func(r *results.Record) { r.Spec.Seed = 9 })},
			"400.0 MiB (0.50x)", ""},
		"another batch": {[]results.Record{bp, change(dgl, func(r *results.Record) { r.Spec.Batch = 2048 })},
			"400.0 MiB", ""},
		"another precision": {[]results.Record{bp, change(dgl, func(r *results.Record) { r.Spec.Precision = "tf32" })},
			"400.0 MiB", ""},
		"another machine": {[]results.Record{bp, change(dgl, func(r *results.Record) { r.Environment.CPU = "other" })},
			"400.0 MiB", ""},
		"other quirks": {[]results.Record{bp, change(dgl, func(r *results.Record) { r.Spec.Quirks = "paper" })},
			"400.0 MiB", ""},
		"another commit is noted": {[]results.Record{bp, change(dgl, func(r *results.Record) { r.Environment.Commit = "b" })},
			"400.0 MiB (0.50x)", "differs in environment.commit"},
		"of two BPs the one with the same epochs": {[]results.Record{bp, dgl,
			change(run("bp", 0, 0.9, 1600, 500), func(r *results.Record) { r.Spec.Epochs = 5 })}, "400.0 MiB (0.50x)", ""},
		"of two BPs none fits": {[]results.Record{
			change(bp, func(r *results.Record) { r.Spec.Epochs = 4 }), dgl,
			change(bp, func(r *results.Record) { r.Spec.Epochs = 5 })}, "400.0 MiB", "2 runs of BP are comparable, and none agree"},
		"a BP that did not fit has its plan": {[]results.Record{
			change(bp, func(r *results.Record) { r.Status = results.StatusOutOfMemory }), dgl}, "400.0 MiB (0.50x)", ""},
		"a finished BP comes before one that did not finish": {[]results.Record{bp, dgl,
			change(run("bp", 5, 0.9, 1600, 500), func(r *results.Record) { r.Status = results.StatusFailed })}, "400.0 MiB (0.50x)", ""},
	} {
		t.Run(name, func(t *testing.T) {
			table := Summary(row.records)
			if got := at(t, table, len(table.Rows)-1, "planned_peak_bytes").String(); got != row.ratio {
				t.Errorf("got %s, want %s", got, row.ratio)
			}
			if notes := strings.Join(table.Notes, "\n"); !strings.Contains(notes, row.note) {
				t.Errorf("got notes %s, want %q", notes, row.note)
			}
		})
	}
}

func TestOnlyWhatVariesHasAColumn(t *testing.T) {
	same := Summary([]results.Record{run("bp", 0, 0.9, 800, 500), run("dgl", 0, 0.9, 400, 500), run("auglocal", 0, 0.9, 300, 500)})
	for _, key := range []string{"method", "network", "dataset", "batch", "planned_peak_bytes"} {
		if !has(same, key) {
			t.Errorf("%s: got no column", key)
		}
	}
	for _, key := range []string{"epochs", "seeds", "status", "aux_depth", "pyramid", "options_head", "driver_peak_bytes",
		"environment_cpu"} {
		if has(same, key) {
			t.Errorf("%s: got a column though all rows agree or none has it", key)
		}
	}
	if !strings.Contains(same.Notes[0], "epochs 400") || !strings.Contains(same.Notes[0], "cpu a cpu") ||
		!strings.Contains(same.Notes[0], "aux depth 2 (auglocal)") {
		t.Errorf("got note %q, want the settings that all rows share", same.Notes[0])
	}
	mixed := Summary(sweep())
	for _, key := range []string{"aux_depth", "seeds", "status"} {
		if !has(mixed, key) {
			t.Errorf("%s: got no column though rows differ", key)
		}
	}
}

// seeds are runs of n seeds, with top-1 rising by a thousandth from one to the next.
func seeds(n uint64, method string, top1, mebibytes, milliseconds float64) (out []results.Record) {
	for seed := range n {
		x := float64(seed)
		out = append(out, run(method, seed, top1+0.001*x, mebibytes, milliseconds+x))
	}
	return out
}

func TestUnfinishedRunsAreShownAndNeverBest(t *testing.T) {
	best := run("dgl", 0, 0.99, 1, 1)
	best.Status, best.Error = results.StatusInterrupted, ""
	table := Summary(append(append(seeds(6, "bp", 0.9, 800, 500), best), seeds(6, "auglocal", 0.92, 700, 600)...))
	if got := at(t, table, 1, "status").Text; got != "interrupted" {
		t.Fatalf("got status %q, want the interrupted run in the second row", got)
	}
	for _, c := range table.Rows[1] {
		if c.Best {
			t.Errorf("got %q marked as best", c.Text)
		}
	}
	if !at(t, table, 2, "best_top1").Best || at(t, table, 0, "best_top1").Best {
		t.Error("want the best of the finished runs marked")
	}
}

// TestMarksNeedEvidence: measured values are marked where a difference is significant, and shared where it is not;
// planned memory is exact and needs one run.
func TestMarksNeedEvidence(t *testing.T) {
	marks := func(records []results.Record, key string) (out []string) {
		table := Summary(records)
		for i, row := range table.Rows {
			if at(t, table, i, key).Best {
				out = append(out, row[0].Text)
			}
		}
		return out
	}
	two := slices.Concat(seeds(2, "bp", 0.0977, 800, 500), seeds(2, "auglocal", 0.0918, 400, 600))
	six := slices.Concat(seeds(6, "bp", 0.93, 800, 500), seeds(6, "dgl", 0.90, 400, 501), seeds(6, "auglocal", 0.929, 344, 600))
	one := slices.Concat(six[:12], seeds(1, "auglocal", 0.99, 300, 100))
	for _, row := range []struct {
		name    string
		records []results.Record
		key     string
		want    []string
	}{
		{"two seeds, accuracy", two, "best_top1", nil},
		{"two seeds, time", two, "step_seconds", nil},
		{"two seeds, planned memory", two, "planned_peak_bytes", []string{"auglocal"}},
		{"two share the accuracy", six, "best_top1", []string{"bp", "auglocal"}},
		{"two share the time", six, "step_seconds", []string{"bp", "dgl"}},
		{"the best has one seed", one, "best_top1", nil},
		{"the best has one seed, planned memory", one, "planned_peak_bytes", []string{"auglocal"}},
	} {
		if got := marks(row.records, row.key); !slices.Equal(got, row.want) {
			t.Errorf("%s: %v are marked, want %v", row.name, got, row.want)
		}
	}
	said := func(records []results.Record) bool {
		return strings.Contains(strings.Join(Summary(records).Notes, "\n"), "Marked: ")
	}
	if said(two) || !said(six) {
		t.Error("the note on marks is to stand where a measured value is marked")
	}
	for _, f := range []struct {
		format Format
		mark   string
	}{{latex{}, `\textbf{93.25 $\pm$ 0.19}`}, {markdown{}, "**93.25 ± 0.19**"}} {
		var b bytes.Buffer
		if err := f.format.Write(&b, Summary(six)); err != nil || !strings.Contains(b.String(), f.mark) ||
			!strings.Contains(b.String(), strings.ReplaceAll(f.mark, "93.25", "93.15")) {
			t.Errorf("%s: %v: no %q, shared:\n%s", f.format.Name(), err, f.mark, b.String())
		}
	}
}

func TestMissingMeasurementsAreSaid(t *testing.T) {
	records := []results.Record{run("bp", 0, 0.90, 800, 500), run("bp", 1, 0.92, 800, 500), run("bp", 2, 0.5, 800, 500)}
	records[2].Accuracy = results.Accuracy{}
	if got, want := at(t, Summary(records), 0, "best_top1").Text, "91.00 ± 1.41, n=2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNaturalOrder(t *testing.T) {
	names := []string{"", "a", "resnet9", "resnet32", "resnet32b", "resnet110", "vgg"}
	for i, a := range names {
		for j, b := range names {
			if got := CompareNatural(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%q, %q: got %d", a, b, got)
			}
		}
	}
}

func BenchmarkSummary(b *testing.B) {
	var records []results.Record
	for i := range 300 {
		r := run("bp", uint64(i%3), 0.9, 800, 500)
		r.Spec.LR = float64(i / 3)
		r.ID = fmt.Sprint(i)
		records = append(records, r)
	}
	for b.Loop() {
		Summary(records)
	}
}

// A run whose test loss is no number at its end is done, and a reader has to know.
func TestLossThatIsNoNumberIsSaid(t *testing.T) {
	good, bad := run("bp", 1, 0.9, 100, 10), run("dgl", 1, 0.1, 50, 10)
	good.Accuracy.Epochs = []results.Epoch{{Epoch: 1, TestTop1: new(0.9)}, {Epoch: 2, TestTop1: new(0.9), TestLoss: new(0.3)}}
	bad.Accuracy.Epochs = []results.Epoch{{Epoch: 1, TestTop1: new(0.1), TestLoss: new(2.0)}, {Epoch: 2, TestTop1: new(0.1)}}
	notes := strings.Join(Summary([]results.Record{good, bad}).Notes, "\n")
	if strings.Count(notes, "is not finite") != 1 || !strings.Contains(notes, bad.ID+": the test loss of the last epoch") {
		t.Errorf("got %s, want a note of %s alone", notes, bad.ID)
	}
}

// TestThreadsHaveOneColumn: records that differ in their threads say so in the spec, in the environment and in the
// facts of the library; the table says it once, unless they contradict each other.
func TestThreadsHaveOneColumn(t *testing.T) {
	var records []results.Record
	for _, threads := range []int64{1, 2} {
		r := run("bp", 1, 0.9, 100, 10)
		r.Spec.Threads, r.Environment.Threads = threads, &threads
		r.Environment.Libraries = map[string]string{"threads": fmt.Sprint(threads)}
		records = append(records, r)
	}
	headings := func() (found []string) {
		for _, c := range Summary(records).Columns {
			if strings.Contains(c.Name, "threads") {
				found = append(found, c.Name)
			}
		}
		return found
	}
	if got := headings(); !slices.Equal(got, []string{"threads"}) {
		t.Errorf("got the columns %q, want one of threads", got)
	}
	records[1].Environment.Threads = new(int64(1))
	records[0].Environment.Threads = new(int64(2))
	if got := headings(); !slices.Equal(got, []string{"threads", "environment threads"}) {
		t.Errorf("got the columns %q, want that of the spec and that of the environment", got)
	}
}

// What Totals removes from records is not shown by the table.
func TestSummaryOfTotals(t *testing.T) {
	full, err := filepath.Glob(filepath.Join("..", "..", "results", "reproductions", "*"))
	full = slices.DeleteFunc(full, func(path string) bool { return filepath.Ext(path) == ".md" })
	if err != nil || len(full) == 0 {
		t.Fatalf("no folders of records: %v", err)
	}
	read := func(details func(*results.Record)) string {
		records, _, err := results.ReadAll(full, details)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := ForTerminal(0).Write(&text, Summary(records)); err != nil {
			t.Fatal(err)
		}
		return text.String()
	}
	if all, totals := read(func(*results.Record) {}), read(results.Totals); all != totals {
		t.Errorf("of whole records:\n%s\nof totals:\n%s", all, totals)
	}
}

package planned

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// ofMethod is a plan of a method on one network; its planned peak, step arena and arena are in KiB.
func ofMethod(method string, peak, step, arena int64) results.Plan {
	kib := func(n int64) *int64 { return new(n << 10) }
	return results.Plan{Spec: results.Spec{Method: method, Network: "n", Dataset: "d", Batch: 8, Precision: "f32"}, LocalModules: 3,
		Memory: results.Memory{PlannedPeakBytes: kib(peak), StepArenaBytes: kib(step), ArenaBytes: kib(arena),
			LowerBoundBytes: kib(peak), PeakOp: "op"}}
}

// ratios are the ratios of a row, where cells have one.
func ratios(row []table.Cell) (all []float64) {
	for _, c := range row {
		if c.Ratio != nil {
			all = append(all, *c.Ratio)
		}
	}
	return all
}

// Sizes are related to bp of the same network, data set and batch, and to no other.
func TestSizes(t *testing.T) {
	other := ofMethod("dgl", 50, 60, 70)
	other.Spec.Batch = 16
	other.UnknownWorkspaces = 4
	sizes := Sizes([]results.Plan{ofMethod("bp", 100, 200, 400), ofMethod("dgl", 50, 50, 300), other})
	want := "bp | n | d | 8 |  | 3 | 100.0 KiB | 200.0 KiB | 400.0 KiB | 100.0 KiB | 0 B | op | 0\n" +
		"dgl | n | d | 8 |  | 3 | 50.00 KiB | 50.00 KiB | 300.0 KiB | 50.00 KiB | 0 B | op | 0\n" +
		"dgl | n | d | 16 |  | 3 | 50.00 KiB | 60.00 KiB | 70.00 KiB | 50.00 KiB | 0 B | op | 4"
	if got := lines(sizes); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := ratios(sizes.Rows[1]); len(got) != 3 || got[0] != 0.5 || got[1] != 0.25 || got[2] != 0.75 {
		t.Errorf("dgl over bp: got %v, want 0.5, 0.25, 0.75", got)
	}
	if got := ratios(sizes.Rows[2]); got != nil {
		t.Errorf("another batch: got %v, want no ratios", got)
	}
	if len(sizes.Notes) != 2 {
		t.Errorf("got the notes %q, want what brackets and unknown workspaces mean", sizes.Notes)
	}
}

// A run with an option that costs or saves memory is shown beside the same run without it; others have no row.
func TestPlansBesideThoseWithout(t *testing.T) {
	plain, overlapped, bounded := ofMethod("bp", 10, 20, 40), ofMethod("dgl", 30, 40, 60), ofMethod("bp", 5, 10, 20)
	overlapped.Settings.Overlap = 2
	overlapped.Without = map[string]*results.Plan{"overlap": new(ofMethod("dgl", 20, 20, 50))}
	bounded.Settings.Budget, bounded.Recomputed = 21<<10, 1234
	bounded.Model.FLOPsPerSample.Step = new(int64(4e6))
	free := ofMethod("bp", 10, 20, 40)
	free.Model.FLOPsPerSample.Step = new(int64(3e6))
	bounded.Without = map[string]*results.Plan{"budget": &free}
	all := []results.Plan{plain, overlapped, bounded}
	overlap, budget := Overlap(all), Budget(all)
	if got, want := lines(overlap), "dgl | n | d | 8 |  | 3 | 2 | 30.00 KiB | 40.00 KiB | 20.00 KiB | 20.00 KiB"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := ratios(overlap.Rows[0]); len(got) != 2 || got[0] != 1.5 || got[1] != 2 {
		t.Errorf("overlap: got %v, want 1.5 and 2", got)
	}
	if got, want := lines(budget), "bp | n | d | 8 |  | 3 | 21.00 KiB | 20.00 KiB | 40.00 KiB | 1,234 | 4,000,000"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := ratios(budget.Rows[0]); len(got) != 2 || got[0] != 0.5 || got[1] != 4.0/3 {
		t.Errorf("budget: got %v, want 0.5 and 4/3", got)
	}
}

// Runs that differ in settings which no column shows have columns for these, and each is compared with its own bp; settings
// that all share stand in the title.
func TestPlansToldApart(t *testing.T) {
	of := func(method, precision, fuse string, peak int64) results.Plan {
		p := ofMethod(method, peak, peak, peak)
		p.Settings.FuseNorm = fuse
		p.Spec = p.Spec.WithSettings(p.Settings)
		p.Spec.Precision = precision
		return p
	}
	all := []results.Plan{of("bp", "f32", "", 40), of("bp", "f32", "input", 30), of("bp", "bf16", "input", 10),
		of("dgl", "f32", "input", 15), of("dgl", "bf16", "input", 5)}
	sizes := Sizes(all)
	var keys []string
	for _, c := range sizes.Columns[:9] {
		keys = append(keys, c.Key)
	}
	if got, want := strings.Join(keys, " "),
		"method network dataset batch aux_depth modules precision options_fuse_norm planned_peak_bytes"; got != want {
		t.Errorf("got the columns %s, want %s", got, want)
	}
	if got := sizes.Rows[1][6].Text + sizes.Rows[1][7].Text + sizes.Rows[0][7].Text; got != "f32input" {
		t.Errorf("got %q, want f32 and input, and an empty cell for none", got)
	}
	for i, want := range []float64{0.5, 0.5} {
		if got := ratios(sizes.Rows[3+i]); len(got) == 0 || got[0] != want {
			t.Errorf("row %d: got the ratios %v, want %g of bp with the same settings", 3+i, got, want)
		}
	}
	if sizes.Title != "Memory of a training step" {
		t.Errorf("got the title %q, want one without settings that vary", sizes.Title)
	}
	if got, want := Sizes(all[2:3]).Title, "Memory of a training step, bf16, fuse norm input"; got != want {
		t.Errorf("got the title %q, want %q", got, want)
	}
	if got := len(Sizes(all[2:3]).Columns); got != len(sizes.Columns)-2 {
		t.Errorf("got %d columns for one run, want 2 fewer than %d", got, len(sizes.Columns))
	}
}

// A run that fits into its budget only by an option has a row, and no figures to compare with.
func TestPlanThatNeedsItsOption(t *testing.T) {
	stored := ofMethod("bp", 5, 10, 20)
	stored.Settings.Store, stored.Settings.Budget = "int8", 21<<10
	stored.Without = map[string]*results.Plan{"store": nil}
	got := Store([]results.Plan{stored})
	if want := "bp | n | d | 8 |  | 3 | int8 | 5.000 KiB | 10.00 KiB |  | "; lines(got) != want {
		t.Errorf("got\n%s\nwant\n%s", lines(got), want)
	}
	if len(got.Notes) != 2 || got.Notes[1] != overBudgetNote {
		t.Errorf("got the notes %q, want one about the budget", got.Notes)
	}
}

// People get a column for each of up to three runs, the largest category first; programs get every category in a fixed order.
func TestCategoriesForPeopleAndPrograms(t *testing.T) {
	a, b := ofMethod("bp", 1, 1, 1), ofMethod("dgl", 1, 1, 1)
	a.Memory.ByCategory = map[string]int64{"parameters": 10, "gradients": 300}
	b.Memory.ByCategory = map[string]int64{"parameters": 20}
	people := Categories([]results.Plan{a, b}, true)
	if got, want := lines(people), "gradients | 300 B | 0 B\nparameters | 10 B | 20 B"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := people.Columns[2].Name; got != "dgl" {
		t.Errorf("the column of the second run is %q, want its method", got)
	}
	programs, first := Categories([]results.Plan{a, b}, false), len(table.SpecColumns())
	if len(programs.Rows) != 2 || len(programs.Columns) != first+len(results.Categories()) {
		t.Fatalf("got %d rows of %d columns", len(programs.Rows), len(programs.Columns))
	}
	for i, category := range results.Categories() {
		key := strings.ReplaceAll(category, " ", "_") + "_bytes"
		if c := programs.Columns[first+i]; c.Key != key || *programs.Rows[0][first+i].Number != float64(a.Memory.ByCategory[category]) {
			t.Errorf("column %d is %s with %s, want %s with %d", i, c.Key, programs.Rows[0][first+i].Text, key,
				a.Memory.ByCategory[category])
		}
	}
	if many := Categories([]results.Plan{a, b, a, b}, true); len(many.Rows) != 4 || len(many.Columns) != first+2 {
		t.Errorf("four runs: got %d rows of %d columns, want a row for each run and its categories", len(many.Rows), len(many.Columns))
	}
	b.UnknownWorkspaces = 1
	if got := lines(Categories([]results.Plan{b}, true)); !strings.Contains(got, results.CategoryWorkspace+" | not known") {
		t.Errorf("got\n%s\nwant workspaces that are not known", got)
	}
}

// Whether all fits is not claimed where workspaces are not known.
func TestFitNote(t *testing.T) {
	small, large := ofMethod("dgl", 1, 1, 10), ofMethod("bp", 1, 1, 30)
	partly := small
	partly.UnknownWorkspaces = 1
	for _, c := range []struct {
		plans []results.Plan
		want  string
	}{
		{[]results.Plan{small}, "All fit into"},
		{[]results.Plan{small, large}, "Does not fit into"},
		{[]results.Plan{small, partly}, "it cannot be told"},
		{[]results.Plan{large, partly}, "bp of n with batch 8 needs 30.00 KiB"},
	} {
		if got := FitNote(20<<10, c.plans); !strings.Contains(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// The verdict of an audit is broken where there are findings; a run of one module has nothing to isolate.
func TestIsolation(t *testing.T) {
	spec := results.Spec{Method: "dgl", Network: "n", Dataset: "d", Batch: 8}
	tables, broken := Isolation([]results.Audit{{Spec: spec, LocalModules: 2, Stages: 2}, {Spec: spec, Stages: 1},
		{Spec: spec, LocalModules: 2, Stages: 2, Findings: []results.Finding{{Module: 1, Tensor: "t", What: "crosses"}}}})
	want := "dgl | n | d | 8 |  | 2 | 2 | 0 | isolated\ndgl | n | d | 8 |  |  | 1 | 0 | one module: nothing to isolate\n" +
		"dgl | n | d | 8 |  | 2 | 2 | 1 | broken"
	if got := lines(tables[0]); got != want || broken != 1 || len(tables) != 2 {
		t.Errorf("got %d broken of\n%s\nwant 1 of\n%s", broken, got, want)
	}
	if got, want := lines(tables[1]), results.SpecID(spec)+" | 1 | t | crosses"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if tables, broken := Isolation([]results.Audit{{Spec: spec, Stages: 2}}); broken != 0 || len(tables) != 1 {
		t.Errorf("isolated: got %d broken and %d tables, want none and one", broken, len(tables))
	}
}

// Kernels of one kind, shape and name are one row; the row that takes the most time is first.
func TestKernels(t *testing.T) {
	p := Profiled{Plan: ofMethod("bp", 1, 1, 1)}
	p.Kernels = []results.Kernel{{Op: 0, Kind: "conv", Operands: "a", Name: "x", WorkspaceBytes: 10},
		{Op: 1, Kind: "linear", Operands: "b", Name: "y"}, {Op: 2, Kind: "conv", Operands: "a", Name: "x", WorkspaceBytes: 30}}
	p.Found.OpSeconds = []float64{0.001, 0.0035, 0.002}
	if got, want := lines(p.kernels()), "linear | b | y | 1 | 0 B | 3.50\nconv | a | x | 2 | 30 B | 3.00"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLabel(t *testing.T) {
	s := results.Spec{Method: "auglocal", Network: "n", Dataset: "d", Batch: 8, AuxDepth: 2, Modules: 4,
		Options: map[string]string{"overlap": "2", "network_digest": "sha256:1", "cuts": "even"}}
	if got, want := Label(s), "n auglocal d b8 d2 K4 even overlap 2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

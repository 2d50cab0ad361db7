package plans_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/localbench/localbench/plans"
	"github.com/localbench/localbench/reports/table"
)

// shared is the folder of reading material beside the repository, or $LOCALBENCH_SHARED.
func shared(t *testing.T, path string) string {
	t.Helper()
	folder := os.Getenv("LOCALBENCH_SHARED")
	if folder == "" {
		folder = filepath.Join("..", "..", "shared")
	}
	path = filepath.Join(folder, path)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the predictions are not compared with measured peaks: %v", err)
	}
	return path
}

// TestScoreboard compares predictions with 36 peaks that others measured on GPUs (docs/validation.md): the median error is at
// most 3.6 %, which is that of the best published tool, and none is beyond 15 %.
func TestScoreboard(t *testing.T) {
	o := plans.Validation{File: shared(t, "validation/measured-dev.csv"), Networks: shared(t, "validation/networks"),
		FitOn: "ResNet152", Usable: 0.9}
	a, err := o.Run()
	if err != nil {
		t.Fatal(err)
	}
	number := func(tb table.Table, row int, key string) (float64, bool) {
		for i, c := range tb.Columns {
			if c.Key == key && tb.Rows[row][i].Number != nil {
				return *tb.Rows[row][i].Number, true
			}
		}
		return 0, false
	}
	summary, cells := a.Tables[0], a.Tables[1]
	if median, ok := number(summary, 0, "median_percent"); !ok || median > 3.6 {
		t.Errorf("got a median error of %g %%, want at most 3.6 %%", median)
	}
	if len(cells.Rows) != 36 {
		t.Errorf("got %d runs, want 36", len(cells.Rows))
	}
	predicted := 0
	for i, row := range cells.Rows {
		off, ok := number(cells, i, "error_percent")
		if ok {
			predicted++
			t.Logf("%s %s %s: %+.1f %%", row[0].Text, row[1].Text, row[2].Text, off)
		}
		if off > 15 || off < -15 {
			t.Errorf("%s %s %s: the error is %+.1f %%, want at most 15 %%", row[0].Text, row[1].Text, row[2].Text, off)
		}
	}
	if predicted != 36 {
		t.Errorf("got %d predictions, want 36", predicted)
	}
}

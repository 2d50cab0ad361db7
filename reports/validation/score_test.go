package validation_test

import (
	"math"
	"strings"
	"testing"

	"github.com/localbench/localbench/reports/validation"
	"github.com/localbench/localbench/results/peaks"
)

func cell(network string, measured, reserved int64, other float64) validation.Cell {
	return validation.Cell{Row: peaks.Row{Network: network, Optimizer: "SGD", Batch: 1, MeasuredBytes: measured,
		Others: map[string]float64{"other": other}}, ReservedBytes: reserved}
}

// TestScore: by hand. The constant is fitted on a: 100 and 300 bytes are missing, the median is 200. Of b and c that leaves
// 900+200 for 1000 (+10 %), 1800+200 for 2000 (0 %) and 700+200 for 1000 (-10 %), and d is not predicted.
func TestScore(t *testing.T) {
	missing := cell("d", 5000, 0, 5000)
	missing.Missing = "unknown ops"
	cells := []validation.Cell{cell("a", 1000, 900, 1000), cell("a", 1000, 700, 1000), cell("b", 1000, 900, 1500),
		cell("b", 2000, 1800, 2000), cell("c", 1000, 700, 800), missing}
	b := validation.Score(cells, []string{"other"}, "a")
	if b.ConstantBytes != 200 {
		t.Errorf("got a constant of %d bytes, want 200", b.ConstantBytes)
	}
	want := []validation.Summary{{"benchctl", 3, 0.1, 0.1, 0.1}, {"other", 3, 0.2, 0.5, 0.5}}
	for i, s := range b.Summaries() {
		w := want[i]
		near := math.Abs(s.Median-w.Median)+math.Abs(s.P90-w.P90)+math.Abs(s.Worst-w.Worst) < 1e-9
		if s.Predictor != w.Predictor || s.Cells != w.Cells || !near {
			t.Errorf("got %+v, want %+v", s, w)
		}
	}
	if none := validation.Score(cells, nil, ""); none.ConstantBytes != 0 || none.Summaries()[0].Cells != 5 {
		t.Errorf("got %+v, want no constant, and 5 runs", none.Summaries()[0])
	}
}

// TestConstantIsNotNegative: a prediction that is too large has no constant.
func TestConstantIsNotNegative(t *testing.T) {
	if b := validation.Score([]validation.Cell{cell("a", 1000, 1200, 1)}, nil, "a"); b.ConstantBytes != 0 {
		t.Errorf("got %d bytes, want 0", b.ConstantBytes)
	}
}

// TestNotes: runs beyond 15 %, wrong verdicts, and why a run has no prediction are said below the tables.
func TestNotes(t *testing.T) {
	far, ended := cell("far", 1000, 1200, 1), cell("ended", 0, 900, 1)
	ended.OutOfMemory, ended.CapacityBytes = new(true), 800
	missing := cell("missing", 1000, 0, 1)
	missing.Missing = "x.pt2: unknown ops"
	tables := validation.Score([]validation.Cell{far, ended, missing}, nil, "").Tables()
	notes := strings.Join(append(tables[0].Notes, tables[1].Notes...), "\n")
	for _, want := range []string{"0 of 1 verdicts are right. Wrong: ended SGD 1.", "Beyond 15 %: far SGD 1.",
		"No prediction: x.pt2: unknown ops."} {
		if !strings.Contains(notes, want) {
			t.Errorf("got notes %q, want %q", notes, want)
		}
	}
}

package validation

import (
	"fmt"
	"strings"

	"github.com/localbench/localbench/reports/table"
)

// large is the size of an error that is named in a note.
const large = 0.15

// Tables are the summary of all predictors, and the runs.
func (b Board) Tables() []table.Table { return []table.Table{b.summaryTable(), b.cellTable()} }

func (b Board) summaryTable() table.Table {
	t := table.Table{ID: "summary", Title: "Errors of predicted training peaks", Columns: []table.Column{
		table.TextColumn("predictor", "predictor"), table.NumberColumn("cells", "runs"),
		table.NumberColumn("median_percent", "median error [%]"), table.NumberColumn("p90_percent", "90th percentile [%]"),
		table.NumberColumn("worst_percent", "worst [%]")}}
	for _, s := range b.Summaries() {
		row := []table.Cell{table.Text(s.Predictor), table.Number(float64(s.Cells), fmt.Sprint(s.Cells))}
		for _, x := range []float64{s.Median, s.P90, s.Worst} {
			cell := table.Cell{}
			if s.Cells > 0 {
				cell = table.Number(100*x, fmt.Sprintf("%.1f", 100*x))
			}
			row = append(row, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	t.Notes = append(t.Notes, "Errors without their sign, relative to the measured peak, of the runs that benchctl predicts.")
	switch {
	case b.FitOn != "":
		t.Notes = append(t.Notes, fmt.Sprintf("Predicted: what PyTorch's allocator reserves, and %s for what lies outside of it, "+
			"fitted on %s, whose runs are left out of the summary.", table.Bytes(b.ConstantBytes), b.FitOn))
	default:
		t.Notes = append(t.Notes, "Predicted: what PyTorch's allocator reserves; nothing is fitted. --fit-on NETWORK adds a constant.")
	}
	if verdicts := b.verdicts(); verdicts != "" {
		t.Notes = append(t.Notes, verdicts)
	}
	return t
}

// verdicts says how many predictions of fitting are right, where the GPU's memory is known.
func (b Board) verdicts() string {
	right, known := 0, 0
	var wrong []string
	for _, c := range b.Cells {
		if c.Missing != "" || c.CapacityBytes == 0 || c.OutOfMemory == nil && c.MeasuredBytes == 0 {
			continue
		}
		known++
		if ended := c.OutOfMemory != nil && *c.OutOfMemory; ended == c.PredictedOutOfMemory {
			right++
		} else {
			wrong = append(wrong, fmt.Sprintf("%s %s %d", c.Network, c.Optimizer, c.Batch))
		}
	}
	if known == 0 {
		return ""
	}
	text := fmt.Sprintf("Fits or out of memory: %d of %d verdicts are right.", right, known)
	if len(wrong) > 0 {
		text += " Wrong: " + strings.Join(wrong, ", ") + "."
	}
	return text
}

func (b Board) cellTable() table.Table {
	t := table.Table{ID: "cells", Title: "Measured and predicted peaks", Columns: []table.Column{
		table.TextColumn("network", "network"), table.TextColumn("optimizer", "optimizer"), table.NumberColumn("batch", "batch"),
		table.TextColumn("zero_grad", "zero_grad"), table.TextColumn("gpu", "GPU"),
		table.NumberColumn("measured_bytes", "measured"), table.NumberColumn("predicted_bytes", "predicted"),
		table.NumberColumn("error_percent", "error [%]"), table.TextColumn("verdict", "verdict")}}
	for _, name := range b.Predictors {
		t.Columns = append(t.Columns, table.NumberColumn(name+"_error_percent", name+" [%]"))
	}
	percent := func(x float64, ok bool) table.Cell {
		if !ok {
			return table.Cell{}
		}
		return table.Number(100*x, fmt.Sprintf("%+.1f", 100*x))
	}
	var beyond, missing []string
	seen := map[string]bool{}
	for _, c := range b.Cells {
		off, ok := b.Error(c)
		if ok && (off > large || off < -large) {
			beyond = append(beyond, fmt.Sprintf("%s %s %d", c.Network, c.Optimizer, c.Batch))
		}
		predicted, measuredCell := table.Cell{}, table.Cell{}
		if c.Missing == "" {
			predicted = table.BytesCell(new(b.Predicted(c)))
		} else if !seen[c.Missing] {
			seen[c.Missing] = true
			missing = append(missing, "No prediction: "+c.Missing+".")
		}
		if c.MeasuredBytes > 0 {
			measuredCell = table.BytesCell(&c.MeasuredBytes)
		}
		row := []table.Cell{table.Text(c.Network), table.Text(c.Optimizer), table.Number(float64(c.Batch), fmt.Sprint(c.Batch)),
			table.Text(c.ZeroGrad), table.Text(c.GPU), measuredCell, predicted, percent(off, ok), table.Text(b.verdict(c))}
		for _, name := range b.Predictors {
			row = append(row, percent(c.OtherError(name)))
		}
		t.Rows = append(t.Rows, row)
	}
	if len(beyond) > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("Beyond %.0f %%: %s.", 100*large, strings.Join(beyond, ", ")))
	}
	t.Notes = append(t.Notes, missing...)
	return t
}

// verdict says whether the run is predicted to fit, where that is known, and whether the constant was fitted on it.
func (b Board) verdict(c Cell) string {
	verdict := ""
	switch {
	case c.Missing != "":
		return "not predicted"
	case c.PredictedOutOfMemory:
		verdict = "out of memory"
	case c.CapacityBytes > 0:
		verdict = "fits"
	}
	if c.Network == b.FitOn {
		verdict = strings.TrimSpace(verdict + " (fitted)")
	}
	return verdict
}

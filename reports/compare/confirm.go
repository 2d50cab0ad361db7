package compare

import (
	"slices"

	"github.com/localbench/localbench/results"
)

// flagged reports whether new measurements could change the verdict of a cell.
func (c Cell) flagged() bool {
	return !c.Exact && (c.Verdict == Regression || c.Verdict == Inconclusive)
}

// Flagged are the cells whose metric is noisy and that are worse or inconclusive.
func (c Comparison) Flagged() []Cell {
	return slices.DeleteFunc(slices.Clone(c.Cells), func(x Cell) bool { return !x.flagged() })
}

// Confirm judges the flagged cells by fresh measurements of the new side. Only the fresh ones
// count: those that raised a flag were selected for being worse, which would bias
// pooled data. The correction is over the flagged cells that were measured; a
// regression has then passed two tests, and one that was inconclusive at first, one.
// Cells without fresh measurements stay as they are, and measurements of another machine
// or library go to Apart.
func (c *Comparison) Confirm(old, fresh []results.Record, t Thresholds) {
	c.again(old, fresh, t, unpaired())
}

// ConfirmPaired is Confirm by fresh measurements of both sides in turns, which is not affected by changes of the machine since
// the old records were made.
func (c *Comparison) ConfirmPaired(pairs []Pair, t Thresholds) {
	old, new := sides(pairs)
	c.again(old, new, t, paired(pairs))
}

func (c *Comparison) again(old, fresh []results.Record, t Thresholds, with tester) {
	place := map[[2]string]int{}
	for i, cell := range c.Cells {
		if cell.flagged() {
			place[[2]string{cell.Run, cell.Metric}] = i
		}
	}
	again := cells(old, fresh, t, with, func(run, metric string) bool {
		_, ok := place[[2]string{run, metric}]
		return ok
	})
	c.Apart = append(c.Apart, again.Apart...)
	for _, cell := range again.Cells {
		if cell.Verdict == Missing { // no fresh measurement
			continue
		}
		i := place[[2]string{cell.Run, cell.Metric}]
		cell.First = c.Cells[i].Verdict
		c.Cells[i] = cell
	}
}

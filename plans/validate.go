package plans

import (
	"errors"
	"fmt"
	"slices"

	"github.com/localbench/localbench/names"
	"github.com/localbench/localbench/reports/gate"
	"github.com/localbench/localbench/reports/validation"
	"github.com/localbench/localbench/results/peaks"
	"github.com/localbench/localbench/suite"
)

// Validation says which predictions are compared with measured peaks.
type Validation struct {
	File        string  // CSV of measured runs: see package peaks
	Networks    string  // folder of exported networks
	FitOn       string  // network that the constant outside of the allocator is fitted on; empty: no constant
	Usable      float64 // part of a GPU's memory that the allocator can get
	MedianLimit float64 // the largest median error that passes, in percent; 0: any
}

// Run predicts the runs of the file, and scores the predictions. A run that can't be predicted has a row that says so.
func (o Validation) Run() (a Answer, err error) {
	if o.Networks == "" {
		return a, errors.New("--networks: must name the folder of the exported networks")
	}
	t, err := peaks.Read(o.File)
	if err != nil {
		return a, err
	}
	if o.FitOn != "" {
		var known []string
		for _, r := range t.Rows {
			if !slices.Contains(known, r.Network) {
				known = append(known, r.Network)
			}
		}
		if o.FitOn, err = names.Find("network", o.FitOn, known, func(s string) string { return s }); err != nil {
			return a, fmt.Errorf("--fit-on: %w", err)
		}
	}
	v := suite.Validator{Folder: o.Networks, Usable: o.Usable}
	var cells []validation.Cell
	for _, r := range t.Rows {
		c := validation.Cell{Row: r}
		if p, err := v.Predict(r); err != nil {
			c.Missing = err.Error()
		} else {
			c.ReservedBytes, c.PredictedOutOfMemory = p.ReservedBytes, p.OutOfMemory
		}
		cells = append(cells, c)
	}
	board := validation.Score(cells, t.Predictors, o.FitOn)
	a.Tables = board.Tables()
	if text := o.fault(board); text != "" {
		a.Verdict = &gate.FailedError{Text: "validate: " + text}
	}
	return a, nil
}

// fault says why the predictions do not pass; empty: they do. With a limit, a run that could not be predicted does not pass.
func (o Validation) fault(b validation.Board) string {
	own := b.Summaries()[0]
	missing := slices.ContainsFunc(b.Cells, func(c validation.Cell) bool { return c.Missing != "" })
	switch {
	case own.Cells == 0:
		return "no run could be predicted and compared"
	case o.MedianLimit > 0 && missing:
		return "--median-limit: some runs could not be predicted"
	case o.MedianLimit > 0 && 100*own.Median > o.MedianLimit:
		return fmt.Sprintf("the median error is %.2f %%, more than %g %%", 100*own.Median, o.MedianLimit)
	}
	return ""
}

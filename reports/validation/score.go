// Package validation scores predictions of training peaks against measured ones, beside those of other predictors.
package validation

import (
	"cmp"
	"math"
	"slices"

	"github.com/localbench/localbench/results/peaks"
)

// Cell is a measured run and what the eager model says of it.
type Cell struct {
	peaks.Row
	// ReservedBytes is the most that the allocator reserves, predicted without the constant; Missing says why there is no
	// prediction, and is empty if there is one.
	ReservedBytes int64
	Missing       string
	// PredictedOutOfMemory says that the run needs more than the GPU has.
	PredictedOutOfMemory bool
}

// Board is a scored table.
type Board struct {
	Cells         []Cell
	Predictors    []string // the others
	FitOn         string   // the network that the constant was fitted on; empty: none
	ConstantBytes int64    // added to every prediction
}

// Score fits the constant: the median of what the runs of one network have beyond the prediction, and at least 0; fitOn is that
// network, or empty for a constant of 0. Runs that ran out of memory, or are predicted to, do not count.
func Score(cells []Cell, predictors []string, fitOn string) Board {
	b := Board{Cells: cells, Predictors: predictors, FitOn: fitOn}
	var beyond []float64
	for _, c := range cells {
		if c.Network == fitOn && c.compared() && !c.PredictedOutOfMemory {
			beyond = append(beyond, float64(c.MeasuredBytes-c.ReservedBytes))
		}
	}
	if len(beyond) > 0 {
		b.ConstantBytes = max(0, int64(quantile(beyond, 0.5)))
	}
	return b
}

// compared says whether there is a measured and a predicted peak.
func (c Cell) compared() bool { return c.Missing == "" && c.MeasuredBytes > 0 }

// Predicted is the predicted peak of a cell, in bytes.
func (b Board) Predicted(c Cell) int64 { return c.ReservedBytes + b.ConstantBytes }

// Error is the predicted peak relative to the measured one, less 1; false where there is none.
func (b Board) Error(c Cell) (float64, bool) {
	if !c.compared() {
		return 0, false
	}
	return float64(b.Predicted(c))/float64(c.MeasuredBytes) - 1, true
}

// OtherError is Error of another predictor.
func (c Cell) OtherError(predictor string) (float64, bool) {
	x, ok := c.Others[predictor]
	if !ok || c.MeasuredBytes == 0 {
		return 0, false
	}
	return x/float64(c.MeasuredBytes) - 1, true
}

// Summary are the sizes of the errors of a predictor, as fractions.
type Summary struct {
	Predictor          string
	Cells              int
	Median, P90, Worst float64
}

// Summaries are those of this model, which is the first, and of the others, on the runs that this model predicts and that the
// constant was not fitted on. Runs that another predictor has no figure for are left out of its summary.
func (b Board) Summaries() []Summary {
	own := func(c Cell) (float64, bool) { return b.Error(c) }
	all := []Summary{b.summary("benchctl", own)}
	for _, name := range b.Predictors {
		all = append(all, b.summary(name, func(c Cell) (float64, bool) { return c.OtherError(name) }))
	}
	return all
}

func (b Board) summary(name string, of func(Cell) (float64, bool)) Summary {
	var errors []float64
	for _, c := range b.Cells {
		if x, ok := of(c); ok && c.compared() && c.Network != b.FitOn {
			errors = append(errors, math.Abs(x))
		}
	}
	s := Summary{Predictor: name, Cells: len(errors)}
	if len(errors) > 0 {
		s.Median, s.P90, s.Worst = quantile(errors, 0.5), quantile(errors, 0.9), quantile(errors, 1)
	}
	return s
}

// quantile is the smallest value that at least the part q of the values does not exceed, and for the median of an even number
// the mean of the two in the middle.
func quantile(values []float64, q float64) float64 {
	values = slices.Clone(values)
	slices.SortFunc(values, cmp.Compare)
	n := len(values)
	if q == 0.5 {
		return (values[(n-1)/2] + values[n/2]) / 2
	}
	return values[max(int(math.Ceil(q*float64(n)))-1, 0)]
}

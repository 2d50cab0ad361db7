package gate

import (
	"errors"

	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/baseline"
)

// Sides reads the records of both sides of a comparison; an empty base: those of the new side alone. Unlike an old side, a new
// one that does not exist is no lack of a baseline.
func Sides(base, path string) (old, new []results.Record, err error) {
	if base != "" {
		if old, err = baseline.ReadSide(base); err != nil {
			return nil, nil, err
		}
	}
	new, err = baseline.ReadSide(path)
	var missing *baseline.MissingError
	var none *baseline.NoneError
	switch {
	case errors.As(err, &missing):
		err = missing.Err
	case errors.As(err, &none):
		err = errors.New(none.Text)
	}
	return old, new, err
}

// Verdict is how a comparison ends: nil, a *FailedError, a *baseline.NoneError if there was nothing to compare, or a
// *compare.ApartError. Inconclusive cells fail if strict.
func Verdict(c compare.Comparison, strict bool) error {
	count := func(v compare.Verdict) int { return len(c.Worst(v)) }
	switch {
	case len(c.Apart) > 0:
		return &compare.ApartError{Runs: c.Apart}
	case len(c.Cells) == 0:
		return &baseline.NoneError{Text: "the old side has no finished run with these metrics"}
	case count(compare.Regression)+count(compare.Missing) > 0, count(compare.Inconclusive) > 0 && strict:
		return &FailedError{Text: "compare: " + c.Sentence()}
	}
	return nil
}

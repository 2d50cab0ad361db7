package suite

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/localbench/localbench/results"
)

// storedOptions are the keys of results.Spec.Options and what is wrong with a value: nil accepts any, since the method checks it.
var storedOptions = map[string]func(value string) error{
	optionCuts:           nil,
	optionMode:           nil,
	optionCoefficients:   nil,
	optionInit:           nil,
	optionEager:          nil,
	optionHead:           nil,
	optionSegment:        wholeNumber(0),
	optionOverlap:        wholeNumber(1),
	optionBudget:         wholeNumber(0),
	optionWorkspaceLimit: wholeNumber(0),
	optionRecompute:      oneWord(RecomputeNorm),
	optionUpdate:         oneWord(UpdateDeferred),
	optionDeterministic:  oneWord("yes"),
	optionProgram:        oneWord(programPublished),
}

// checkOptions says what is wrong with the options of a spec that was read and not expanded: of a job, or of a record that is run
// again. A value that cannot be read must not run as if it were not there.
func checkOptions(s results.Spec) error {
	for _, key := range slices.Sorted(maps.Keys(s.Options)) {
		check, known := storedOptions[key]
		if !known {
			return fmt.Errorf("option %s: unknown; this program knows %v", key, slices.Sorted(maps.Keys(storedOptions)))
		}
		if check == nil {
			continue
		}
		if err := check(s.Options[key]); err != nil {
			return fmt.Errorf("option %s: %q: %w", key, s.Options[key], err)
		}
	}
	return nil
}

// wholeNumber accepts numbers from least on. Sizes are in bytes, without a unit.
func wholeNumber(least int64) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < least {
			return fmt.Errorf("must be a whole number of at least %d, without a unit", least)
		}
		return nil
	}
}

func oneWord(word string) func(string) error {
	return func(value string) error {
		if value != word {
			return fmt.Errorf("must be %q, or left out", word)
		}
		return nil
	}
}

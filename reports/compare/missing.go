package compare

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/results"
)

// missing is the cell of a metric that no record of the new side has.
func (m metric) missing(run string, old, new []results.Record) Cell {
	values := m.values(old)
	return Cell{Run: run, Metric: m.name, Unit: m.unit, Exact: m.exact, Old: median(values), OldN: len(values), Verdict: Missing,
		Why: []string{fmt.Sprintf("none of the %s has it", english.Plural(len(new), "new record", ""))}}
}

// unfinished are the records of runs that did not finish, by measurement.
func unfinished(records []results.Record) map[string][]results.Record {
	out := map[string][]results.Record{}
	for _, r := range records {
		if r.Status != results.StatusDone {
			out[results.ExperimentID(r.Spec)] = append(out[results.ExperimentID(r.Spec)], r)
		}
	}
	return out
}

// noRecord is the outcome of a measurement without any record.
const noRecord = "no record"

// fate describes the outcome of the runs of a measurement that did not finish.
func fate(records []results.Record) string {
	if len(records) == 0 {
		return noRecord
	}
	counts, reasons := map[results.Status]int{}, map[results.Status]string{}
	for _, r := range records {
		counts[r.Status]++
		reasons[r.Status] = cmp.Or(reasons[r.Status], r.Error)
	}
	var parts []string
	for _, status := range results.Statuses() {
		if counts[status] == 0 {
			continue
		}
		part := fmt.Sprintf("%d %s", counts[status], status)
		if reasons[status] != "" {
			part += " (" + reasons[status] + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// fewer reports that a measurement has fewer repetitions than before, and the outcome of the others.
func fewer(run string, old, new, lost []results.Record) string {
	text := fmt.Sprintf("%s: %s, %d before", run, english.Plural(len(new), "repetition", ""), len(old))
	if why := fate(lost); why != noRecord {
		text += ": " + why
	}
	return text
}

// Accept marks missing cells as removed on purpose: those that match a pattern in the syntax of path.Match, by the name of the
// measurement or by name/metric. Unused are the patterns that matched none.
func (c *Comparison) Accept(patterns []string) (unused []string, err error) {
	for _, p := range patterns {
		used := false
		for i := range c.Cells {
			cell := &c.Cells[i]
			whole, err := path.Match(p, cell.Run)
			if err != nil {
				return nil, fmt.Errorf("%q is not a pattern: %w", p, err)
			}
			one, err := path.Match(p, cell.Run+"/"+cell.Metric)
			if err != nil {
				return nil, fmt.Errorf("%q is not a pattern: %w", p, err)
			}
			if (whole || one) && slices.Contains([]Verdict{Missing, Removed}, cell.Verdict) {
				cell.Verdict, used = Removed, true
			}
		}
		if !used {
			unused = append(unused, p)
		}
	}
	return unused, nil
}

// CheckPatterns checks patterns of Accept.
func CheckPatterns(patterns []string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("%s: %w", printable.Quote(pattern), err)
		}
	}
	return nil
}

package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"
)

// Sentence summarises the comparison in one sentence: the worst verdicts.
func (c Comparison) Sentence() string {
	var parts []string
	add := func(v Verdict, worst func([]Cell) Cell) {
		cells := c.Worst(v)
		if len(cells) == 0 {
			return
		}
		if len(parts) == 0 {
			text := worst(cells).sentence()
			if len(cells) > 1 {
				text += fmt.Sprintf("; %d %s in all", len(cells), plural(v, len(cells)))
			}
			parts = append(parts, text)
			return
		}
		parts = append(parts, fmt.Sprintf("%d %s", len(cells), plural(v, len(cells))))
	}
	first := func(cells []Cell) Cell { return cells[0] }
	add(Regression, func(cells []Cell) Cell {
		return slices.MaxFunc(cells, func(a, b Cell) int { return cmp.Compare(math.Abs(a.Change), math.Abs(b.Change)) })
	})
	add(Missing, first)
	add(Inconclusive, first)
	switch {
	case len(parts) > 0:
		return strings.Join(parts, "; ")
	case len(c.Cells) == 0:
		return "nothing to compare: the old side has no finished run with these metrics"
	}
	return "no regression in " + english.Plural(len(c.Cells), "cell", "")
}

// plural is the name of n cells with a verdict.
func plural(v Verdict, n int) string {
	if v == Regression {
		return english.PluralWord(n, string(v), "")
	}
	return string(v)
}

// sentence describes the verdict of a cell.
func (c Cell) sentence() string {
	switch {
	case c.Verdict == Missing || c.Verdict == Removed:
		what := c.Run
		if c.Metric != Whole {
			what = c.Metric + " of " + c.Run
		}
		return fmt.Sprintf("%s is missing on the new side: %s", what, strings.Join(c.Why, ", "))
	case c.Verdict == Inconclusive:
		return fmt.Sprintf("%s of %s is inconclusive: %s", c.Metric, c.Run, c.reason())
	case c.Verdict == Regression:
		return fmt.Sprintf("%s of %s is worse by %s (%s, was %s)%s",
			c.Metric, c.Run, c.Percent(c.worse()), number(c.New), number(c.Old), c.since())
	}
	return fmt.Sprintf("%s of %s: %s, was %s: %s", c.Metric, c.Run, number(c.New), number(c.Old), c.Verdict)
}

// worse is the change with the sign that follows "worse by": positive for a regression.
func (c Cell) worse() float64 {
	if m, ok := metricOf(c.Metric); ok {
		return m.worse(c.Change)
	}
	return c.Change
}

// reason explains the verdict of a cell in a few words; empty if its numbers are enough.
func (c Cell) reason() string {
	switch {
	case c.Verdict == Missing || c.Verdict == Removed:
		return strings.Join(c.Why, ", ")
	case c.Need > 0 && c.Pairs > 0:
		return fmt.Sprintf("%s, at least %d are needed", english.Plural(c.Pairs, "pair", ""), c.Need)
	case c.Need > 0:
		return fmt.Sprintf("%d and %d repetitions, at least %d each are needed", c.OldN, c.NewN, c.Need)
	case c.Verdict == Inconclusive:
		return fmt.Sprintf("a change below %s could have been missed, the threshold is %s",
			c.Percent(c.Smallest), c.Percent(c.Threshold))
	case c.Verdict == Same && !c.Exact && (c.Low > 0 || c.High < 0):
		return fmt.Sprintf("significantly worse, but not by more than the threshold of %s", c.Percent(c.Threshold))
	}
	return ""
}

// since names the commits between which a cell changed, if known.
func (c Cell) since() string {
	short := func(commit string) string { return commit[:min(len(commit), 10)] }
	switch {
	case c.NewCommit == "":
		return ""
	case c.NewCommit == c.OldCommit:
		return " at the same commit " + short(c.NewCommit)
	case c.OldCommit == "":
		return " since commit " + short(c.NewCommit)
	}
	return fmt.Sprintf(" since commit %s (base was %s)", short(c.NewCommit), short(c.OldCommit))
}

// Percent writes a change of the cell: 5.2 %, or 0.4 points.
func (c Cell) Percent(x float64) string {
	m, _ := metricOf(c.Metric)
	switch {
	case math.IsInf(x, 0):
		return "any"
	case m.points && x != 0 && math.Abs(x) < 5e-5:
		return fmt.Sprintf("%.1g points", 100*x)
	case m.points:
		return fmt.Sprintf("%.2f points", 100*x)
	case c.Exact && math.Abs(x) < 1e-4 && x != 0:
		return fmt.Sprintf("%.3g %% (%+.0f)", 100*x, c.New-c.Old)
	case math.Abs(x) < 5e-5 && x != 0: // not 0.00 %, which an interval with this end excludes
		return fmt.Sprintf("%.1g %%", 100*x)
	}
	return fmt.Sprintf("%.2f %%", 100*x)
}

// number writes a value, whole numbers without an exponent.
func number(x float64) string {
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		return fmt.Sprintf("%.0f", x)
	}
	return strings.TrimSpace(fmt.Sprintf("%.6g", x))
}

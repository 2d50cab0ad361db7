package compare

import (
	"math"

	"github.com/localbench/localbench/reports/rank"
)

// Repetitions is the smallest number of repetitions per side with which a change can be significant,
// given the number of noisy cells.
func Repetitions(cells int) int { return rank.Repetitions(cells) }

// judge gives the noisy cells their verdicts: the level is divided by their number.
func (c *Comparison) judge() {
	noisy := 0
	for _, cell := range c.Cells {
		if cell.test != nil {
			noisy++
		}
	}
	for i := range c.Cells {
		if c.Cells[i].test != nil {
			c.Cells[i].judge(noisy)
		}
	}
}

// judge sets the interval and the verdict of a noisy cell, given the number of noisy cells. The rule, also in
// docs/comparing.md and the command's help:
//
//   - regression: significantly worse, and the measured change exceeds the threshold;
//   - better: significantly better;
//   - inconclusive: neither, and the detectable change exceeds the threshold;
//   - same: all else.
//
// Significant means that the interval excludes no change.
func (c *Cell) judge(noisy int) {
	m, _ := metricOf(c.Metric)
	level := Alpha / float64(noisy)
	c.P = min(1, float64(noisy)*c.test.P())
	c.Low, c.High = c.test.Interval(level)
	c.Change = min(max(c.Change, c.Low), c.High)
	c.test = nil
	if math.IsInf(c.Low, -1) && math.IsInf(c.High, 1) {
		c.Need, c.Smallest, c.Verdict = Repetitions(noisy), math.Inf(1), Inconclusive
		if c.Pairs > 0 {
			c.Need = rank.Pairs(noisy)
		}
		return
	}
	power := rank.Power(level)
	if c.Pairs > 0 {
		power = rank.PairedPower(level)
	}
	c.Smallest = m.resolution(c.Low, c.High, power)
	significant := c.Low > 0 || c.High < 0
	switch worse := m.worse(c.Change); {
	case significant && worse > c.Threshold:
		c.Verdict = Regression
	case significant && m.worse(c.Low) < 0 && m.worse(c.High) < 0:
		c.Verdict = Better
	case c.Smallest > c.Threshold:
		c.Verdict = Inconclusive
	default:
		c.Verdict = Same
	}
}

// ApartError says that times of different machines, or of different libraries or instruction sets, were to be compared.
type ApartError struct{ Runs []string }

// Error names the first measurement.
func (e *ApartError) Error() string {
	return "compare: times and process memory of different machines, libraries or instruction sets can't be compared: " + e.Runs[0]
}

// Hint names what can be compared.
func (e *ApartError) Hint() string {
	return "--metrics planned_peak,step_arena,arena,parameters,auxiliary_parameters,step_flops,top1 compares the rest"
}

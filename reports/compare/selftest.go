package compare

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/reports/rank"
	"github.com/localbench/localbench/results"
)

// Sensitivity describes which planted changes in one metric of given records a comparison finds.
type Sensitivity struct {
	Metric string // or Whole, where a measurement was taken away
	// Measurements is how many of them have the metric; Found in how many the planted change of an exact metric, or
	// the removal, was found.
	Measurements, Found int
	Exact               bool
	// Tried are sizes of changes of a noisy metric. Smallest is the smallest size that is found in every
	// measurement, infinite if none up to largestPlanted is; Run is the measurement that needs it, with its number of
	// repetitions; Need is the number needed if it is too small for any change to be found.
	Tried             []float64
	Smallest          float64
	Run               string
	Repetitions, Need int
	Threshold         float64
	// Alarm is set if the records compared with themselves are called worse.
	Alarm bool
}

// Of the planted changes: the largest as a ratio, how many draws each size gets, and in how many it must be found.
const (
	largestPlanted = 10.0
	plantedDraws   = 50
	plantedFound   = plantedDraws * 4 / 5
)

// SelfTest plants changes in the records and compares the result with the records as they are, with the given
// thresholds: a missing measurement, a unit more of each exact metric, and noisy metrics made worse
// by a factor, drawn again from the repetitions, so with their own spread. Chosen names the metrics; empty: all.
func SelfTest(records []results.Record, t Thresholds, chosen ...string) []Sensitivity {
	groups, _ := measurements(records)
	runs := sortedKeys(groups)
	itself := Run(records, records, t, chosen...)
	out := []Sensitivity{removed(records, runs, t, chosen)}
	noisy := 0
	for _, c := range itself.Cells {
		if !c.Exact {
			noisy++
		}
	}
	var tester rank.Tester
	for _, m := range metrics() {
		if len(chosen) > 0 && !slices.Contains(chosen, m.name) {
			continue
		}
		s := Sensitivity{Metric: m.name, Exact: m.exact, Threshold: t.of(m)}
		for _, c := range itself.Cells {
			if c.Metric != m.name {
				continue
			}
			s.Measurements++
			s.Alarm = s.Alarm || c.Verdict == Regression
			if m.exact {
				continue
			}
			if size := m.smallestFound(&tester, m.values(groups[c.Run]), noisy, s.Threshold); s.Run == "" || size > s.Smallest {
				s.Smallest, s.Run, s.Repetitions, s.Need = size, c.Run, c.OldN, c.Need
			}
		}
		if m.exact {
			s.Found = m.plantedUnit(records, t)
		} else {
			s.Tried = m.planted()
		}
		out = append(out, s)
	}
	return out
}

// removed takes each measurement away in turn.
func removed(records []results.Record, runs []string, t Thresholds, chosen []string) Sensitivity {
	s := Sensitivity{Metric: Whole, Exact: true, Measurements: len(runs)}
	gone := Run(records, nil, t, chosen...)
	for _, run := range runs {
		if slices.ContainsFunc(gone.Worst(Missing), func(c Cell) bool { return c.Run == run }) {
			s.Found++
		}
	}
	return s
}

// plantedUnit makes an exact metric of all records worse by the smallest amount beyond the threshold, and
// counts the measurements in which that is found.
func (m metric) plantedUnit(records []results.Record, t Thresholds) int {
	worse := slices.Clone(records)
	for i := range worse {
		if x := m.of(worse[i]); x != nil {
			m.set(&worse[i], math.Floor(*x*(1+t.of(m)))+1)
		}
	}
	return len(Run(records, worse, t, m.name).Worst(Regression))
}

// planted are the sizes of changes that a report names.
func (m metric) planted() []float64 {
	if m.points {
		return []float64{0.005, 0.02, 0.1}
	}
	return []float64{0.05, 0.2, 1}
}

// smallestFound is the smallest change for the worse of a noisy metric with these values that is reported as a regression
// with 80 % power, given the number of noisy cells; rounded up by at most about 5 %.
func (m metric) smallestFound(tester *rank.Tester, values []float64, noisy int, threshold float64) float64 {
	found := func(size float64) bool {
		random, count := rand.New(rand.NewPCG(1, 2)), 0
		for range plantedDraws {
			fresh := make([]float64, len(values))
			for i := range fresh {
				fresh[i] = m.plant(values[random.IntN(len(values))], size)
			}
			change := m.worse(m.change(median(values), median(fresh)))
			if change > threshold && tester.Compare(values, fresh, m.change, m.less).P() < Alpha/float64(noisy) {
				count++
			}
		}
		return count >= plantedFound
	}
	largest := largestPlanted
	if m.points {
		largest = 1
	}
	const smallest, step = 1e-4, 1.05
	steps := int(math.Ceil(math.Log(largest/smallest) / math.Log(step)))
	at := func(i int) float64 { return smallest * math.Pow(step, float64(i)) }
	low, high := 0, steps+1 // the first that is found lies in between
	for low < high {
		middle := (low + high) / 2
		if middle <= steps && !found(at(middle)) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low > steps {
		return math.Inf(1)
	}
	return at(low)
}

// plant makes a value worse by a change.
func (m metric) plant(x, size float64) float64 {
	switch {
	case m.points:
		return x - size
	case m.less:
		return x * (1 + size)
	}
	return x / (1 + size)
}

// Fault describes a fault of the comparison of these records, empty without one: a change that must be found
// was not, or a comparison of the records with themselves reports a regression.
func (s Sensitivity) Fault() string {
	switch {
	case s.Alarm:
		return fmt.Sprintf("%s: a comparison of the records with themselves reports a regression", s.Metric)
	case s.Exact && s.Found < s.Measurements:
		return fmt.Sprintf("%s: the planted change was found in %d of %d", s.Metric, s.Found, s.Measurements)
	}
	return ""
}

// Blind reports whether even the largest planted change of a noisy metric would be missed.
func (s Sensitivity) Blind() bool {
	return !s.Exact && s.Measurements > 0 && s.Smallest > s.Tried[len(s.Tried)-1]
}

// String is a line of a report.
func (s Sensitivity) String() string {
	what := english.Plural(s.Measurements, "measurement", "")
	cell := Cell{Metric: s.Metric}
	switch {
	case s.Measurements == 0:
		return fmt.Sprintf("%s: not in the records, not tested", s.Metric)
	case s.Metric == Whole:
		return fmt.Sprintf("a missing measurement: found for %d of %s", s.Found, what)
	case s.Exact && s.Threshold > 0:
		return fmt.Sprintf("%s: just beyond the threshold of %s: found in %d of %s",
			s.Metric, cell.Percent(s.Threshold), s.Found, what)
	case s.Exact:
		m, _ := metricOf(s.Metric)
		unit := strings.TrimSpace("1 " + strings.TrimSuffix(m.unit, "s"))
		return fmt.Sprintf("%s: %s more: found in %d of %s", s.Metric, unit, s.Found, what)
	}
	var parts []string
	for _, size := range s.Tried {
		part := cell.round(size) + " not found"
		if size >= s.Smallest {
			part = cell.round(size) + " found"
		}
		parts = append(parts, part)
	}
	text := fmt.Sprintf("%s: %s; ", s.Metric, strings.Join(parts, ", "))
	repetitions := english.Plural(s.Repetitions, "repetition", "")
	switch {
	case s.Need > 0:
		return text + fmt.Sprintf("%s has %s, at least %d are needed", s.Run, repetitions, s.Need)
	case math.IsInf(s.Smallest, 1):
		text += "smallest found: none"
	default:
		text += "smallest found " + cell.round(s.Smallest)
	}
	return text + fmt.Sprintf(" (%s, %s; threshold %s)", s.Run, repetitions, cell.round(s.Threshold))
}

// round writes a size with two digits.
func (c Cell) round(x float64) string {
	text := fmt.Sprintf("%.2g", 100*x)
	if 100*x >= 100 {
		text = fmt.Sprintf("%.0f", 100*x)
	}
	if m, _ := metricOf(c.Metric); m.points {
		return text + " points"
	}
	return text + " %"
}

// SelfTestLines is SelfTest as text, and the first fault: a change that must be found and is not, or, if strict, a noisy metric
// of which not even the largest change would be found. It is empty if there is none.
func SelfTestLines(records []results.Record, t Thresholds, strict bool, chosen ...string) (lines []string, fault string) {
	for _, s := range SelfTest(records, t, chosen...) {
		lines = append(lines, s.String())
		text := s.Fault()
		if text == "" && s.Blind() && strict {
			text = s.Metric + ": a comparison would find no change in these records; more repetitions or less noise are needed"
		}
		fault = cmp.Or(fault, text)
	}
	return lines, fault
}

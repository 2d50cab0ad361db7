package compare

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/localbench/localbench/reports/rank"
	"github.com/localbench/localbench/results"
)

// spread are repetitions with a step time around the middle, in equal steps from -width to width of it.
func spread(network string, n int, middle, width float64) (out []results.Record) {
	for i := range n {
		x := 2*float64(i)/float64(n-1) - 1
		out = append(out, record(network, uint64(i), 1000, middle*(1+width*x)))
	}
	return out
}

// TestDecisionRule: a step time is a regression if it is significantly worse and the measured change exceeds
// the threshold of 5 %.
func TestDecisionRule(t *testing.T) {
	for _, row := range []struct {
		name         string
		slow         float64
		width        float64
		repetitions  int
		want         Verdict
		reason       string
		couldHaveHad bool // the smallest change that could have been found is within the threshold
	}{
		{"+4.69 % is not beyond 5 %", 1.0469, 0.001, 9, Same, "significantly worse, but not by more than the threshold of 5.00 %",
			true},
		{"+5.2 % is", 1.052, 0.001, 9, Regression, "", true},
		{"no change", 1, 0.001, 9, Same, "", true},
		{"faster", 0.9, 0.001, 9, Better, "", true},
		{"+3 % within noise of 10 %", 1.03, 0.1, 9, Inconclusive, "could have been missed, the threshold is 5.00 %", false},
		{"+20 % within noise of 60 %", 1.2, 0.6, 9, Inconclusive, "could have been missed", false},
		{"+100 % beyond noise of 30 %", 2, 0.3, 9, Regression, "", false},
		{"faster beyond noise of 30 %", 0.5, 0.3, 9, Better, "", false},
		{"four repetitions", 2, 0.001, 4, Inconclusive, "4 and 4 repetitions, at least 5 each are needed", false},
	} {
		c := Run(spread("net", row.repetitions, 1, row.width), spread("net", row.repetitions, row.slow, row.width), Defaults(),
			"step_time")
		cell := c.Cells[0]
		if cell.Verdict != row.want || !strings.Contains(cell.reason(), row.reason) ||
			(cell.Smallest <= cell.Threshold) != row.couldHaveHad {
			t.Errorf("%s: %s (%s), smallest %g, want %s (%s)", row.name, cell.Verdict, cell.reason(), cell.Smallest, row.want, row.reason)
		}
	}
}

// TestAccuracyIsWorseDownwards: the rule for a metric of which more is better, in points.
func TestAccuracyIsWorseDownwards(t *testing.T) {
	with := func(top1 float64) (out []results.Record) {
		for i, r := range spread("net", 9, 1, 0) {
			r.Accuracy.LastTop1 = new(top1 + 0.0001*float64(i))
			out = append(out, r)
		}
		return out
	}
	for _, row := range []struct {
		new  float64
		want Verdict
	}{{0.9, Same}, {0.896, Same}, {0.894, Regression}, {0.92, Better}} {
		c := Run(with(0.9), with(row.new), Defaults(), "top1")
		if c.Cells[0].Verdict != row.want {
			t.Errorf("0.9 to %g: %+v, want %s", row.new, c.Cells[0], row.want)
		}
	}
	if s := Run(with(0.9), with(0.894), Defaults(), "top1").Sentence(); !strings.Contains(s, "worse by 0.60 points") {
		t.Errorf("got %q, want worse by 0.60 points", s)
	}
}

// TestVerdictAndIntervalAgree: whatever the data, the interval that is printed excludes no change exactly where the
// corrected p is below 5 %, and no verdict contradicts either.
func TestVerdictAndIntervalAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[Verdict]int{}
	for range 300 {
		var old, new []results.Record
		cells := 1 + random.IntN(4)
		for i := range cells {
			noise, slow := 0.3*random.Float64()*random.Float64(), 1+0.3*random.NormFloat64()*random.Float64()
			for seed := range uint64(3 + random.IntN(20)) {
				a := 1 + noise*random.ExpFloat64()
				b := max(0, slow) * (1 + noise*random.ExpFloat64())
				if random.IntN(2) == 0 { // ties
					a, b = math.Round(50*a)/50, math.Round(50*b)/50
				}
				old = append(old, record(fmt.Sprint("net", i), seed, 1, a))
				new = append(new, record(fmt.Sprint("net", i), seed, 1, b))
			}
		}
		for _, c := range Run(old, new, Defaults(), "step_time").Cells {
			seen[c.Verdict]++
			excluded := c.Low > 0 || c.High < 0
			inside := c.Change >= c.Low && c.Change <= c.High
			consistent := map[Verdict]bool{
				Regression:   c.Low > 0 && c.Change > c.Threshold,
				Better:       c.High < 0,
				Inconclusive: c.Smallest > c.Threshold && c.High >= 0,
				Same:         c.Smallest <= c.Threshold && c.High >= 0 && (!excluded || c.Change <= c.Threshold),
			}[c.Verdict]
			if excluded != (c.P < Alpha) || !inside || !consistent {
				t.Fatalf("contradiction: %+v", c)
			}
			if low, high, ok := strings.Cut(c.interval(), " to "); ok && excluded && (low == "0.00 %" || high == "0.00 %" ||
				low == "-0.00 %" || high == "-0.00 %") {
				t.Fatalf("%q is printed for %g to %g", c.interval(), c.Low, c.High)
			}
		}
	}
	for _, v := range []Verdict{Regression, Better, Inconclusive, Same} {
		if seen[v] < 30 {
			t.Errorf("%d cells are %s: too few to show anything", seen[v], v)
		}
	}
}

// TestCouldHaveFound: a slow-down of the size that a grid states is found about four times out of five.
func TestCouldHaveFound(t *testing.T) {
	const rounds = 300
	for _, row := range []struct {
		name        string
		repetitions int
		cells       int
		draw        func(*rand.Rand) float64
	}{
		{"normal", 20, 1, func(r *rand.Rand) float64 { return 1 + 0.02*r.NormFloat64() }},
		{"normal, one of 50", 20, 50, func(r *rand.Rand) float64 { return 1 + 0.02*r.NormFloat64() }},
		{"normal, few", 9, 1, func(r *rand.Rand) float64 { return 1 + 0.02*r.NormFloat64() }},
		{"a floor and a tail", 20, 1, func(r *rand.Rand) float64 { return 1 + 0.02*r.ExpFloat64() }},
	} {
		random := rand.New(rand.NewPCG(3, 4))
		m, _ := metricOf("step_time")
		var tester rank.Tester
		level := Alpha / float64(row.cells)
		draw := func(factor float64) (values []float64) {
			for range row.repetitions {
				values = append(values, factor*row.draw(random))
			}
			return values
		}
		var stated []float64
		for range rounds {
			low, high := tester.Compare(draw(1), draw(1), m.change, m.less).Interval(level)
			stated = append(stated, m.resolution(low, high, rank.Power(level)))
		}
		found := 0
		for range rounds {
			if tester.Compare(draw(1), draw(1+median(stated)), m.change, m.less).P() < level {
				found++
			}
		}
		t.Logf("%s: %.2f %% is found in %d of %d", row.name, 100*median(stated), found, rounds)
		if found < rounds*65/100 || found > rounds*95/100 {
			t.Errorf("%s: %.2f %% is found in %d of %d, want about four of five", row.name, 100*median(stated), found, rounds)
		}
	}
}

// TestMissing: what the old side has and the new side lost is a failure in every output, and says what became of it.
func TestMissing(t *testing.T) {
	old := slices.Concat(spread("kept", 9, 1, 0), spread("gone", 9, 1, 0), spread("failed", 9, 1, 0), spread("half", 9, 1, 0),
		spread("untimed", 9, 1, 0))
	var new []results.Record
	for _, r := range old {
		switch r.Spec.Network {
		case "gone":
			continue
		case "failed":
			r.Status, r.Error = results.StatusOutOfMemory, "out of memory"
			if r.Spec.Seed > 5 {
				r.Status, r.Error = results.StatusDiverged, ""
			}
		case "half":
			if r.Spec.Seed > 5 {
				r.Status, r.Error = results.StatusFailed, "a fault"
			}
		case "untimed":
			r.Time.StepSeconds = nil
		}
		new = append(new, r)
	}
	c := Run(old, new, Defaults(), "planned_peak", "step_time")
	var got []string
	for _, cell := range c.Worst(Missing) {
		name, _, _ := strings.Cut(cell.Run, "-")
		got = append(got, name+" "+cell.Metric+": "+cell.reason())
	}
	want := []string{"failed measurement: 6 oom (out of memory), 3 diverged", "gone measurement: no record",
		"untimed step_time: none of the 9 new records has it"}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(c.Fewer) != 1 || !strings.Contains(c.Fewer[0], "6 repetitions, 9 before: 3 failed (a fault)") {
		t.Errorf("fewer: %q", c.Fewer)
	}
	if s := c.Sentence(); !strings.Contains(s, "is missing on the new side") || !strings.Contains(s, "3 missing in all") {
		t.Errorf("sentence: %s", s)
	}
	var annotations, junit strings.Builder
	if err := c.Annotations(&annotations, "error"); err != nil || strings.Count(annotations.String(), "::error") != 3 ||
		strings.Count(annotations.String(), "::warning") != 1 {
		t.Errorf("%v: annotations:\n%s", err, annotations.String())
	}
	if err := c.JUnit(&junit, false); err != nil || !strings.Contains(junit.String(), `failures="3"`) {
		t.Errorf("%v: junit:\n%s", err, junit.String())
	}
	if rows := c.Tables(false)[0].Rows; len(rows) != 3 {
		t.Errorf("%d rows, want the 3 missing", len(rows))
	}
	unused, err := c.Accept([]string{"gone-*", "*/step_time", "nothing-*"})
	if err != nil || !slices.Equal(unused, []string{"nothing-*"}) || len(c.Worst(Missing)) != 1 || len(c.Worst(Removed)) != 2 {
		t.Errorf("%v: unused %q, %d missing, %d removed", err, unused, len(c.Worst(Missing)), len(c.Worst(Removed)))
	}
	if _, err := c.Accept([]string{"[x"}); err == nil {
		t.Error("a broken pattern is taken")
	}
	// What was not asked for is not missing, and neither is what the old side did not finish.
	if c := Run(old, new, Defaults(), "top1"); len(c.Cells) != 0 {
		t.Errorf("a metric that the old side has not: %+v", c.Cells)
	}
	if c := Run(new, new, Defaults(), "planned_peak"); len(c.Worst(Missing)) != 0 {
		t.Errorf("runs that were not finished before: %+v", c.Worst(Missing))
	}
}

// TestCopiesCountOnce: copies of two records are two repetitions; a repeated run is another.
func TestCopiesCountOnce(t *testing.T) {
	one, two := record("net", 1, 1, 1), record("net", 2, 1, 1.01)
	var copied []results.Record
	for range 9 {
		copied = append(copied, one, two)
	}
	c := Run(copied, copied, Defaults(), "step_time")
	if cell := c.Cells[0]; cell.OldN != 2 || cell.NewN != 2 || cell.Verdict != Inconclusive || c.Copies != 32 {
		t.Errorf("%d and %d repetitions, %s, %d copies", cell.OldN, cell.NewN, cell.Verdict, c.Copies)
	}
	if notes := strings.Join(c.Tables(false)[0].Notes, "\n"); !strings.Contains(notes, "32 copies of records left out") {
		t.Errorf("notes: %s", notes)
	}
	again := one
	again.Started = one.Started.Add(time.Hour)
	if groups, copies := measurements([]results.Record{one, again}); copies != 0 || len(groups) != 1 {
		t.Errorf("the same seed at another time: %d copies, want none", copies)
	}
}

// TestThresholdUnits: a percentage belongs to a relative metric, points to an accuracy.
func TestThresholdUnits(t *testing.T) {
	for _, row := range []struct {
		metric, text string
		want         float64
		fault        string
	}{
		{"step_time", "5%", 0.05, ""},
		{"step_time", " 2.5 % ", 0.025, ""},
		{"top1", "0.5pp", 0.005, ""},
		{"planned_peak", "0%", 0, ""},
		{"top1", "0.5%", 0, "must be in pp"},
		{"step_time", "5pp", 0, "must be in %"},
		{"step_time", "5", 0, "must be in %"},
		{"step_time", "fast", 0, "must be in %"},
		{"step_time", "inf%", 0, "must be in %"},
		{"step_time", "nan%", 0, "must be in %"},
		{"step_time", "-5%", 0, "must not be negative"},
		{"memory", "-1%", 0, "must not be negative"},
		{"speed", "5%", 0, "names an unknown metric"},
	} {
		thresholds := Thresholds{}
		err := thresholds.Set(row.metric, row.text)
		if row.fault != "" {
			if err == nil || !strings.Contains(err.Error(), row.fault) {
				t.Errorf("%s %s: got %v, want %q", row.metric, row.text, err, row.fault)
			}
			continue
		}
		if err != nil || thresholds[row.metric] != row.want {
			t.Errorf("%s %s: got %v, %v, want %g", row.metric, row.text, thresholds, err, row.want)
		}
	}
	both := Thresholds{}
	if err := both.Set("memory", "1%"); err != nil || both["planned_peak"] != 0.01 || both["arena"] != 0.01 {
		t.Errorf("memory: got %v, %v", both, err)
	}
}

// TestSelfTest: what is found depends on the spread of the records that are given.
func TestSelfTest(t *testing.T) {
	of := func(records []results.Record, metric string) Sensitivity {
		for _, s := range SelfTest(records, Defaults()) {
			if s.Metric == metric {
				if fault := s.Fault(); fault != "" {
					t.Errorf("%s: %s", metric, fault)
				}
				return s
			}
		}
		t.Fatalf("no %s", metric)
		return Sensitivity{}
	}
	tight, noisy := spread("tight", 9, 1, 0.005), spread("noisy", 9, 1, 0.5)
	if s := of(tight, "step_time"); s.Smallest < 0.05 || s.Smallest > 0.07 || s.Blind() {
		t.Errorf("1 %% of spread: %v, want a little more than the threshold", s)
	}
	s := of(slices.Concat(tight, noisy), "step_time")
	if s.Smallest < 0.3 || s.Smallest > 2 || !strings.HasPrefix(s.Run, "noisy") ||
		!strings.HasPrefix(s.String(), "step_time: 5 % not found, 20 % not found, ") {
		t.Errorf("100 %% of spread in one of two: %v, want it to be what counts", s)
	}
	if s := of(spread("few", 3, 1, 0.01), "step_time"); !s.Blind() ||
		!strings.Contains(s.String(), "has 3 repetitions, at least 5 are needed") {
		t.Errorf("3 repetitions: %v", s)
	}
	planned := spread("planned", 2, 1, 0)
	for i := range planned {
		planned[i].Time.StepSeconds = nil
	}
	if s := of(planned, "step_time"); s.Blind() || !strings.Contains(s.String(), "not in the records") {
		t.Errorf("no times: %v", s)
	}
	if s := of(planned, "planned_peak"); s.Found != 1 || s.Measurements != 1 {
		t.Errorf("a byte more: %v", s)
	}
	if s := of(slices.Concat(tight, noisy), Whole); s.Found != 2 {
		t.Errorf("a missing measurement: %v", s)
	}
}

// What a record says reaches a terminal through annotations, and a log through benchmark lines: neither steers it.
func TestHostileNamesDoNotSteer(t *testing.T) {
	old, worse := record("net\x1b[2J", 1, 100, 1), record("net\x1b[2J", 1, 101, 1)
	c := Run([]results.Record{old}, []results.Record{worse}, Defaults(), "planned_peak")
	var annotations, benchmarks strings.Builder
	if err := c.Annotations(&annotations, "error"); err != nil || !strings.Contains(annotations.String(), "::error") {
		t.Fatalf("got %q, %v, want an error", annotations.String(), err)
	}
	worse.Environment.CPU = "cpu\x1b[31m"
	if err := Benchmarks(&benchmarks, []results.Record{worse}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"annotations": annotations.String(), "benchmarks": benchmarks.String()} {
		if strings.ContainsRune(text, '\x1b') {
			t.Errorf("%s: got %q with an escape character", name, text)
		}
	}
}

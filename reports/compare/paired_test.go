package compare

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/localbench/localbench/results"
)

// machine is a machine whose speed drifts while processes run on it one after the other: the logarithm of the time of a step is
// the sum of a random walk, of load that comes and goes (an autoregressive process), and of noise of the single process.
type machine struct {
	random     *rand.Rand
	walk, load float64
}

// Sizes of the drift, relative to a step's time. The noise of a process is that of the processor time of ResNet-20's step at
// batch 8 on two cores at a load average of 22 (`run --methods bp --networks resnet20 --batch 8 --train-limit 64 --threads 1`,
// 40 processes: standard deviation 0.083).
const (
	walkStep       = 0.01 // a process
	loadSpread     = 0.08
	loadRemembered = 0.98 // from one process to the next
	processNoise   = 0.083
)

func (m *machine) run(seed uint64, factor float64) results.Record {
	m.walk += walkStep * m.random.NormFloat64()
	m.load = loadRemembered*m.load + loadSpread*math.Sqrt(1-loadRemembered*loadRemembered)*m.random.NormFloat64()
	r := record("net", seed, 1, 0.01*factor*math.Exp(m.walk+m.load+processNoise*m.random.NormFloat64()))
	r.Time.StepCPUSeconds = r.Time.StepSeconds
	return r
}

// inTurns measures like `compare --interleave`: in each pair both sides have as many turns, in random order.
func (m *machine) inTurns(pairs, turns int, factor float64) (out []Pair) {
	for k := range pairs {
		var p Pair
		for _, slot := range m.random.Perm(2 * turns) {
			if slot < turns {
				p.Old = append(p.Old, m.run(uint64(k*turns+len(p.Old)), 1))
			} else {
				p.New = append(p.New, m.run(uint64(k*turns+len(p.New)), factor))
			}
		}
		out = append(out, p)
	}
	return out
}

// oneAfterTheOther measures all of the old side and then all of the new one.
func (m *machine) oneAfterTheOther(runs int, factor float64) (old, new []results.Record) {
	for seed := range uint64(runs) {
		old = append(old, m.run(seed, 1))
	}
	for seed := range uint64(runs) {
		new = append(new, m.run(seed, factor))
	}
	return old, new
}

// TestTurnsOnADriftingMachine: with nine pairs of five turns each a program that did not change is called worse in at most one
// comparison of 20, and one that is 10 % slower in at least 18 of 20, although the machine drifts; the same runs, one side
// after the other, are called a regression in more than a fifth of the comparisons.
func TestTurnsOnADriftingMachine(t *testing.T) {
	const comparisons, pairs, turns = 100, 9, 5
	count := func(judge func(m *machine) Comparison) (worse int) {
		for seed := range uint64(comparisons) {
			m := &machine{random: rand.New(rand.NewPCG(seed, 15))}
			worse += len(judge(m).Worst(Regression))
		}
		return worse
	}
	same := count(func(m *machine) Comparison { return RunPaired(m.inTurns(pairs, turns, 1), Defaults(), "step_cpu") })
	slow := count(func(m *machine) Comparison { return RunPaired(m.inTurns(pairs, turns, 1.1), Defaults(), "step_cpu") })
	after := count(func(m *machine) Comparison {
		old, new := m.oneAfterTheOther(pairs*turns, 1)
		return Run(old, new, Defaults(), "step_cpu")
	})
	t.Logf("of %d: %d false alarms, %d slow-downs of 10 %% found; one side after the other: %d false alarms", comparisons, same,
		slow, after)
	if same > comparisons/20 || slow < comparisons*18/20 {
		t.Errorf("of %d: %d false alarms, want at most a twentieth; %d slow-downs of 10 %% found, want at least 18 twentieths",
			comparisons, same, slow)
	}
	if after < comparisons/5 {
		t.Errorf("one side after the other: %d false alarms of %d: the machine does not drift enough to show anything", after,
			comparisons)
	}
}

// TestPairedCells: exact metrics, missing ones and too few pairs are judged as in Run.
func TestPairedCells(t *testing.T) {
	still := &machine{random: rand.New(rand.NewPCG(1, 1))}
	pairs := still.inTurns(9, 1, 1)
	peak := int64(2)
	for i := range pairs {
		pairs[i].New[0].Memory.PlannedPeakBytes = &peak
		pairs[i].New[0].Time.StepSeconds = nil
	}
	want := map[string]Verdict{"planned_peak": Regression, "step_time": Missing}
	for _, c := range RunPaired(pairs, Defaults()).Cells {
		if v, ok := want[c.Metric]; ok && c.Verdict != v {
			t.Errorf("%s: got %s, want %s", c.Metric, c.Verdict, v)
		}
		if c.Metric == "step_cpu" && c.Pairs != 9 {
			t.Errorf("step_cpu: got %d pairs, want 9", c.Pairs)
		}
	}
	for n, need := range map[int]int{5: 6, 6: 0} { // 2/2^5 is more than 0.05, 2/2^6 is less
		c := RunPaired(still.inTurns(n, 1, 2), Defaults(), "step_cpu").Cells[0]
		if c.Need != need {
			t.Errorf("%d pairs: needs %d, want %d", n, c.Need, need)
		}
		if verdict := map[int]Verdict{5: Inconclusive, 6: Regression}[n]; c.Verdict != verdict {
			t.Errorf("%d pairs: twice as slow is %s, want %s", n, c.Verdict, verdict)
		}
	}
}

// TestConfirmPaired: flagged cells are judged by the pairs alone, others stay.
func TestConfirmPaired(t *testing.T) {
	var old, new []results.Record
	for seed := range uint64(9) {
		old, new = append(old, record("net", seed, 1, 1)), append(new, record("net", seed, 1, 2))
	}
	for factor, want := range map[float64]Verdict{1: Same, 2: Regression} {
		c := Run(old, new, Defaults(), "step_time", "planned_peak")
		var pairs []Pair
		for seed := range uint64(9) {
			old, new := record("net", 10+seed, 1, 7), record("net", 10+seed, 1, 7*factor)
			pairs = append(pairs, Pair{Old: []results.Record{old}, New: []results.Record{new}})
		}
		c.ConfirmPaired(pairs, Defaults())
		for _, cell := range c.Cells {
			switch {
			case cell.Metric == "step_time" && (cell.Verdict != want || cell.First != Regression || cell.Pairs != 9):
				t.Errorf("factor %g: got %s, first %s, %d pairs, want %s", factor, cell.Verdict, cell.First, cell.Pairs, want)
			case cell.Metric == "planned_peak" && (cell.Verdict != Same || cell.First != ""):
				t.Errorf("planned_peak: got %s, first %q", cell.Verdict, cell.First)
			}
		}
	}
}

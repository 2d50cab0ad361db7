package compare

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
)

func revisions(peaks ...int64) (out []Revision) {
	for i, peak := range peaks {
		r := results.Record{Spec: results.Spec{Method: "bp", Network: "resnet20", Dataset: "cifar10", Batch: 128},
			Status: results.StatusDone}
		r.Memory.PlannedPeakBytes = &peak
		out = append(out, Revision{Commit: fmt.Sprintf("c%d", i), Subject: fmt.Sprintf("change %d", i), Records: []results.Record{r}})
	}
	return out
}

// TestExactSteps: every change of an exact metric is a step, of a byte too, and one that is
// taken back is two.
func TestExactSteps(t *testing.T) {
	all := History(revisions(100, 100, 101, 101, 100), "planned_peak")
	if len(all) != 1 || len(all[0].Points) != 5 {
		t.Fatalf("got %v, want one series of five points", all)
	}
	var got []string
	steps, _ := Steps(all)
	for _, s := range steps {
		got = append(got, fmt.Sprintf("%s %g %g", s.Commit, s.Before, s.After))
	}
	if want := []string{"c2 100 101", "c4 101 100"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if one := History(revisions(100)); len(one) != 0 {
		t.Errorf("one commit: got %v, want no series", one)
	}
}

// course is a series of step times drawn from timings, slower by the factors at their commits.
func course(random *rand.Rand, timings []float64, commits, repetitions int, slow func(commit int) float64) Series {
	s := Series{Run: "r", Metric: "step_time", Unit: "s"}
	for k := range commits {
		p := Point{Commit: fmt.Sprintf("c%d", k)}
		for range repetitions {
			p.Values = append(p.Values, slow(k)*timings[random.IntN(len(timings))])
		}
		s.Points = append(s.Points, p)
	}
	return s
}

// skewed are made-up timings: a floor, and an exponential tail of 1 %.
func skewed() (timings []float64) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		timings = append(timings, 1+0.01*random.ExpFloat64())
	}
	return timings
}

// from is a slow-down from a commit on, to before another.
func from(at, to int, factor float64) func(int) float64 {
	return func(k int) float64 {
		if k >= at && k < to {
			return factor
		}
		return 1
	}
}

// TestNoisySteps draws from timings that a machine took and from made-up ones: grids of 20
// series in which nothing changes have a step in at most one of twenty; one series of a grid
// with a step has this step, at its very commit, as long as the noise is smaller than it.
func TestNoisySteps(t *testing.T) {
	const trials, series = 100, 20
	for _, row := range []struct {
		name                 string
		timings              []float64
		commits, repetitions int
		slow                 func(int) float64
		want                 []int
		least                int // of trials that find these steps and no other
	}{
		{"nothing, recorded", recorded(t), 15, 3, from(0, 0, 1), nil, 95 * trials / 100},
		{"nothing, made up", skewed(), 15, 3, from(0, 0, 1), nil, 95 * trials / 100},
		{"nothing, one repetition", recorded(t), 50, 1, from(0, 0, 1), nil, 95 * trials / 100},
		{"5 %, made up", skewed(), 30, 3, from(17, 30, 1.05), []int{17}, 95 * trials / 100},
		{"20 %, recorded", recorded(t), 30, 3, from(17, 30, 1.2), []int{17}, 95 * trials / 100},
		{"20 % and mended, recorded", recorded(t), 50, 3, from(20, 30, 1.2), []int{20, 30}, 95 * trials / 100},
		{"20 % and mended, one repetition", recorded(t), 60, 1, from(20, 40, 1.2), []int{20, 40}, 95 * trials / 100},
		{"two commits of 20 repetitions", recorded(t), 2, 20, from(1, 2, 1.1), []int{1}, 95 * trials / 100},
		{"0.2 %, too small to matter, made up", skewed(), 30, 20, from(17, 30, 1.002), nil, trials},
	} {
		t.Run(row.name, func(t *testing.T) {
			random, found, any := rand.New(rand.NewPCG(3, 5)), 0, 0
			for range trials {
				grid := []Series{course(random, row.timings, row.commits, row.repetitions, row.slow)}
				for range series - 1 {
					grid = append(grid, course(random, row.timings, row.commits, row.repetitions, from(0, 0, 1)))
				}
				steps, short := Steps(grid)
				var got []int
				for _, s := range steps {
					got = append(got, s.At)
					if s.Series != 0 {
						got = append(got, -1)
					}
				}
				if slices.Equal(got, row.want) {
					found++
				}
				if len(steps) > 0 {
					any++
				}
				if short != 0 {
					t.Fatalf("%d series are too short, want none", short)
				}
			}
			t.Logf("as they are: %d of %d; any step: %d", found, trials, any)
			if found < row.least {
				t.Errorf("got the steps %v in %d of %d grids, want %d", row.want, found, trials, row.least)
			}
		})
	}
}

// TestTooShort: a series that cannot have a step is counted.
func TestTooShort(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	if steps, short := Steps([]Series{course(random, recorded(t), 4, 1, from(2, 4, 2))}); len(steps) != 0 || short != 1 {
		t.Errorf("four values: got %v, %d too short, want no step and one", steps, short)
	}
}

// TestMachinesApart: what is slower on another machine is no step.
func TestMachinesApart(t *testing.T) {
	var all []Revision
	for k, cpu := range []string{"one", "one", "another", "another"} {
		r := Revision{Commit: fmt.Sprintf("c%d", k)}
		for seed := range uint64(10) {
			x := record("net", seed, 1, float64(1+k/2)+0.001*float64(seed))
			x.Environment.CPU = cpu
			r.Records = append(r.Records, x)
		}
		all = append(all, r)
	}
	series := History(all, "step_time", "planned_peak")
	var got []string
	for _, s := range series {
		_, machine, _ := strings.Cut(s.Run, " on ")
		got = append(got, fmt.Sprintf("%s %s %d", s.Metric, strings.Split(machine, ",")[0], len(s.Points)))
	}
	if steps, _ := Steps(series); len(steps) != 0 || len(series) != 3 || got[1] != "step_time another 2" &&
		got[2] != "step_time another 2" {
		t.Errorf("got %v and %v, want two series of times of two points each, and no step", got, steps)
	}
}

package compare

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/localbench/localbench/results"
)

func revisions(peaks ...int64) (out []Revision) {
	for i, peak := range peaks {
		r := results.Record{Spec: results.Spec{Method: "bp", Network: "resnet20", Dataset: "cifar10", Batch: 128}, Status: results.StatusDone}
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
	for _, s := range Steps(all) {
		got = append(got, fmt.Sprintf("%s %g %g", s.Commit, s.Before, s.After))
	}
	if want := []string{"c2 100 101", "c4 101 100"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if one := History(revisions(100)); len(one) != 0 {
		t.Errorf("one commit: got %v, want no series", one)
	}
}

// noisy is a series of step times with a spread of 1 %, log-normal, that jumps at a commit.
func noisy(random *rand.Rand, commits, repetitions, at int, jump float64) Series {
	s := Series{Run: "r", Metric: "step_time", Unit: "s"}
	for k := range commits {
		p := Point{Commit: fmt.Sprintf("c%d", k)}
		for range repetitions {
			x := 1 + 0.01*random.ExpFloat64() // skewed, as step times are
			if k >= at {
				x *= 1 + jump
			}
			p.Values = append(p.Values, x)
		}
		s.Points = append(s.Points, p)
	}
	return s
}

// TestNoisySteps simulates: steps of 5 % at three repetitions a commit are found at their very
// commit, and grids in which nothing changes have false steps in less than one of twenty.
func TestNoisySteps(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const trials = 400
	found := 0
	for range trials {
		steps := Steps([]Series{noisy(random, 30, 3, 17, 0.05)})
		if len(steps) == 1 && steps[0].Commit == "c17" && steps[0].Change > 0.04 && steps[0].Change < 0.06 {
			found++
		}
	}
	if found < trials*95/100 {
		t.Errorf("a step of 5 %%: found at its commit in %d of %d, want 95 %%", found, trials)
	}
	alarms := 0
	for range trials {
		var grid []Series
		for range 20 {
			grid = append(grid, noisy(random, 15, 3, 99, 0))
		}
		if len(Steps(grid)) > 0 {
			alarms++
		}
	}
	if alarms > trials*5/100 {
		t.Errorf("nothing changes: %d of %d grids have a step, want at most 5 %%", alarms, trials)
	}
	t.Logf("found %d of %d; false alarms %d of %d", found, trials, alarms, trials)
}

// TestTwoSteps: up and down again.
func TestTwoSteps(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	s := noisy(random, 40, 3, 20, 0.1)
	for k := 30; k < 40; k++ {
		for i := range s.Points[k].Values {
			s.Points[k].Values[i] /= 1.1
		}
	}
	steps := Steps([]Series{s})
	if len(steps) != 2 || steps[0].Commit != "c20" || steps[1].Commit != "c30" || steps[1].Change > -0.08 {
		t.Errorf("got %+v, want c20 and c30", steps)
	}
}

package suite

import (
	"fmt"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/datasets"
)

// Forecast says how long a sweep still takes, from the time of the steps that its runs have done. The time of a run that waits is
// taken from runs with the same step, else from runs of the same network, data set and batch, else from all, by sample.
type Forecast struct {
	jobs  int
	specs []results.Spec
	state []forecastState
	steps map[string]rate // by ID of the step, or by task
	all   rate            // of a sample
	sizes map[string]int  // training samples by data set
}

type forecastState struct {
	ended bool
	left  float64 // seconds of a run that is running
	known bool
}

// rate is a mean.
type rate struct{ sum, n float64 }

func (r *rate) add(x float64) { r.sum, r.n = r.sum+x, r.n+1 }

// NewForecast is the forecast of a sweep that runs jobs specs at a time.
func NewForecast(specs []results.Spec, jobs int) *Forecast {
	return &Forecast{jobs: max(jobs, 1), specs: specs, state: make([]forecastState, len(specs)), steps: map[string]rate{},
		sizes: map[string]int{}}
}

// On takes an event of a run.
func (f *Forecast) On(run int, e Event) {
	if run >= len(f.state) {
		return
	}
	switch e.Kind {
	case EventStep:
		f.state[run].left, f.state[run].known = e.SecondsLeft, true
		if e.SamplesPerSecond > 0 {
			s := f.specs[run]
			seconds := float64(s.Batch) / e.SamplesPerSecond
			for _, key := range keys(s) {
				r := f.steps[key]
				r.add(seconds)
				f.steps[key] = r
			}
			f.all.add(1 / e.SamplesPerSecond)
		}
	case EventEnded:
		f.state[run].ended = true
	}
}

// keys are the names under which the step times of a spec are kept, the most exact first.
func keys(s results.Spec) []string {
	return []string{results.SpecID(results.StepSpec(s)), fmt.Sprintf("%s %s %d", s.Network, s.Dataset, s.Batch)}
}

// Ended is the number of runs that have ended.
func (f *Forecast) Ended() (n int) {
	for _, s := range f.state {
		if s.ended {
			n++
		}
	}
	return n
}

// Left is the time that the sweep still takes, in seconds; false before the first step. Evaluation is not counted.
func (f *Forecast) Left() (seconds float64, ok bool) {
	longest := 0.0
	for i, s := range f.state {
		if s.ended {
			continue
		}
		left := s.left
		if !s.known {
			if left, ok = f.waiting(f.specs[i]); !ok {
				return 0, false
			}
		}
		seconds, longest = seconds+left, max(longest, left)
	}
	return max(seconds/float64(f.jobs), longest), true
}

// waiting is the time of a run that has not begun.
func (f *Forecast) waiting(s results.Spec) (float64, bool) {
	step := f.all
	step.sum *= float64(s.Batch)
	for _, key := range keys(s) {
		if r, ok := f.steps[key]; ok {
			step = r
			break
		}
	}
	if step.n == 0 {
		return 0, false
	}
	samples, ok := f.sizes[s.Dataset]
	if !ok {
		entry, err := datasets.Find(s.Dataset)
		if err != nil {
			return 0, false
		}
		samples = entry.TrainSamples
		f.sizes[s.Dataset] = samples
	}
	if s.TrainLimit > 0 {
		samples = int(s.TrainLimit)
	}
	samples -= datasets.HeldOut(samples, s.ValFraction)
	return step.sum / step.n * float64(s.Epochs) * float64((int64(samples)+s.Batch-1)/s.Batch), true
}

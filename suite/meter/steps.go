package meter

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// Steps collects the times of training steps. The zero value is ready. It keeps
// all of them, 8 bytes a step.
type Steps struct {
	seconds []float64
	invalid int
}

// StepSummary is the distribution of step times, in seconds. It has the median instead of
// the mean, since other processes make a few steps very long.
type StepSummary struct {
	Median, P05, P95 float64
	// N is the number of steps in the distribution.
	N int
	// Invalid is the number of excluded times: negative or not finite, from a
	// clock that jumped. It is 0 in a valid measurement.
	Invalid int
}

// Grow reserves memory for n more steps, so that Add does not allocate in a run
// whose memory is measured.
func (s *Steps) Grow(n int) { s.seconds = slices.Grow(s.seconds, max(n, 0)) }

// Add adds the time of a step.
func (s *Steps) Add(seconds float64) {
	if !(seconds >= 0) || math.IsInf(seconds, 1) {
		s.invalid++
		return
	}
	s.seconds = append(s.seconds, seconds)
}

// Reset removes all steps, such as those of the warm-up, and keeps the memory.
func (s *Steps) Reset() { s.seconds, s.invalid = s.seconds[:0], 0 }

// savedSteps is Steps as JSON.
type savedSteps struct {
	Nanoseconds []int64 `json:"nanoseconds"`
	Invalid     int     `json:"invalid,omitempty"`
}

// MarshalJSON writes the steps so that a process that resumes a run has them; times are rounded to nanoseconds.
func (s Steps) MarshalJSON() ([]byte, error) {
	saved := savedSteps{make([]int64, len(s.seconds)), s.invalid}
	for i, x := range s.seconds {
		saved.Nanoseconds[i] = int64(math.Round(x * float64(time.Second)))
	}
	return json.Marshal(saved)
}

// UnmarshalJSON reads what MarshalJSON wrote, and refuses negative times.
func (s *Steps) UnmarshalJSON(text []byte) error {
	var saved savedSteps
	if err := json.Unmarshal(text, &saved); err != nil {
		return err
	}
	*s = Steps{invalid: saved.Invalid}
	for _, n := range saved.Nanoseconds {
		if n < 0 {
			return fmt.Errorf("a step of %d ns: must not be negative", n)
		}
		s.Add(time.Duration(n).Seconds())
	}
	return nil
}

// Summary returns the distribution; false if no step was timed.
func (s *Steps) Summary() (StepSummary, bool) {
	if len(s.seconds) == 0 {
		return StepSummary{Invalid: s.invalid}, false
	}
	sorted := slices.Sorted(slices.Values(s.seconds))
	return StepSummary{
		Median: quantile(sorted, 0.5), P05: quantile(sorted, 0.05), P95: quantile(sorted, 0.95),
		N: len(sorted), Invalid: s.invalid,
	}, true
}

// quantile interpolates between the two values next to position p (n-1), as R's
// type 7 and NumPy do. Note: gonum's stat.Quantile with LinInterp takes the
// lower of the middle two as the median of an even number of values.
func quantile(sorted []float64, p float64) float64 {
	place := p * float64(len(sorted)-1)
	low := int(place)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (place-float64(low))*(sorted[high]-sorted[low])
}

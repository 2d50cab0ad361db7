package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/meter"
	"github.com/localbench/localbench/suite/weights"
)

// Progress is the position of a run: together with the persistent values of the
// session it is sufficient to resume with bitwise equal results.
type Progress struct {
	Epoch  int             `json:"epoch"` // the epoch in work, from 1
	Batch  int             `json:"batch"` // batches of it that are trained
	Sums   Sums            `json:"sums"`  // of those batches
	Epochs []results.Epoch `json:"epochs"`
	// Times of the run so far, of earlier processes too.
	TrainSeconds    float64            `json:"train_seconds"`
	EvalSeconds     float64            `json:"eval_seconds"`
	Steps           meter.Steps        `json:"steps"`             // the timed ones
	CPU             meter.Steps        `json:"cpu"`               // processor time of the timed steps
	PhaseSeconds    map[string]float64 `json:"phase_seconds"`     // sum over the timed steps
	DataWaitSeconds float64            `json:"data_wait_seconds"` // of the timed steps
	StepSecondsSum  float64            `json:"step_seconds_sum"`
}

// Sums add up an epoch batch by batch, weighted by samples.
type Sums struct {
	Samples int       `json:"samples"`
	Losses  []float64 `json:"losses"`  // by loss term, times samples
	Correct []float64 `json:"correct"` // by loss term
	Top5    *float64  `json:"top5,omitempty"`
}

func (s *Sums) add(o Outcome, samples int) {
	if s.Losses == nil {
		s.Losses, s.Correct = make([]float64, len(o.Losses)), make([]float64, len(o.Losses))
	}
	s.Samples += samples
	if o.Top5 != nil {
		if s.Top5 == nil {
			s.Top5 = new(float64)
		}
		*s.Top5 += float64(*o.Top5)
	}
	for i, l := range o.Losses {
		s.Losses[i] += float64(l) * float64(samples)
		s.Correct[i] += float64(o.Correct[i])
	}
}

// mean returns the mean loss of term i; top1 the fraction that it classified right.
func (s *Sums) mean(i int) float64 { return s.Losses[i] / float64(s.Samples) }
func (s *Sums) top1(i int) float64 { return s.Correct[i] / float64(s.Samples) }

// top5 returns the fraction whose class is among the head's five likeliest; nil if they are not counted.
func (s *Sums) top5() *float64 {
	if s.Top5 == nil {
		return nil
	}
	share := *s.Top5 / float64(s.Samples)
	return &share
}

// stateKey names the progress among the metadata of a state file, specKey the
// id of the run that it belongs to.
const (
	stateKey = "localbench_progress"
	specKey  = "localbench_run"
)

// PreviousState is the file of the state before the one at path: it is kept until a run is done, in case the newer one is
// damaged on the disk.
func PreviousState(path string) string {
	return strings.TrimSuffix(path, ".safetensors") + ".previous.safetensors"
}

// DamagedState is where a state that cannot be used is moved to.
func DamagedState(path string) string { return path + ".damaged" }

// saveState writes the session and the progress to path, atomically. The existing state becomes the previous one; if the disk has
// no space for three, the previous one is removed first.
func saveState(path, id string, s *Session, p Progress) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	metadata := map[string]string{stateKey: string(text), specKey: id}
	save := func() error {
		return weights.SaveChecked(path, PreviousState(path), s.Training, s.Persistent(), metadata)
	}
	if err = save(); err != nil && os.Remove(PreviousState(path)) == nil {
		err = save()
	}
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// checkRoom checks, before training, that the disk has space for a state beside an older one.
func checkRoom(path string, s *Session) error {
	bytes := int64(1 << 20) // header and progress
	for _, v := range s.Persistent() {
		bytes += v.Bytes()
	}
	if _, err := os.Stat(path); os.IsNotExist(err) {
		bytes *= 2
	}
	if err := atomicfile.CheckRoom(path, bytes); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// loadState fills the session from the newest sound state at path or before it. Found is false if there is none. Damaged ones are
// renamed, with a warning. The progress is checked against extent.
func loadState(path, id string, s *Session, e extent, warn func(string)) (p Progress, found bool, err error) {
	damaged := false
	for _, name := range []string{path, PreviousState(path)} {
		p, err := readState(name, id, s, e)
		var fault *weights.DamagedError
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.As(err, &fault):
			damaged = true
			if err := os.Rename(name, DamagedState(name)); err != nil {
				return Progress{}, false, fmt.Errorf("state: %w, and it can't be renamed: %w", fault, err)
			}
			warn(fmt.Sprintf("the state %v; it was renamed to %s", fault, DamagedState(name)))
		case err != nil:
			return Progress{}, false, fmt.Errorf("state: %w", err)
		default:
			if damaged {
				warn(fmt.Sprintf("the run continues from the previous state, in epoch %d", p.Epoch))
			}
			return p, true, nil
		}
	}
	if damaged {
		warn("there is no previous state: the run starts from the beginning")
	}
	return Progress{}, false, nil
}

// readState fills the session from one file. A fault in the file is a *weights.DamagedError.
func readState(path, id string, s *Session, e extent) (p Progress, err error) {
	meta, err := weights.LoadChecked(path, s.Training, s.Persistent())
	if err != nil {
		return p, err
	}
	if meta[specKey] != id {
		return p, &weights.DamagedError{Path: path, Err: fmt.Errorf("it belongs to the run %q", meta[specKey])}
	}
	if err := json.Unmarshal([]byte(meta[stateKey]), &p); err != nil {
		return p, &weights.DamagedError{Path: path, Err: fmt.Errorf("progress: %w", err)}
	}
	if err := e.check(p); err != nil {
		return p, &weights.DamagedError{Path: path, Err: fmt.Errorf("progress: %w", err)}
	}
	return p, nil
}

// extent bounds the progress of a run: its epochs, batches and samples.
type extent struct {
	epochs, samples, batch int
	losses                 int // loss terms of the training program
}

// check returns an error for an impossible progress.
func (e extent) check(p Progress) error {
	batches := (e.samples + e.batch - 1) / e.batch
	switch {
	case p.Epoch < 1 || p.Epoch > e.epochs+1:
		return fmt.Errorf("epoch %d of %d", p.Epoch, e.epochs)
	case len(p.Epochs) != p.Epoch-1:
		return fmt.Errorf("it is in epoch %d and has results of %d", p.Epoch, len(p.Epochs))
	case p.Batch < 0 || p.Batch > batches || p.Epoch > e.epochs && p.Batch > 0:
		return fmt.Errorf("batch %d of %d in epoch %d of %d", p.Batch, batches, p.Epoch, e.epochs)
	case p.Sums.Samples != min(p.Batch*e.batch, e.samples):
		return fmt.Errorf("%d samples in %d batches of %d", p.Sums.Samples, p.Batch, e.batch)
	}
	losses := 0
	if p.Batch > 0 {
		losses = e.losses
	}
	if len(p.Sums.Losses) != losses || len(p.Sums.Correct) != losses {
		return fmt.Errorf("%d losses and %d counts, which must be %d", len(p.Sums.Losses), len(p.Sums.Correct), losses)
	}
	for i, done := range p.Epochs {
		if done.Epoch != int64(i+1) {
			return fmt.Errorf("result %d is of epoch %d", i+1, done.Epoch)
		}
		if done.TrainLoss == nil || done.TestTop1 == nil {
			return fmt.Errorf("the result of epoch %d has no training loss or no test accuracy", i+1)
		}
	}
	numbers := append([]float64{p.TrainSeconds, p.EvalSeconds, p.DataWaitSeconds, p.StepSecondsSum}, p.Sums.Correct...)
	for _, seconds := range p.PhaseSeconds {
		numbers = append(numbers, seconds)
	}
	for _, x := range numbers {
		if x < 0 || math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("a time or count of %g", x)
		}
	}
	for _, x := range p.Sums.Losses {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("a loss of %g", x)
		}
	}
	return nil
}

// RemoveState deletes the states of a finished run, if there are any.
func RemoveState(path string) error {
	for _, name := range []string{path, PreviousState(path)} {
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("state: %w", err)
		}
	}
	return nil
}

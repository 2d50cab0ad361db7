package train

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/weights"
)

// Progress is where a run stands: what has to be known, besides the persistent
// values of the session, to go on to the same bits.
type Progress struct {
	Epoch  int             `json:"epoch"` // the epoch in work, from 1
	Batch  int             `json:"batch"` // batches of it that are trained
	Sums   Sums            `json:"sums"`  // of those batches
	Epochs []results.Epoch `json:"epochs"`
	// Seconds spent so far, of earlier processes too.
	TrainSeconds float64 `json:"train_seconds"`
	EvalSeconds  float64 `json:"eval_seconds"`
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

// top5 returns the fraction whose class is among the head's five likeliest, nil where nobody counts.
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

// saveState writes the session and the progress to path, atomically.
func saveState(path, id string, s *Session, p Progress) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("train: state: %w", err)
	}
	return weights.Save(path, s.Training, s.Persistent(), map[string]string{stateKey: string(text), specKey: id})
}

// loadState fills the session from path. Found is false if there is no file.
func loadState(path, id string, s *Session) (p Progress, found bool, err error) {
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return p, false, nil
	}
	meta, err := weights.Load(path, s.Training, s.Persistent())
	if err != nil {
		return p, false, err
	}
	if meta[specKey] != id {
		return p, false, fmt.Errorf("train: state %s: belongs to run %q, want %q", path, meta[specKey], id)
	}
	if err := json.Unmarshal([]byte(meta[stateKey]), &p); err != nil {
		return p, false, fmt.Errorf("train: state %s: progress: %w", path, err)
	}
	return p, true, nil
}

// Package train holds the training and evaluation loop. All methods share it, with the
// same data, schedule, measurements and record, so that differences between results are
// differences between methods.
package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"time"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/datasets"
	"github.com/localbench/localbench/suite/weights"
)

// Options of one run.
type Options struct {
	ID       string // of the run: names the state file's owner
	Seed     uint64
	Batch    int
	Schedule Schedule
	Data     *datasets.Dataset
	Val      *datasets.Split // held out of Data.Train, evaluated after every epoch as the test set is; may be nil
	Augment  datasets.Augmentation
	// StatePath is the file to which progress is saved after every epoch and on
	// interruption; empty: nothing is saved. Resume continues from it if it exists, or from the previous state.
	StatePath string
	Resume    bool
	InitPath  string // file of starting weights; empty: from the seed
	Now       func() time.Time
	CPU       func() float64 // seconds of processor time that the process has used; may be nil
	Ready     func()         // called when all is in place and the first step is next; may be nil
	On        func(Tick)     // called after every step and every epoch; may be nil
	Warn      func(string)   // called with a sentence that the user should read; may be nil
}

// Tick reports progress.
type Tick struct {
	Epoch, Epochs int
	Step, Steps   int     // of the epoch
	Loss          float64 // of the head, mean over the epoch so far
	Seconds       float64 // of the last step
	Finished      *results.Epoch
}

// Diverged reports a loss that is not finite.
type Diverged struct {
	Epoch, Step, Module int
	Loss                float32
}

// Error names the epoch, the step and the module.
func (e *Diverged) Error() string {
	return fmt.Sprintf("epoch %d, step %d: the loss of module %d is %g; training can't continue", e.Epoch, e.Step, e.Module, e.Loss)
}

// Hint suggests a remedy.
func (e *Diverged) Hint() string { return "a lower --lr usually helps" }

// Report holds the measurements of a run.
type Report struct {
	Progress
	BufferBytes int64 // host memory of the loaders
}

// Run initialises or resumes, trains and evaluates. On interruption it saves
// its state and returns the context's error; the report then covers the completed part.
func Run(ctx context.Context, s *Session, o Options) (*Report, error) {
	r := &runner{session: s, options: o, report: &Report{}}
	r.report.Progress = Progress{Epoch: 1, PhaseSeconds: map[string]float64{}}
	if err := r.begin(); err != nil {
		return r.report, err
	}
	if err := r.open(); err != nil {
		return r.report, err
	}
	defer r.close()
	if o.Ready != nil {
		o.Ready()
	}
	p := &r.report.Progress
	for p.Epoch <= o.Schedule.Epochs {
		if err := r.epoch(ctx); err != nil {
			if ctx.Err() != nil {
				return r.report, errors.Join(err, r.save())
			}
			return r.report, err
		}
		if err := r.save(); err != nil {
			return r.report, err
		}
	}
	return r.report, nil
}

type runner struct {
	session *Session
	options Options
	report  *Report
	warm    bool    // a step has run in this process
	cpu     float64 // processor time at the begin of the step

	train, test, val *datasets.Loader // val is nil if nothing is held out
}

// open makes the loaders, once for all epochs.
func (r *runner) open() (err error) {
	o := r.options
	decoders := runtime.GOMAXPROCS(0) // of sets that are pictures; the batches are the same for any number
	r.train, err = datasets.NewLoader(o.Data.Train, datasets.LoaderOptions{Batch: o.Batch, Seed: o.Seed, Augment: o.Augment,
		Draw: r.session.augment != (core.Augmentation{}), Shuffle: true, Decoders: decoders})
	if err != nil {
		return err
	}
	if r.test, err = datasets.NewLoader(o.Data.Test, datasets.LoaderOptions{Batch: o.Batch, Decoders: decoders}); err != nil {
		r.train.Close()
		return err
	}
	if o.Val != nil {
		if r.val, err = datasets.NewLoader(*o.Val, datasets.LoaderOptions{Batch: o.Batch, Decoders: decoders}); err != nil {
			r.close()
			return err
		}
		r.report.BufferBytes += r.val.BufferBytes()
	}
	r.report.BufferBytes += r.train.BufferBytes() + r.test.BufferBytes()
	return nil
}

func (r *runner) close() {
	r.train.Close()
	r.test.Close()
	if r.val != nil {
		r.val.Close()
	}
}

func (r *runner) begin() error {
	o := r.options
	if o.StatePath != "" {
		if err := checkRoom(o.StatePath, r.session); err != nil {
			return err
		}
	}
	if o.Resume && o.StatePath != "" {
		warn := o.Warn
		if warn == nil {
			warn = func(string) {}
		}
		e := extent{o.Schedule.Epochs, o.Data.Train.N, o.Batch, len(r.session.Training.Losses)}
		p, found, err := loadState(o.StatePath, o.ID, r.session, e, warn)
		if err != nil {
			return err
		}
		if found {
			if p.PhaseSeconds == nil {
				p.PhaseSeconds = map[string]float64{}
			}
			r.report.Progress = p
			return nil
		}
	}
	if err := r.session.Initialise(o.Seed); err != nil || o.InitPath == "" {
		return err
	}
	return weights.LoadModel(o.InitPath, r.session.Training, r.session.Model())
}

func (r *runner) save() error {
	if r.options.StatePath == "" {
		return nil
	}
	return saveState(r.options.StatePath, r.options.ID, r.session, r.report.Progress)
}

// epoch trains the remaining batches of the current epoch, evaluates, and advances the
// progress to the next one.
func (r *runner) epoch(ctx context.Context) error {
	p, start := &r.report.Progress, r.options.Now()
	if err := r.trainEpoch(ctx); err != nil {
		p.TrainSeconds += r.options.Now().Sub(start).Seconds()
		return err
	}
	trained := r.options.Now()
	test, err := r.evaluate(ctx, r.test)
	var val Sums
	if err == nil && r.val != nil {
		val, err = r.evaluate(ctx, r.val)
	}
	if err != nil {
		p.TrainSeconds += trained.Sub(start).Seconds()
		return err
	}
	p.TrainSeconds += trained.Sub(start).Seconds()
	p.EvalSeconds += r.options.Now().Sub(trained).Seconds()
	done := r.summary(test, val, r.options.Now().Sub(start).Seconds())
	p.Epochs = append(p.Epochs, done)
	p.Epoch, p.Batch, p.Sums = p.Epoch+1, 0, Sums{}
	r.tick(Tick{Epoch: int(done.Epoch), Finished: &done})
	return nil
}

// summary makes the record of the epoch from the sums.
func (r *runner) summary(test, val Sums, seconds float64) results.Epoch {
	p := &r.report.Progress
	e := results.Epoch{Epoch: int64(p.Epoch), LR: r.options.Schedule.LearningRate(p.Epoch), Seconds: &seconds}
	for i, l := range r.session.Training.Losses {
		mean, top1 := p.Sums.mean(i), p.Sums.top1(i)
		if l.Classifier {
			e.TrainLoss, e.TrainTop1 = &mean, &top1
		}
		for len(e.ModuleLosses) <= l.Module {
			e.ModuleLosses = append(e.ModuleLosses, 0)
		}
		e.ModuleLosses[l.Module] += l.Weight * mean
	}
	for i, l := range r.session.Evaluation.Losses {
		loss, top1 := test.mean(i), test.top1(i)
		if l.Classifier {
			e.TestLoss, e.TestTop1, e.TestTop5 = finite(loss), &top1, test.top5()
			if val.Samples > 0 {
				loss, top1 := val.mean(i), val.top1(i)
				e.ValLoss, e.ValTop1 = finite(loss), &top1
			}
		}
		if len(r.session.Evaluation.Losses) > 1 {
			e.Heads = append(e.Heads, results.Head{Module: int64(l.Module), Name: l.Name, TestLoss: finite(loss), TestTop1: &top1})
		}
	}
	return e
}

// finite is nil for NaN and infinities: an evaluation with running statistics that have not converged yet can
// have such a loss, which does not end the training.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func (r *runner) trainEpoch(ctx context.Context) error {
	o, p, loader := r.options, &r.report.Progress, r.train
	if err := loader.Reset(uint32(p.Epoch), p.Batch); err != nil {
		return err
	}
	rate := o.Schedule.LearningRate(p.Epoch)
	begin := r.beginStep()
	samples, err := r.feed(ctx, rate)
	for samples > 0 && err == nil {
		waited := o.Now().Sub(begin)
		if err := r.session.Launch(); err != nil {
			return err
		}
		next := 0
		if r.session.ahead {
			from := o.Now()
			next, err = r.feed(ctx, rate) // an error counts when the step under way is noted
			waited += o.Now().Sub(from)
		}
		outcome, failed := r.session.Outcome()
		if failed != nil {
			return failed
		}
		p.Sums.add(outcome, samples)
		p.Batch++
		if err := r.checkFinite(outcome); err != nil {
			return err
		}
		r.measure(samples, begin, waited)
		r.tick(Tick{Epoch: p.Epoch, Step: p.Batch, Steps: loader.Batches(), Loss: r.headLoss(), Seconds: o.Now().Sub(begin).Seconds()})
		begin = r.beginStep()
		if samples = next; !r.session.ahead {
			samples, err = r.feed(ctx, rate)
		}
	}
	return err
}

// feed writes the next batch of the epoch and returns its samples; 0 after the last.
func (r *runner) feed(ctx context.Context, rate float64) (int, error) {
	batch, err := r.train.Next(ctx)
	if errors.Is(err, io.EOF) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer r.train.Release(batch)
	step := (r.report.Progress.Epoch-1)*r.train.Batches() + batch.Index // of the run
	return batch.N, r.session.Feed(Batch{Images: batch.Images, Labels: batch.Labels, Words: batch.Words,
		Seed: r.options.Seed, Step: uint32(step)}, rate)
}

// beginStep notes the processor time and returns the time at which a step begins.
func (r *runner) beginStep() time.Time {
	if r.options.CPU != nil {
		r.cpu = r.options.CPU()
	}
	return r.options.Now()
}

// measure notes the times of a step; waited is the time spent on waiting for the loader and on copying. The first step of a
// process and partial batches are not steady steps: they are trained but not timed.
func (r *runner) measure(samples int, begin time.Time, waited time.Duration) {
	phases := r.session.PhaseSeconds()
	seconds := r.options.Now().Sub(begin).Seconds()
	var cpu float64
	if r.options.CPU != nil {
		cpu = r.options.CPU() - r.cpu
	}
	warm := r.warm
	r.warm = true
	if !warm || samples != r.options.Batch {
		return
	}
	r.report.Steps.Add(seconds)
	if r.options.CPU != nil {
		r.report.CPU.Add(cpu)
	}
	r.report.StepSecondsSum += seconds
	r.report.DataWaitSeconds += waited.Seconds()
	for phase, s := range phases {
		r.report.PhaseSeconds[phase] += s
	}
}

func (r *runner) headLoss() float64 {
	for i, l := range r.session.Training.Losses {
		if l.Classifier {
			return r.report.Progress.Sums.mean(i)
		}
	}
	return math.NaN()
}

func (r *runner) checkFinite(o Outcome) error {
	for i, l := range o.Losses {
		if math.IsNaN(float64(l)) || math.IsInf(float64(l), 0) {
			p := r.report.Progress
			return &Diverged{Epoch: p.Epoch, Step: p.Batch, Module: r.session.Training.Losses[i].Module, Loss: l}
		}
	}
	return nil
}

// evaluate runs the network on a whole set.
func (r *runner) evaluate(ctx context.Context, set *datasets.Loader) (Sums, error) {
	var sums Sums
	if err := set.Reset(0, 0); err != nil {
		return sums, err
	}
	for {
		batch, err := set.Next(ctx)
		if errors.Is(err, io.EOF) {
			return sums, nil
		}
		if err != nil {
			return sums, err
		}
		outcome, err := r.session.Evaluate(batch.Images, batch.Labels)
		set.Release(batch)
		if err != nil {
			return sums, err
		}
		sums.add(outcome, batch.N)
	}
}

func (r *runner) tick(t Tick) {
	if r.options.On != nil {
		t.Epochs = r.options.Schedule.Epochs
		r.options.On(t)
	}
}

// Tail returns the size of the last batch of n samples if it is not full, else 0.
func Tail(n, batch int) int64 { return int64(n % batch) }

package train

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/core/rng"
	"github.com/localbench/localbench/suite/weights"
)

// Session is the training of one network on one device: the programs for full and
// for last batches, for training and for evaluation, on one arena.
type Session struct {
	Training   *core.Program // the full batch: the program whose profile is reported
	Evaluation *core.Program
	tails      map[tailKey]*core.Program
	device     engine.Device
	arena      engine.Arena
	losses     []float32
	correct    []float32
	scores     []float32         // probabilities of the last evaluation
	ahead      bool              // batches may be fed while a step runs
	augment    core.Augmentation // on the device; the zero value: none there
	fed        *core.Program     // whose batch is written
	launched   *core.Program
	outputs    []*graph.Value // what outcome reads, to numbers
	numbers    []float32
}

type tailKey struct {
	training bool
	samples  int64
}

// SessionOptions define the programs of a session.
type SessionOptions struct {
	Stages     []model.Stage
	Step       core.StepOptions // Batch is the full batch
	TrainTail  int64            // samples of the last training batch, if not full; else 0
	TestTail   int64            // samples of the last test batch, if not full; else 0
	ValTail    int64            // samples of the last batch of held out ones, if not full; else 0
	Evaluation bool             // the session evaluates, too
}

// NewSession compiles the programs and allocates the arena. The persistent
// values are undefined until Initialise, weights.LoadModel or weights.LoadChecked.
func NewSession(d engine.Device, o SessionOptions) (*Session, error) {
	s, err := Compile(d, o)
	if err != nil {
		return nil, err
	}
	if err := s.Allocate(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Compile compiles the programs of a session and allocates no memory for them: ArenaBytes is the size that Allocate will
// allocate. Nothing can run before Allocate.
func Compile(d engine.Device, o SessionOptions) (*Session, error) {
	s := &Session{device: d, tails: map[tailKey]*core.Program{}, ahead: o.Step.KeepInputs, augment: o.Step.Augment}
	if err := s.compile(o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Allocate makes the arena, of ArenaBytes, and places the programs in it.
func (s *Session) Allocate() (err error) {
	if s.arena, err = core.Arena(s.device, s.programs()...); err != nil {
		return err
	}
	s.losses, s.correct = make([]float32, len(s.Training.Losses)), make([]float32, len(s.Training.Losses))
	return nil
}

func (s *Session) compile(o SessionOptions) (err error) {
	if s.Training, err = s.program(o, true, o.Step.Batch); err != nil {
		return err
	}
	if o.Evaluation {
		if s.Evaluation, err = s.program(o, false, o.Step.Batch); err != nil {
			return err
		}
	}
	for _, k := range []tailKey{{true, o.TrainTail}, {false, o.TestTail}, {false, o.ValTail}} {
		if k.samples > 0 && s.tails[k] == nil && (k.training || o.Evaluation) {
			if s.tails[k], err = s.program(o, k.training, k.samples); err != nil {
				return fmt.Errorf("last batch, of %d: %w", k.samples, err)
			}
		}
	}
	return nil
}

func (s *Session) program(o SessionOptions, training bool, batch int64) (*core.Program, error) {
	o.Step.Batch = batch
	write := core.EvaluationStep
	if training {
		write = core.TrainingStep
	}
	step, err := write(o.Stages, o.Step)
	if err != nil {
		return nil, err
	}
	return core.Compile(s.device, step, s.Training)
}

func (s *Session) programs() []*core.Program {
	var all []*core.Program
	full := []*core.Program{s.Training, s.Evaluation}
	tails := slices.SortedFunc(maps.Keys(s.tails), func(a, b tailKey) int { return cmp.Compare(a.samples, b.samples) })
	for _, k := range tails {
		full = append(full, s.tails[k])
	}
	for _, p := range full {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// ArenaBytes is the size of the arena: the largest that any program of the session needs.
func (s *Session) ArenaBytes() int64 { return core.ArenaBytes(s.programs()...) }

// Arena is the memory that all programs share.
func (s *Session) Arena() engine.Arena { return s.arena }

// Close frees programs and arena.
func (s *Session) Close() {
	for _, p := range s.programs() {
		p.Program.Close()
	}
	if s.arena != nil {
		s.arena.Close()
	}
}

// Persistent returns the values that live from step to step.
func (s *Session) Persistent() []*graph.Value {
	var out []*graph.Value
	for _, v := range s.Training.Graph.Values {
		if v.Category.Persistent() {
			out = append(out, v)
		}
	}
	return out
}

// Model lists the parameters and running statistics: what a file of weights holds.
func (s *Session) Model() []*graph.Value {
	return slices.DeleteFunc(s.Persistent(), func(v *graph.Value) bool { return v.Category == graph.CategoryOptimizer })
}

// Initialise fills every persistent value from its distribution. The element
// at canonical position i of the parameter named n is number i of the stream
// (seed, init, n): a layer of the same name has the same initial values under every
// method.
func (s *Session) Initialise(seed uint64) error {
	var canonical, program []float32
	for _, v := range s.Persistent() {
		stream := rng.Stream{Seed: seed, Purpose: rng.PurposeInit, Epoch: rng.NameKey(v.Name)}
		for first, n := range v.Pieces(weights.PieceElements) {
			room := int(max(n, weights.PieceElements))
			canonical, program = slices.Grow(canonical[:0], room)[:n], slices.Grow(program[:0], room)[:n]
			switch w := v.Weight; w.Init {
			case graph.InitNormal:
				stream.FillNormal(canonical, uint64(first), w.Scale)
			case graph.InitUniform:
				stream.FillUniform(canonical, uint64(first), -w.Scale, w.Scale)
			default:
				for i := range canonical {
					canonical[i] = float32(w.Scale)
				}
			}
			graph.ToProgram(v, program, canonical)
			if err := s.Training.WriteAt(v, first, program); err != nil {
				return err
			}
		}
	}
	return nil
}

// Outcome is the result of one run of a program.
type Outcome struct {
	Losses  []float32 // by loss term in program order; valid until the next run
	Correct []float32 // by loss term, samples that it classified right; 0 where it classifies nothing
	Top5    *float32  // samples whose class is among the head's five likeliest; nil if they are not counted
}

// Batch is the input of a step. Words are the random words of an augmentation on the device; nil
// without one.
type Batch struct {
	Images []byte  // [N H W C]
	Labels []int32 // [N]
	Words  []int32 // [N 4]
	// Seed and Step determine the dropout masks of the step.
	Seed uint64
	Step uint32
}

// Train runs one training step on the batch, with the dropout masks of step 0 of seed 0.
func (s *Session) Train(images []byte, labels []int32, learningRate float64) (Outcome, error) {
	if err := s.Feed(Batch{Images: images, Labels: labels}, learningRate); err != nil {
		return Outcome{}, err
	}
	return s.Step()
}

// Feed writes the batch of the next training step. With StepOptions.KeepInputs it may be called
// between Launch and Outcome, and the copy overlaps the step.
func (s *Session) Feed(b Batch, learningRate float64) error {
	p, err := s.pick(true, len(b.Labels))
	if err != nil {
		return err
	}
	if err := p.Write(p.Images, b.Images); err != nil {
		return err
	}
	if p.Words != nil {
		if b.Words == nil { // a batch that is not to be changed: the crop in the middle
			b.Words = middle(len(b.Labels), s.augment.Pad)
		}
		if err := p.Write(p.Words, b.Words); err != nil {
			return err
		}
	}
	if err := p.Write(p.Labels, b.Labels); err != nil {
		return err
	}
	if p.Stream != nil {
		if err := p.Write(p.Stream, []int32{int32(uint32(b.Seed)), int32(b.Seed >> 32), int32(b.Step)}); err != nil {
			return err
		}
	}
	s.fed = p
	return p.Write(p.LearningRate, []float32{float32(learningRate)})
}

// middle returns the random words of the augmentation that leaves images unchanged: the crop starts at the border's width.
func middle(samples int, border int64) []int32 {
	pad := uint64(border)
	word := int32(uint32((pad<<32 + 2*pad) / (2*pad + 1))) // the least with word * (2 pad + 1) >> 32 = pad
	words := make([]int32, 4*samples)
	for i := range samples {
		words[4*i], words[4*i+1] = word, word
	}
	return words
}

// Step runs the step whose batch was fed last.
func (s *Session) Step() (Outcome, error) {
	if err := s.Launch(); err != nil {
		return Outcome{}, err
	}
	return s.Outcome()
}

// Launch begins the step whose batch was fed last.
func (s *Session) Launch() error {
	if s.fed == nil {
		return errors.New("launch: no batch was fed")
	}
	s.launched, s.fed = s.fed, nil
	return s.launched.Run(0, len(s.launched.Graph.Ops))
}

// Outcome waits for the step that was launched last.
func (s *Session) Outcome() (Outcome, error) { return s.outcome(s.launched) }

// Evaluate runs the network on the batch with running statistics.
func (s *Session) Evaluate(images []byte, labels []int32) (Outcome, error) {
	p, err := s.pick(false, len(labels))
	if err != nil {
		return Outcome{}, err
	}
	out, err := s.run(p, images, labels)
	if err != nil || p.Probabilities == nil {
		return out, err
	}
	n := p.Probabilities.Shape.Elements()
	if int64(len(s.scores)) < n {
		s.scores = make([]float32, n)
	}
	if err := p.Read(p.Probabilities, s.scores[:n]); err != nil {
		return out, err
	}
	count := top5(s.scores[:n], labels)
	out.Top5 = &count
	return out, nil
}

// top5 counts the samples whose label is among the five classes with the highest scores; of equal scores the lower class
// number ranks first. scores is [N C]; NaN scores never count as correct.
func top5(scores []float32, labels []int32) (count float32) {
	classes := len(scores) / len(labels)
	for i, label := range labels {
		row, before := scores[i*classes:(i+1)*classes], 0
		for c, x := range row {
			if lower := x < row[label] || x == row[label] && c >= int(label); !lower {
				before++
			}
		}
		if before < 5 {
			count++
		}
	}
	return count
}

func (s *Session) pick(training bool, samples int) (*core.Program, error) {
	full := s.Evaluation
	if training {
		full = s.Training
	}
	if full != nil && full.Images.Shape[0] == int64(samples) {
		return full, nil
	}
	if p := s.tails[tailKey{training, int64(samples)}]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("no program for a batch of %d samples", samples)
}

func (s *Session) run(p *core.Program, images []byte, labels []int32) (Outcome, error) {
	if err := p.Write(p.Images, images); err != nil {
		return Outcome{}, err
	}
	if err := p.Write(p.Labels, labels); err != nil {
		return Outcome{}, err
	}
	if err := p.Run(0, len(p.Graph.Ops)); err != nil {
		return Outcome{}, err
	}
	return s.outcome(p)
}

// outcome reads the losses and counts of a finished program, all in one call.
func (s *Session) outcome(p *core.Program) (Outcome, error) {
	out := Outcome{Losses: s.losses[:len(p.Losses)], Correct: s.correct[:len(p.Losses)]}
	s.outputs, s.numbers = s.outputs[:0], slices.Grow(s.numbers[:0], 2*len(p.Losses))
	for _, l := range p.Losses {
		s.outputs = append(s.outputs, l.Value)
		if l.Correct != nil {
			s.outputs = append(s.outputs, l.Correct)
		}
	}
	numbers := s.numbers[:len(s.outputs)]
	if err := engine.ReadNumbers(p.Program, s.outputs, numbers); err != nil {
		return Outcome{}, err
	}
	for i, l := range p.Losses {
		out.Losses[i], out.Correct[i], numbers = numbers[0], 0, numbers[1:]
		if l.Correct != nil {
			out.Correct[i], numbers = numbers[0], numbers[1:]
		}
	}
	return out, nil
}

// PhaseSeconds returns the seconds spent in each phase by the training
// programs since the last call.
func (s *Session) PhaseSeconds() map[string]float64 {
	sum := map[string]float64{}
	for _, p := range s.programs() {
		trace := p.Trace(true)
		if p.LearningRate == nil {
			continue
		}
		for i, op := range p.Graph.Ops {
			sum[op.Phase.String()] += trace[i]
		}
	}
	return sum
}

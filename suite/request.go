// Package suite is what to run: it expands a request into runs, compiles and
// executes one, and sweeps over many, each in a process of its own so that its
// peak memory is its own. It is the only writer of records.
package suite

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/localbench/localbench/core/eager"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/datasets"
	"github.com/localbench/localbench/suite/networks"
	"github.com/localbench/localbench/suite/weights"
)

// Request is what the user asks for. Lists are crossed; an empty list and a
// zero number mean the default.
type Request struct {
	Methods, Networks, Datasets []string
	Batches                     []int64  // samples a step; empty: the recipe's
	AuxDepths                   []int    // AugLocal's d
	Modules                     []int    // K; 0: one a unit
	Seeds                       []uint64 // empty: 1
	Epochs                      int      // 0: the recipe's
	WarmupEpochs                *int     // nil: the recipe's
	TrainLimit, TestLimit       int      // first samples; 0: all
	ImageSize                   int      // side of the images in pixels; 0: the data set's own
	Precision, Backend          string
	Device, Threads             int // Threads 0: all cores
	LearningRate                *float64
	Optimizer                   string // empty: sgd
	Momentum, WeightDecay       *float64
	Betas                       []float64 // of Adam and AdamW: two; empty: PyTorch's
	Epsilon, Alpha              *float64  // of optimizers that divide by a root, of RMSprop; nil: PyTorch's
	Selection                   string    // AugLocal; empty: uniform
	PyramidCoefficient          float64   // AugLocal; 0: 0.5
	NoPyramid                   bool
	NoAugment                   bool
	Dropout                     string  // on, or off; empty: on
	Recompute                   string  // none, or norm: what the backward pass recomputes
	Update                      string  // early, or deferred to the end of the step; empty: early, and deferred with paper quirks
	Init                        string  // file of starting weights; empty: from the seed
	Quirks                      string  // of the published programs; empty: none
	ValFraction                 float64 // of the training set, held out to choose the epoch by; 0: nothing
	// Settings of every run, as far as its method reads them. Cuts may be CutsPublished, and Eager is as eager.ParseOptions reads
	// it. What the fields above ask for (Recompute, Update, Init, Quirks) is filled in by Expand.
	// Store may be f32, the default.
	results.Settings
	// More are requests whose runs come after those of this one, without those that are there already.
	More []Request
}

// Names lists what the Methods, Networks and Datasets of a Request may be.
func Names() (ways, nets, sets []string) {
	for _, m := range methods.List() {
		ways = append(ways, m.Name)
	}
	for _, n := range networks.List() {
		nets = append(nets, n.Name)
	}
	for _, s := range datasets.List() {
		sets = append(sets, s.Name)
	}
	return ways, nets, sets
}

// Defaults is the request of a bare `benchctl run`.
func Defaults() Request {
	return Request{
		Methods: []string{"bp", "auglocal"}, Networks: []string{"resnet32"}, Datasets: []string{"synthetic"},
		AuxDepths: []int{2}, Modules: []int{0}, Seeds: []uint64{1}, Precision: PrecisionF32, Backend: "auto",
	}
}

// Expand crosses the lists into runs, in the order networks, data sets, batches,
// methods, depths, modules, seeds. It checks everything that can be checked
// without data and without a device: an error names the flag, the value and
// the range. What a method does not have (bp has no auxiliary depth) is left
// out of its spec, and specs that so become equal are one run.
func (r Request) Expand() ([]results.Spec, error) {
	runs, err := r.Build()
	return Specs(runs), err
}

// Build is Expand, with what was built of each run to check it.
func (r Request) Build() ([]*Run, error) {
	r.fillDefaults()
	if err := r.check(); err != nil {
		return nil, err
	}
	var out []*Run
	seen := map[string]bool{}
	for _, base := range r.bases() {
		for _, depth := range r.AuxDepths {
			for _, modules := range r.Modules {
				run, err := r.complete(base, depth, modules)
				if err != nil {
					return nil, err
				}
				for _, seed := range r.Seeds {
					run = run.with(func(s *results.Spec) { s.Seed = seed })
					if id := run.ID(); !seen[id] {
						seen[id] = true
						out = append(out, run)
					}
				}
			}
		}
	}
	for _, more := range r.More {
		more.Init = cmp.Or(more.Init, r.Init)
		runs, err := more.Build()
		if err != nil {
			return nil, err
		}
		for _, run := range runs {
			if id := run.ID(); !seen[id] {
				seen[id] = true
				out = append(out, run)
			}
		}
	}
	return out, nil
}

func (r *Request) fillDefaults() {
	d := Defaults()
	fill(&r.Methods, d.Methods)
	fill(&r.Networks, d.Networks)
	fill(&r.Datasets, d.Datasets)
	fill(&r.AuxDepths, d.AuxDepths)
	fill(&r.Modules, d.Modules)
	fill(&r.Seeds, d.Seeds)
	if r.Precision == "" {
		r.Precision = d.Precision
	}
	if r.Backend == "" {
		r.Backend = d.Backend
	}
}

func fill[T any](list *[]T, d []T) {
	if len(*list) == 0 {
		*list = d
	}
}

// check tests the values that are not bound to a method or a network.
func (r Request) check() error {
	for _, b := range r.Batches {
		if b < 1 {
			return fmt.Errorf("--batch %d: must be at least 1", b)
		}
	}
	for _, c := range []struct {
		name  string
		value int
	}{{"epochs", r.Epochs}, {"train-limit", r.TrainLimit}, {"test-limit", r.TestLimit}, {"image-size", r.ImageSize},
		{"threads", r.Threads}, {"warmup-epochs", or(r.WarmupEpochs, 0)},
		{"device", r.Device}} {
		if c.value < 0 {
			return fmt.Errorf("--%s %d: must be at least 0", c.name, c.value)
		}
	}
	if err := r.Settings.Check(); err != nil {
		return err
	}
	if err := r.checkOptimizer(); err != nil {
		return err
	}
	for _, c := range []struct {
		name, value string
		names       []string
	}{
		{"recompute", r.Recompute, []string{RecomputeNone, RecomputeNorm}},
		{"store", r.Store, storeNames()},
		{"fuse-norm", r.FuseNorm, FuseNames()},
		{"update", r.Update, []string{UpdateEarly, UpdateDeferred}},
		{"dropout", r.Dropout, []string{DropoutOn, DropoutOff}},
		{"quirks", r.Quirks, []string{QuirksNone, QuirksPaper}},
	} {
		if c.value != "" && !slices.Contains(c.names, c.value) {
			return fmt.Errorf("--%s %q: must be %s", c.name, c.value, strings.Join(c.names, " or "))
		}
	}
	if !(r.ValFraction >= 0 && r.ValFraction < 1) {
		return fmt.Errorf("--val-fraction %g: must be at least 0 and less than 1", r.ValFraction)
	}
	if r.Eager != "" && r.Precision == PrecisionBF16 {
		return errors.New("--eager and --precision bf16 can't be combined: the eager model predicts f32 and tf32 only")
	}
	if r.Deterministic && r.Backend != backendCUDA {
		return fmt.Errorf("--deterministic is for --backend cuda: backend %s is always deterministic", r.Backend)
	}
	return r.checkBackend()
}

// checkBackend tests backend and precision, which not every backend has.
func (r Request) checkBackend() error {
	has := []string{PrecisionF32, PrecisionBF16}
	switch r.Backend {
	case "auto", "cpu", "reference":
	case "cuda":
		has = append(has, PrecisionTF32)
	default:
		return fmt.Errorf("--backend %q: must be auto, cpu, cuda or reference", r.Backend)
	}
	if !slices.Contains(has, r.Precision) {
		others := ""
		if r.Precision == PrecisionTF32 {
			others = "; tf32 is for backend cuda"
		}
		return fmt.Errorf("--precision %q: must be %s with --backend %s%s", r.Precision, strings.Join(has, " or "), r.Backend, others)
	}
	return nil
}

// bases crosses what every method has.
func (r Request) bases() []results.Spec {
	var out []results.Spec
	for _, network := range r.Networks {
		for _, dataset := range r.Datasets {
			batches := r.Batches
			fill(&batches, []int64{recipe(dataset).Batch})
			if r.ownSettings(dataset) {
				batches = []int64{paperBatch}
			}
			for _, batch := range batches {
				for _, method := range r.Methods {
					out = append(out, results.Spec{Method: method, Network: network, Dataset: dataset, ImageSize: int64(r.ImageSize),
						Batch: batch, Quirks: r.quirks()})
				}
			}
		}
	}
	return out
}

// complete fills in the spec of one run, and builds it.
func (r Request) complete(base results.Spec, depth, modules int) (*Run, error) {
	run, err := begin(base)
	if err != nil {
		return nil, err
	}
	spec, entry, rec := &run.Spec, run.Dataset, recipe(base.Dataset)
	spec.Precision, spec.Backend, spec.Threads = r.Precision, r.Backend, int64(r.Threads)
	if r.Backend == "auto" {
		spec.Backend = "cpu"
	}
	if r.Device != 0 {
		spec.Device = fmt.Sprint(r.Device)
	}
	spec.Epochs, spec.TrainLimit, spec.TestLimit = int64(r.Epochs), int64(r.TrainLimit), int64(r.TestLimit)
	if r.Epochs == 0 {
		spec.Epochs = rec.Epochs
	}
	if err := r.setWarmup(spec); err != nil {
		return nil, err
	}
	if err := r.setOptimizer(spec); err != nil {
		return nil, err
	}
	if r.NoAugment {
		spec.Augment = augmentNone
	}
	r.setMethod(spec, run.Method, depth, modules)
	settings, err := r.settings(run.Method, run.Network, spec.Dataset, modules)
	if err != nil {
		return nil, err
	}
	*spec = spec.WithSettings(settings)
	if run.Settings, err = spec.Settings(); err != nil { // as Build reads them
		return nil, err
	}
	for _, c := range []struct {
		name        string
		limit       *int64
		there, most int // most: that can be made
	}{{"train-limit", &spec.TrainLimit, entry.TrainSamples, entry.MaxTrainSamples},
		{"test-limit", &spec.TestLimit, entry.TestSamples, entry.MaxTestSamples}} {
		if c.most == 0 && *c.limit > int64(c.there) {
			*c.limit = 0 // all there are, and the record says so
		} else if c.most > 0 && *c.limit > int64(c.most) {
			return nil, fmt.Errorf("--%s %d: must be at most %d, the size of %s", c.name, *c.limit, c.most, spec.Dataset)
		}
	}
	if r.ValFraction > 0 {
		all := run.samples().train
		spec.ValFraction = r.ValFraction
		if n := run.samples(); n.train < 1 || n.validation < 1 {
			return nil, fmt.Errorf("--val-fraction %g: must hold out at least 1 and not all of the %d training samples",
				r.ValFraction, all)
		}
	}
	if samples := run.TrainSamples(); spec.Batch > samples {
		return nil, fmt.Errorf("--batch %d: must be at most the %d training samples of %s", spec.Batch, samples, spec.Dataset)
	}
	if run.Network.Drops && r.Dropout != DropoutOff {
		spec.Dropout = DropoutOn
	}
	if err := run.resolveCuts(); err != nil {
		return nil, err
	}
	if err := run.divide(); err != nil {
		return nil, err
	}
	return run, run.check(false)
}

// setWarmup sets the epochs of the warm-up where they are not those of the recipe, so that a run has one id whether they are
// named or not.
func (r Request) setWarmup(spec *results.Spec) error {
	if r.WarmupEpochs == nil {
		return nil
	}
	n := *r.WarmupEpochs
	if int64(n) > spec.Epochs {
		return fmt.Errorf("--warmup-epochs %d: must be at most %d, the epochs of the run", n, spec.Epochs)
	}
	if n != recipe(spec.Dataset).Warmup {
		spec.WarmupEpochs = new(int64(n))
	}
	return nil
}

// setMethod sets the fields of the spec that its method reads.
func (r Request) setMethod(spec *results.Spec, m methods.Method, depth, modules int) {
	if m.Reads(methods.OptionModules) {
		spec.Modules = int64(modules)
	}
	if m.Reads(methods.OptionAuxDepth) {
		spec.AuxDepth = int64(depth)
	}
	if m.Reads(methods.OptionSelection) {
		spec.Selection = cmp.Or(r.Selection, string(methods.SelectionUniform))
	}
	if m.Reads(methods.OptionPyramid) {
		spec.Pyramid, spec.PyramidCoefficient = !r.NoPyramid && !r.withoutPyramid(spec.Dataset), r.PyramidCoefficient
		if spec.Pyramid && spec.PyramidCoefficient == 0 {
			spec.PyramidCoefficient = 0.5
		}
	}
}

// settings are those of one run: what its method reads of the request's.
func (r Request) settings(m methods.Method, network *model.Network, dataset string, modules int) (results.Settings, error) {
	s := r.Settings
	if !m.Reads(methods.OptionCuts) || s.Cuts == methods.CutsPublished {
		s.Cuts = ""
	}
	if r.Cuts == "" && r.firstUnits(m, network, modules) {
		s.Cuts = methods.CutsFirst
	}
	s.PublishedProgram = r.program(m, network, modules)
	if !m.Reads(methods.OptionSegment) {
		s.Segment = 0
	}
	s.Mode, s.Head = "", ""
	if m.Reads(methods.OptionMode) {
		s.Mode = cmp.Or(r.Mode, string(methods.ModeSoftmax))
		switch small := model.Small(network.Input); {
		case small && s.PublishedProgram:
			s.Head = string(methods.Head2c2f)
		case small && s.Mode == string(methods.ModeContrast):
			s.Head = string(methods.Head1c2f)
		}
	}
	if s.FuseNorm == FuseNone {
		s.FuseNorm = ""
	}
	s.RecomputeNorm, s.DeferUpdates = r.Recompute == RecomputeNorm, r.deferred()
	if s.Store == graph.StoreF32.String() {
		s.Store = ""
	}
	variant, err := eager.ParseOptions(r.Eager)
	if err != nil {
		return s, fmt.Errorf("--eager: %w", err)
	}
	if !m.Reads(methods.OptionSegment) {
		variant.Reentrant = false
	}
	s.Eager = variant.String()
	if s.NetworkDigest, err = networks.Digest(network.Name); err != nil {
		return s, err
	}
	if r.Init != "" {
		if s.InitDigest, err = weights.Digest(r.Init); err != nil {
			return s, fmt.Errorf("init: %w", err)
		}
	}
	s.Coefficients = ""
	if m.Reads(methods.OptionCoefficients) {
		o := methods.Options{Mode: methods.Mode(s.Mode), Coefficients: r.Coefficients, Dataset: dataset, Cuts: s.Cuts}
		if s.PublishedProgram {
			o.Coefficients = cmp.Or(o.Coefficients, methods.ManCoefficients(network))
		}
		if s.Coefficients, err = o.CoefficientsName(network.PublishedName(), cmp.Or(modules, len(network.Units))); err != nil {
			return s, fmt.Errorf("infopro: %w", err)
		}
	}
	return s, nil
}

// storeNames are the formats of --store.
func storeNames() (names []string) {
	for _, f := range graph.StoreFormats() {
		names = append(names, f.String())
	}
	return names
}

// storeFormat is the format of a setting, which has been checked.
func storeFormat(name string) graph.StoreFormat {
	return graph.StoreFormat(max(0, slices.Index(storeNames(), name)))
}

// augmentNone in a spec leaves the images of training as they are.
const augmentNone = "none"

// Whether a network trains with its dropout and stochastic depth. A spec has the text "on", or is empty: off, or the network
// has neither.
const (
	DropoutOn  = "on"
	DropoutOff = "off"
)

// The precisions of a step.
const (
	PrecisionF32  = "f32"
	PrecisionBF16 = "bf16" // of activations and their gradients; weights and losses stay f32
	PrecisionTF32 = "tf32" // f32, but convolutions and linear layers may round their operands to tf32
)

// Options that trade memory for time or the order of updates; every method has them.
const (
	RecomputeNone  = "none"
	RecomputeNorm  = "norm" // outputs of normalisations are recomputed in the backward pass
	UpdateEarly    = "early"
	UpdateDeferred = "deferred" // one update at the end of the step, as eager frameworks do
)

func or[T any](p *T, d T) T {
	if p != nil {
		return *p
	}
	return d
}

package suite

import (
	"cmp"
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/datasets"
	"github.com/localbench/localbench/suite/networks"
)

// Run is one run, built and checked: its spec, and what follows from the spec without data and without a device. Planning,
// training, profiles, audits and checks all start from it, so that each of them is about the same network, stages and settings.
// It is not changed once it is built; several goroutines may use it.
type Run struct {
	Spec     results.Spec
	Settings results.Settings // of the spec's options
	Method   methods.Method
	Dataset  datasets.Entry
	Network  *model.Network
	Stages   []model.Stage // the network as the method divides it
}

// Build builds the run of a spec.
func Build(spec results.Spec) (*Run, error) {
	r, err := begin(spec)
	if err != nil {
		return nil, err
	}
	if r.Settings, err = spec.Settings(); err == nil {
		err = networks.CheckDigest(spec.Network, r.Settings.NetworkDigest)
	}
	if err != nil {
		return nil, err
	}
	if err := r.divide(); err != nil {
		return nil, err
	}
	return r, r.check(false)
}

// BuildAll builds the runs of specs, in their order.
func BuildAll(specs []results.Spec) ([]*Run, error) {
	runs := make([]*Run, len(specs))
	for i, s := range specs {
		var err error
		if runs[i], err = Build(s); err != nil {
			return nil, fmt.Errorf("%s: %w", results.SpecID(s), err)
		}
	}
	return runs, nil
}

// begin looks up the names of a spec and builds its network. Settings and stages are not set yet.
func begin(spec results.Spec) (*Run, error) {
	r := &Run{Spec: spec}
	var err error
	classes := 0 // of a network that was exported, for generated images
	if r.Method, err = methods.Find(spec.Method); err != nil {
		return nil, err
	}
	if r.Dataset, err = datasets.Find(spec.Dataset); err != nil {
		return nil, err
	}
	if spec.Dataset == "synthetic" && networks.IsExported(spec.Network) {
		if classes, err = r.likeExported(); err != nil {
			return nil, err
		}
		spec = r.Spec
	}
	if spec.ImageSize != 0 {
		own := r.Dataset.Shape
		if r.Dataset, err = r.Dataset.WithImageSize(int(spec.ImageSize)); err != nil {
			return nil, err
		}
		if r.Dataset.Shape == own { // so that the default has one id
			r.Spec.ImageSize = 0
		}
	}
	r.Dataset = r.Dataset.WithClasses(classes)
	if err = r.checkOptimizer(); err != nil {
		return nil, err
	}
	image := graph.Shape{int64(r.Dataset.Height), int64(r.Dataset.Width), int64(r.Dataset.Channels)}
	r.Network, err = networks.New(spec.Network, image, classesOf(spec, r.Dataset.Card))
	return r, err
}

// likeExported gives generated images the size of those that a network was exported with, unless --image-size asks for another
// one, and returns its number of classes: so that a plan needs the file alone.
func (r *Run) likeExported() (int, error) {
	image, classes, err := networks.Images(r.Spec.Network)
	if err != nil {
		return 0, err
	}
	side := int(image[1])
	if r.Spec.ImageSize == 0 && image[1] == image[2] && side >= r.Dataset.MinSide && side <= r.Dataset.MaxSide {
		r.Spec.ImageSize = int64(side)
	}
	if r.Spec.ImageSize == int64(r.Dataset.Height) {
		r.Spec.ImageSize = 0 // the default has one id
	}
	return int(classes), nil
}

// divide has the method divide the network into stages, by the settings of the run.
func (r *Run) divide() (err error) {
	s := r.Settings
	head := methods.Head(s.Head)
	if head == "" && s.Mode == string(methods.ModeContrast) {
		head = methods.Head1c1f
	}
	r.Stages, err = r.Method.Stages(r.Network, methods.Options{
		Modules: int(r.Spec.Modules), AuxDepth: int(r.Spec.AuxDepth), Selection: methods.Selection(r.Spec.Selection),
		PyramidCoefficient: r.Spec.PyramidCoefficient, NoPyramid: r.Method.Reads(methods.OptionPyramid) && !r.Spec.Pyramid,
		Cuts: s.Cuts, Mode: methods.Mode(s.Mode), Coefficients: s.Coefficients,
		Head: head, Program: s.PublishedProgram, Dataset: r.Spec.Dataset, Segment: s.Segment})
	return err
}

// with is the run with a spec that differs in what network and stages do not depend on: batch, seed, backend, epochs.
func (r *Run) with(change func(*results.Spec)) *Run {
	other := *r
	change(&other.Spec)
	return &other
}

// WithBatch is the same run with the given batch size.
func (r *Run) WithBatch(samples int64) *Run {
	return r.with(func(s *results.Spec) { s.Batch = samples })
}

// WithSettings builds the same run with other settings.
func (r *Run) WithSettings(s results.Settings) (*Run, error) { return Build(r.Spec.WithSettings(s)) }

// ID is results.SpecID of the run's spec.
func (r *Run) ID() string { return results.SpecID(r.Spec) }

// Specs are the specs of runs, in their order.
func Specs(runs []*Run) []results.Spec {
	specs := make([]results.Spec, len(runs))
	for i, r := range runs {
		specs[i] = r.Spec
	}
	return specs
}

// ModuleCount is K of a run: the value of --modules that gives the same cuts. It is the number of local modules, except for
// AugLocal, whose K counts units of which the head's module has the last d, and for MAN's published program, which counts the
// stem. It is 0 for a method that does not divide the network into modules.
func (r *Run) ModuleCount() int {
	switch {
	case !r.Method.Local():
		return 0
	case r.Spec.Modules > 0:
		return int(r.Spec.Modules)
	case methods.IsPlaces(r.Settings.Cuts):
		return len(r.Stages)
	case r.Method.Reads(methods.OptionAuxDepth), r.Settings.PublishedProgram && r.Settings.Cuts == "":
		return len(r.Network.Units)
	}
	return len(r.Stages)
}

// samples counts what a run trains, tests and validates on.
type samples struct{ train, test, validation int }

// samples are those of the data set's card, within the limits of the spec.
func (r *Run) samples() samples {
	n := samples{train: cmp.Or(int(r.Spec.TrainLimit), r.Dataset.TrainSamples),
		test: cmp.Or(int(r.Spec.TestLimit), r.Dataset.TestSamples)}
	n.validation = datasets.HeldOut(n.train, r.Spec.ValFraction)
	n.train -= n.validation
	return n
}

// TrainSamples is the number of samples that the run trains on, by its data set's card: the most that a batch can have.
func (r *Run) TrainSamples() int64 { return int64(r.samples().train) }

package suite

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/results/planbook"
)

// book is the part of the tuning cache for the device of the run; empty for other backends.
func (r *Run) book(h Host) (string, error) {
	if r.Spec.Backend != backendCUDA {
		return "", nil
	}
	book, err := h.Book()
	if err != nil {
		return "", err
	}
	facts, err := engine.Probe(r.Spec.Backend, h.LibraryDir)
	if err != nil {
		return "", err
	}
	return book.Lines(facts["device"+cmp.Or(r.Spec.Device, "0")], facts["cuDNN"]), nil
}

// OpenPlanner opens a device that plans the run. Where the run's GPU is not there, its
// backend plans without, for a GPU of a name in the tuning cache, and the second result is
// that GPU's whole name: with the engines that the book has for it and this version of cuDNN, and
// for others with those that cuDNN chooses for such a GPU. An empty name is the GPU that is here, or else the book's first.
func (r *Run) OpenPlanner(h Host, gpu string) (engine.Device, string, error) {
	if gpu == "" {
		d, err := r.OpenDevice(h)
		var missing *engine.Unavailable
		if err == nil || r.Spec.Backend != backendCUDA || !errors.As(err, &missing) {
			return d, "", err
		}
	}
	if r.Spec.Backend != backendCUDA {
		return nil, "", fmt.Errorf("--gpu %q and --backend %s can't be combined: use --backend cuda", gpu, r.Spec.Backend)
	}
	book, err := h.Book()
	if err != nil {
		return nil, "", err
	}
	kind, err := book.Find(gpu)
	if err != nil {
		return nil, "", err
	}
	o, err := r.deviceOptions(h)
	if err != nil {
		return nil, "", err
	}
	o.Device, o.Properties = engine.PlanOnly, string(kind.Properties)
	d, err := engine.Open(r.Spec.Backend, o)
	if err != nil {
		return nil, "", err
	}
	if o.PlanBook = book.Lines(kind.Name, d.Facts()["cuDNN"]); o.PlanBook == "" {
		return d, kind.Name, nil
	}
	d.Close()
	d, err = engine.Open(r.Spec.Backend, o)
	return d, kind.Name, err
}

// Tune prepares the training step of the run, has the backend time engines of every
// convolution that the book does not name, and adds those it chose to the book. It returns the
// GPU.
func (r *Run) Tune(h Host, book *planbook.Book) (gpu string, err error) {
	o, err := r.deviceOptions(h)
	if err != nil {
		return "", err
	}
	facts, err := engine.Probe(r.Spec.Backend, h.LibraryDir)
	if err != nil {
		return "", err
	}
	gpu = facts["device"+cmp.Or(r.Spec.Device, "0")]
	o.PlanBook, o.Tune = book.Lines(gpu, facts["cuDNN"]), true
	d, err := engine.Open(r.Spec.Backend, o)
	if err != nil {
		return gpu, err
	}
	defer d.Close()
	step, err := core.TrainingStep(r.Stages, r.stepOptions())
	if err != nil {
		return gpu, err
	}
	p, err := core.Compile(d, step, nil)
	if err != nil {
		return gpu, err
	}
	defer p.Program.Close()
	chooser, ok := p.Program.(engine.Chooser)
	if !ok {
		return gpu, fmt.Errorf("tune: backend %s: its kernels are not a matter of choice", r.Spec.Backend)
	}
	lines, err := chooser.Choices()
	if err != nil {
		return gpu, err
	}
	if told, ok := d.(engine.Described); ok && told.Properties() != "" {
		if err := book.Know(gpu, told.Properties()); err != nil {
			return gpu, err
		}
	}
	return gpu, book.Add(gpu, facts["cuDNN"], lines)
}

package suite

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
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

// UnusedTuning says which engines of the tuning cache programs of the device do without, because they cannot be had
// there; empty if there are none.
func UnusedTuning(d engine.Device) string {
	note := d.Facts()[engine.UnusedTuning]
	if note == "" {
		return ""
	}
	return fmt.Sprintf("the tuning cache does not fit this GPU and cuDNN: %s. These convolutions get the engines that they get "+
		"without the cache; `benchctl tune` times them again", note)
}

// Tuned is what Tune did: the GPU, the signatures that it added to the tuning cache, and those that it did not come to.
type Tuned struct {
	GPU         string
	Added, Left int64
}

// Tune has the backend time engines of every convolution of the run's training step that the book does not name, one
// after the other, and adds those that it chose to the book. It calls save after each, so that nothing is lost if the
// process is ended. After the deadline, unless it is zero, it begins no other convolution.
func (r *Run) Tune(h Host, book *planbook.Book, deadline time.Time, save func() error) (t Tuned, err error) {
	o, err := r.deviceOptions(h)
	if err != nil {
		return t, err
	}
	facts, err := engine.Probe(r.Spec.Backend, h.LibraryDir)
	if err != nil {
		return t, err
	}
	t.GPU = facts["device"+cmp.Or(r.Spec.Device, "0")]
	o.PlanBook, o.Tune = book.Lines(t.GPU, facts["cuDNN"]), true
	d, err := engine.Open(r.Spec.Backend, o)
	if err != nil {
		return t, err
	}
	defer d.Close()
	options := r.stepOptions()
	options.FuseNorm &^= core.FuseNormGradient // its ops run the convolutions that the step has without it
	step, err := core.TrainingStep(r.Stages, options)
	if err != nil {
		return t, err
	}
	if told, ok := d.(engine.Described); ok && told.Properties() != "" {
		if err := book.Know(t.GPU, told.Properties()); err != nil {
			return t, err
		}
	}
	seen := map[string]bool{}
	var failed error
	for _, op := range step.Graph.Ops {
		if op.Kind != graph.KindConv && op.Kind != graph.KindConvBackwardData && op.Kind != graph.KindConvBackwardWeights {
			continue
		}
		shapes := shapesOf(op)
		if seen[shapes] {
			continue
		}
		seen[shapes] = true
		if !deadline.IsZero() && !time.Now().Before(deadline) {
			t.Left++
			continue
		}
		before := len(book.Entries)
		if err := tuneOp(d, op, t.GPU, facts["cuDNN"], book); err != nil { // the others are worth having without it
			failed = errors.Join(failed, fmt.Errorf("%s: %w", op.Scope, err))
			continue
		}
		if added := int64(len(book.Entries) - before); added > 0 {
			t.Added += added
			if err := save(); err != nil {
				return t, err
			}
		}
	}
	return t, failed
}

// shapesOf names what the choice of an engine can depend on.
func shapesOf(op *graph.Op) string {
	text := fmt.Sprint(op.Kind, op.Attr)
	for _, v := range slices.Concat(op.Operands, op.Results) {
		if v == nil {
			text += " -"
		} else {
			text += fmt.Sprint(" ", v.Shape, v.Type)
		}
	}
	return text
}

// tuneOp prepares a program of one op, and adds the engine that the backend chose to the book.
func tuneOp(d engine.Device, op *graph.Op, gpu, cudnn string, book *planbook.Book) error {
	alone := *op
	alone.Operands, alone.Results, alone.Waits, alone.Stream = nil, nil, nil, 0
	g := &graph.Graph{Ops: []*graph.Op{&alone}}
	add := func(v *graph.Value, category graph.Category) *graph.Value {
		if v == nil {
			return nil
		}
		same := &graph.Value{ID: len(g.Values), Name: v.Name, Shape: v.Shape, Type: v.Type, Module: graph.NoModule, Category: category}
		g.Values = append(g.Values, same)
		return same
	}
	for _, v := range op.Operands {
		operand := add(v, graph.CategoryInput)
		alone.Operands = append(alone.Operands, operand)
		if operand != nil {
			g.Inputs = append(g.Inputs, operand)
		}
	}
	for _, v := range op.Results {
		alone.Results = append(alone.Results, add(v, graph.CategoryActivation))
	}
	g.Outputs = slices.Clone(alone.Results)
	if err := g.Verify(); err != nil {
		return fmt.Errorf("tune: %s at %s: %w", op.Kind, op.Scope, err)
	}
	p, err := d.Prepare(g)
	if err != nil {
		return err
	}
	defer p.Close()
	chooser, ok := p.(engine.Chooser)
	if !ok {
		return fmt.Errorf("tune: backend %s: its kernels are not a matter of choice", d.Name())
	}
	lines, err := chooser.Choices()
	if err != nil {
		return err
	}
	return book.Add(gpu, cudnn, lines)
}

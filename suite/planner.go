package suite

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/results/planbook"
)

// OpenPlannerOrBook is OpenPlanner, or OpenWithoutLibrary where the library of the backend is missing and a GPU is named. It
// returns the whole name of the GPU that is planned for, empty for other backends, and a sentence for readers of the plan
// where the device stands for a GPU that is not here.
func (r *Run) OpenPlannerOrBook(h Host, gpu string) (d engine.Device, name, note string, err error) {
	d, absent, err := r.OpenPlanner(h, gpu)
	var missing *engine.Unavailable
	if errors.As(err, &missing) && gpu != "" {
		var cudnn string
		if d, absent, cudnn, err = r.OpenWithoutLibrary(h, gpu); err == nil {
			book := "the tuning cache has no entries for it, so workspaces are unknown"
			if cudnn != "" {
				book = "workspaces are those of the tuning cache for cuDNN " + cudnn + ", others are unknown"
			}
			note = fmt.Sprintf("Planned for %s without the CUDA library: %s. `make cuda-deps cuda` builds the library.", absent, book)
		}
	}
	if err != nil {
		return nil, "", "", err
	}
	if version := d.Facts()["cuDNN"]; absent != "" && version != "" {
		note = fmt.Sprintf("Planned for %s, which this machine does not have: its engines and their workspaces are those of the "+
			"tuning cache, and else those that cuDNN %s chooses for it.", absent, version)
	}
	return d, cmp.Or(absent, d.Facts()["device"]), note, nil
}

// OpenWithoutLibrary opens a device that plans a spec of backend cuda on a machine without the backend's library, for a GPU
// of a name that the tuning cache can find. It returns the GPU's whole name and the version of cuDNN of its entries in the
// book, which is empty if it has none. The workspace of a convolution is the one of its entry. That of all other ops whose
// kernels need some is not known: Compiled.UnknownWorkspaces counts them, and the figures of such a plan are without it.
func (r *Run) OpenWithoutLibrary(h Host, gpu string) (d engine.Device, name, cudnn string, err error) {
	book, err := h.Book()
	if err != nil {
		return nil, "", "", err
	}
	kind, err := book.Find(gpu)
	if err != nil {
		return nil, "", "", err
	}
	o, err := r.deviceOptions(h)
	if err != nil {
		return nil, "", "", err
	}
	null, err := engine.Open("null", engine.Options{})
	if err != nil {
		return nil, "", "", err
	}
	b := &bookDevice{Device: null, options: o, entries: map[string]planbook.Entry{}}
	for _, e := range book.Entries {
		if e.GPU == kind.Name {
			cudnn = slices.MaxFunc([]string{cudnn, e.CUDNN}, compareVersions)
		}
	}
	for _, e := range book.Entries {
		if e.GPU == kind.Name && e.CUDNN == cudnn {
			b.entries[e.Signature] = e
		}
	}
	return b, kind.Name, cudnn, nil
}

// compareVersions compares numbers between points: 9.9 comes before 9.19.
func compareVersions(a, b string) int {
	numbers := func(s string) (out []int) {
		for part := range strings.SplitSeq(s, ".") {
			n := 0
			_, _ = fmt.Sscan(part, &n) // what is no number counts as 0
			out = append(out, n)
		}
		return out
	}
	return slices.Compare(numbers(a), numbers(b))
}

// bookDevice is a device that plans for a GPU with nothing but the tuning cache.
type bookDevice struct {
	engine.Device
	options engine.Options
	entries map[string]planbook.Entry // by signature
}

// bookProgram is a program whose workspaces are partly unknown.
type bookProgram struct {
	engine.Program
	scratch []int64
	kernels []string
	unknown int
}

// Scratch is the workspace of each op in bytes; 0 where it is not known.
func (p *bookProgram) Scratch() []int64 { return p.scratch }

// Kernels names the engine of each op, or says that its workspace is not known.
func (p *bookProgram) Kernels() []string { return p.kernels }

// UnknownWorkspaces counts the ops whose workspace is not known.
func (p *bookProgram) UnknownWorkspaces() int { return p.unknown }

// Prepare looks up the workspace of each op.
func (d *bookDevice) Prepare(g *graph.Graph) (engine.Program, error) {
	null, err := d.Device.Prepare(g)
	if err != nil {
		return nil, err
	}
	p := &bookProgram{Program: null, scratch: make([]int64, len(g.Ops)), kernels: make([]string, len(g.Ops))}
	for i, op := range g.Ops {
		if !needsWorkspace(op.Kind) {
			continue
		}
		e, ok := d.entries[signature(op, d.options)]
		ok = ok && len(op.Results) == 1 // else the sums of a bias's gradient come on top
		if ok && (d.options.WorkspaceLimit == 0 || e.WorkspaceBytes <= d.options.WorkspaceLimit) {
			p.scratch[i], p.kernels[i] = e.WorkspaceBytes, "kernel of the backend"
			if e.Engine != ownEngine {
				p.kernels[i] = fmt.Sprintf("cuDNN engine %d", e.Engine)
				if e.WorkspaceBytes > 0 {
					p.scratch[i] += cudaAlignment
				}
				if op.NormalisesInput() { // in the workspace, before the engine's own
					p.scratch[i] += (op.Operands[0].Bytes() + 63) / 64 * 64
				}
			}
			continue
		}
		p.kernels[i] = "workspace not known"
		p.unknown++
	}
	return p, nil
}

// ownEngine is the engine of an entry that names the backend's own kernel.
const ownEngine = -1

// cudaAlignment is what the CUDA backend adds to a workspace so that it can be aligned.
const cudaAlignment = 256

// needsWorkspace says whether the CUDA backend has a kernel for ops of the kind that needs workspace.
func needsWorkspace(k graph.Kind) bool {
	switch k {
	case graph.KindConv, graph.KindConvBackwardData, graph.KindConvBackwardWeights, graph.KindConvNormBackward,
		graph.KindLinear, graph.KindLinearBackwardData, graph.KindLinearBackwardWeights,
		graph.KindNormStats, graph.KindNormBackward, graph.KindNormBackwardSums, graph.KindCrossEntropy, graph.KindBinaryCrossEntropy,
		graph.KindContrast, graph.KindContrastBackward, graph.KindSimilarity, graph.KindSimilarityBackward:
		return true
	}
	return false
}

// signature is the key of a convolution in the tuning cache, as core/engine/cuda/library.cc writes it; empty for other ops.
func signature(op *graph.Op, o engine.Options) string {
	var x, w *graph.Value
	switch op.Kind {
	case graph.KindConv:
		x, w = op.Operands[0], op.Operands[1]
	case graph.KindConvBackwardData:
		x, w = op.Results[0], op.Operands[1]
	case graph.KindConvBackwardWeights:
		x, w = op.Operands[0], op.Results[0]
	default:
		return ""
	}
	precision := "f32"
	switch {
	case x.Type == graph.TypeBF16:
		precision = "bf16"
	case o.TF32:
		precision = "tf32"
	}
	if o.Deterministic {
		precision += " deterministic"
	}
	dims := func(s graph.Shape) string {
		return strings.Trim(strings.ReplaceAll(fmt.Sprint([]int64(s)), " ", "x"), "[]")
	}
	a := op.Attr
	text := fmt.Sprintf("%s %s x%s w%s s%dx%d p%dx%d", bookNames[op.Kind], precision, dims(x.Shape), dims(w.Shape),
		a.Stride[0], a.Stride[1], a.Padding[0], a.Padding[1])
	if a.Spacing(0) != 1 || a.Spacing(1) != 1 {
		text += fmt.Sprintf(" d%dx%d", a.Spacing(0), a.Spacing(1))
	}
	if op.NormalisesInput() {
		text += " norm"
		if a.Activation == graph.ActivationSiLU || a.Activation == graph.ActivationHardswish { // not of our own kernels
			text += " " + a.Activation.String()
		}
	}
	return text
}

// bookNames are the names of convolutions in the tuning cache.
var bookNames = map[graph.Kind]string{graph.KindConv: "conv", graph.KindConvBackwardData: "conv_backward_data",
	graph.KindConvBackwardWeights: "conv_backward_weights"}

// unknownWorkspaces counts the ops of a program whose workspace is not known, and which its plan takes for 0 bytes.
func unknownWorkspaces(p engine.Program) int {
	if book, ok := p.(*bookProgram); ok {
		return book.unknown
	}
	n := 0
	for _, k := range p.Kernels() {
		if engine.WorkspaceIsEstimate(k) {
			n++
		}
	}
	return n
}

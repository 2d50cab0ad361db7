package core_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

// storedSteps are programs of every kind of method, with the options that Store works with.
func storedSteps(t *testing.T, test func(t *testing.T, method string, o core.StepOptions)) {
	plain := core.StepOptions{Batch: 4, Image: graph.Shape{8, 8, 3}, Deviation: [4]float64{1, 1, 1}}
	for _, method := range []string{"bp", "checkpoint", "dgl", "predsim", "infopro", "auglocal", "man"} {
		for _, format := range graph.StoreFormats()[1:] {
			for _, o := range []core.StepOptions{{}, {RecomputeNorm: true}, {Mixed: true}, {Overlap: 2},
				{FuseNorm: core.FuseNormInput}, {FuseNorm: core.FuseNormInput, RecomputeNorm: true, Mixed: format != graph.StoreBF16}} {
				if o.Overlap > 1 && (method == "bp" || method == "checkpoint") || o.Mixed && format == graph.StoreBF16 {
					continue
				}
				name := fmt.Sprintf("%s in %s, recomputed norms %v, mixed %v, in flight %d, fused %d", method, format, o.RecomputeNorm,
					o.Mixed, o.Overlap, o.FuseNorm)
				o.Batch, o.Image, o.Deviation, o.Store = plain.Batch, plain.Image, plain.Deviation, format
				t.Run(name, func(t *testing.T) { test(t, method, o) })
			}
		}
	}
}

// program is the step with the options.
func program(t *testing.T, method string, o core.StepOptions) *graph.Graph {
	t.Helper()
	s, err := core.TrainingStep(tiny(t, method), o)
	if err != nil {
		t.Fatal(err)
	}
	return s.Graph
}

// forwardOps lists the ops of the forward pass and their operands, but not those that store.
func forwardOps(g *graph.Graph) (list []string) {
	for _, op := range g.Ops {
		if op.Phase == graph.PhaseBackward || op.Phase == graph.PhaseUpdate || stores(op) {
			continue
		}
		text := fmt.Sprint(op.Kind, op.Attr, op.Scope)
		for _, v := range op.Operands {
			text += " " + v.String()
		}
		list = append(list, text)
	}
	return list
}

// stores reports whether an op compresses an activation, expands one, or normalises one for its mask.
func stores(op *graph.Op) bool { return len(op.Results) > 0 && op.Results[0].Stores != nil }

// TestStoreLeavesTheForwardPass: its ops, their order and their operands are those of the step without.
func TestStoreLeavesTheForwardPass(t *testing.T) {
	storedSteps(t, func(t *testing.T, method string, o core.StepOptions) {
		got := forwardOps(program(t, method, o))
		o.Store = graph.StoreF32
		if want := forwardOps(program(t, method, o)); !slices.Equal(got, want) {
			t.Errorf("got %d ops in the forward pass, want the same %d as without", len(got), len(want))
		}
	})
}

// TestStoreCompressesWhatItMay: only tensors of floating-point numbers of at least a group are stored in another form; masks
// only for backward ops that read a mask; random numbers are those of the name of the activation, or of what it recomputes; and
// what was expanded is read by the backward pass alone. The backward pass of a normalisation with a ReLU whose operand was
// expanded reads a mask.
func TestStoreCompressesWhatItMay(t *testing.T) {
	storedSteps(t, func(t *testing.T, method string, o core.StepOptions) {
		stored, masks := 0, 0
		bits := map[*graph.Value]int64{} // of what was expanded
		for i, op := range program(t, method, o).Ops {
			for n, v := range op.Operands {
				if b, ok := bits[v]; ok && op.Phase != graph.PhaseBackward {
					t.Errorf("op %d %s of the %s pass reads %s", i, op.Kind, op.Phase, v)
				} else if mask := op.Kind == graph.KindReLUBackward && n == 1 ||
					op.Kind == graph.KindNormBackward && n == graph.NormBackwardResult; ok && mask != (b == 1) {
					t.Errorf("op %d %s reads %s of %d bits as %s", i, op.Kind, v, b, op.Kind.Roles()[n])
				}
			}
			if _, ok := bits[op.Operands[min(1, len(op.Operands)-1)]]; ok && op.Kind == graph.KindNormBackward &&
				op.Attr.Activation.Rectifies() && op.Operands[graph.NormBackwardResult] == nil {
				t.Errorf("op %d %s reads %s, and no mask", i, op.Kind, op.Operands[1])
			}
			if !stores(op) || op.Kind == graph.KindNormApply {
				continue // the normalisation of what is only stored as a mask
			}
			if op.Kind == graph.KindDequantize || op.Kind == graph.KindCast && op.Results[0].Category != graph.CategoryCompressed {
				bits[op.Results[0]] = op.Attr.Bits
				continue
			}
			x := op.Operands[0]
			if stored++; len(x.Shape) < 2 || x.Shape.Elements() < graph.QuantizedGroup || x.Type == graph.TypeU8 ||
				x.Type == graph.TypeS32 {
				t.Errorf("op %d stores %s", i, x)
			}
			for _, v := range op.Results {
				if v.Category != graph.CategoryCompressed || v.Stores != x {
					t.Errorf("op %d: %s (%s) stores %v, want %v", i, v, v.Category, v.Stores, x)
				}
			}
			name := x.Name
			if x.Recomputes != nil {
				name = x.Recomputes.Name
			}
			if op.Attr.Bits > 1 && op.Attr.Salt != graph.NameSalt(name) {
				t.Errorf("op %d: %s has the random numbers of another name", i, x)
			}
			if op.Attr.Bits == 1 {
				masks++
			}
		}
		if masks < 3 || stored == masks {
			t.Errorf("%d activations and %d masks are stored", stored-masks, masks)
		}
	})
}

// resnet32 is ResNet-32 as one stage.
func resnet32(t *testing.T) []model.Stage {
	t.Helper()
	n, err := networks.New("resnet32", graph.Shape{32, 32, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	m, err := methods.Find("bp")
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, methods.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return stages
}

// TestStoreSaves plans ResNet-32 at batch 128 by back-propagation: by how much its activations shrink follows from the bits of an
// element, 8 or 4, 64/256 for minimum and range, and a mask.
func TestStoreSaves(t *testing.T) {
	enginetest.NeedsCPU(t)
	d := enginetest.Open(t, "cpu", engine.Options{Threads: 1})
	peaks := map[graph.StoreFormat]float64{}
	for _, format := range graph.StoreFormats() {
		s, err := core.TrainingStep(resnet32(t), core.StepOptions{Batch: 128, Image: graph.Shape{32, 32, 3},
			Deviation: [4]float64{1, 1, 1}, Store: format})
		if err != nil {
			t.Fatal(err)
		}
		p, err := core.Compile(d, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		peaks[format] = float64(p.Profile.PlannedPeakBytes)
		p.Close()
	}
	for format, most := range map[graph.StoreFormat]float64{graph.StoreBF16: 0.55, graph.StoreInt8: 0.32, graph.StoreInt4: 0.2} {
		if share := peaks[format] / peaks[graph.StoreF32]; share > most {
			t.Errorf("%s: %.3f of the planned peak is left, want at most %g", format, share, most)
		}
	}
}

// TestEvaluationStoresNothing: nothing is saved in an evaluation, so the option does nothing.
func TestEvaluationStoresNothing(t *testing.T) {
	o := core.StepOptions{Batch: 4, Image: graph.Shape{8, 8, 3}, Deviation: [4]float64{1, 1, 1}, Store: graph.StoreInt8}
	s, err := core.EvaluationStep(tiny(t, "bp"), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Mixed, o.Store = true, graph.StoreBF16
	if _, err := core.TrainingStep(tiny(t, "bp"), o); err == nil || !strings.Contains(err.Error(), "activations are bf16 already") {
		t.Errorf("bf16 stored in bf16: got %v, want an error", err)
	}
	var text strings.Builder
	if err := s.Graph.Dump(&text); err != nil || s.Stream != nil || strings.Contains(text.String(), "quantize") {
		t.Errorf("an evaluation stores activations, %v:\n%s", err, &text)
	}
}

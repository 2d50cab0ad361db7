package suite

import (
	"testing"

	"github.com/localbench/localbench/results"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/results/planbook"
)

// Every op that needs workspace on the CUDA backend is one whose workspace counts as not known without the library: none is
// taken for 0.
func TestNoWorkspaceIsTakenForNothing(t *testing.T) {
	enginetest.NeedsCPU(t)
	emu := enginetest.Open(t, "emu", engine.Options{Device: engine.PlanOnly})
	for _, r := range []Request{
		{Methods: []string{"bp", "dgl", "predsim", "infopro", "auglocal"}, Networks: []string{"resnet20"}, Batches: []int64{4}},
		{Methods: []string{"infopro"}, Networks: []string{"resnet20"}, Batches: []int64{4}, Modules: []int{4},
			Settings: results.Settings{Mode: "contrast"}},
		{Methods: []string{"bp"}, Networks: []string{"efficientnetb0", "vgg13"}, Batches: []int64{2}},
	} {
		specs, err := r.Expand()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range specs {
			s.Backend = backendCUDA
			c, err := CompileOn(emu, s)
			if err != nil {
				t.Fatal(err)
			}
			for i, op := range c.Step.Graph.Ops {
				if c.Scratch[i] > 0 && !needsWorkspace(op.Kind) {
					t.Errorf("%s: %s needs %d bytes of workspace and counts as an op that needs none", s.Method, op.Kind, c.Scratch[i])
				}
			}
		}
	}
}

// The workspace of a convolution is that of its entry in the tuning cache, with the backend's alignment; the signature is the
// one that core/engine/cuda/library.cc writes, as in the book of core/engine's tests.
func TestWorkspaceOfThePlanBook(t *testing.T) {
	null, err := engine.Open("null", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	specs, err := Request{Methods: []string{"bp"}, Networks: []string{"resnet20"}, Batches: []int64{8}}.Expand()
	if err != nil {
		t.Fatal(err)
	}
	entry := func(engine, bytes int64) planbook.Entry {
		return planbook.Entry{Engine: engine, WorkspaceBytes: bytes}
	}
	for name, c := range map[string]struct {
		entry planbook.Entry
		limit int64
		want  int64 // bytes of each of the six convolutions of this signature; -1: not known
	}{
		"cuDNN":               {entry(3, 1000), 0, 1000 + cudaAlignment},
		"cuDNN without any":   {entry(3, 0), 0, 0},
		"the backend's own":   {entry(-1, 512), 0, 512},
		"above the limit":     {entry(3, 1000), 999, -1},
		"at the limit":        {entry(3, 1000), 1000, 1000 + cudaAlignment},
		"another convolution": {planbook.Entry{}, 0, -1},
	} {
		d := &bookDevice{Device: null, options: engine.Options{TF32: true, WorkspaceLimit: c.limit},
			entries: map[string]planbook.Entry{}}
		if c.entry != (planbook.Entry{}) {
			d.entries["conv_backward_weights tf32 x8x32x32x16 w16x3x3x16 s1x1 p1x1"] = c.entry
		}
		p, err := CompileOn(d, specs[0])
		if err != nil {
			t.Fatal(err)
		}
		known, needing := 0, 0
		for i, op := range p.Step.Graph.Ops {
			if needsWorkspace(op.Kind) {
				needing++
			}
			if op.Kind == graph.KindConvBackwardWeights && p.Kernels[i] != "workspace not known" {
				if known++; p.Scratch[i] != c.want {
					t.Errorf("%s: got %d bytes, want %d", name, p.Scratch[i], c.want)
				}
			}
		}
		want := 6
		if c.want < 0 {
			want = 0
		}
		if known != want || p.UnknownWorkspaces != needing-want {
			t.Errorf("%s: %d convolutions are known and %d of %d ops are not, want %d and the others", name, known, p.UnknownWorkspaces,
				needing, want)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	for _, c := range [][2]string{{"9.9.0", "9.19.1"}, {"", "8.0"}, {"9.19", "9.19.1"}} {
		if compareVersions(c[0], c[1]) >= 0 || compareVersions(c[1], c[0]) <= 0 || compareVersions(c[0], c[0]) != 0 {
			t.Errorf("%q does not come before %q", c[0], c[1])
		}
	}
}

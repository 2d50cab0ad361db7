package budget_test

import (
	"errors"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/budget"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/core/plan"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

// budgeted plans ResNet-32 at batch 64, and makes it fit into a part of its arena.
type budgeted struct {
	t      *testing.T
	device engine.Device
	stages []model.Stage
	o      core.StepOptions
}

func newBudgeted(t *testing.T, method string) *budgeted {
	t.Helper()
	n, err := networks.New("resnet32", graph.Shape{32, 32, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	m, err := methods.Find(method)
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, methods.Options{AuxDepth: 3})
	if err != nil {
		t.Fatal(err)
	}
	enginetest.NeedsCPU(t)
	return &budgeted{t: t, device: enginetest.Open(t, "cpu", engine.Options{Threads: 1}), stages: stages,
		o: core.StepOptions{Batch: 64, Image: n.Input, Deviation: [4]float64{1, 1, 1}}}
}

func (b *budgeted) compile(o core.StepOptions) *core.Program {
	b.t.Helper()
	s, err := core.TrainingStep(b.stages, o)
	if err != nil {
		b.t.Fatal(err)
	}
	p, err := core.Compile(b.device, s, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { p.Close() })
	return p
}

func (b *budgeted) fit(bytes int64) (*core.Program, core.StepOptions) {
	b.t.Helper()
	o, err := budget.Fit(b.device, b.stages, b.o, bytes)
	if err != nil {
		b.t.Fatal(err)
	}
	p := b.compile(o)
	if arena := p.Layout.ArenaBytes(); arena > bytes {
		b.t.Errorf("budget of %d bytes: the arena has %d", bytes, arena)
	}
	return p, o
}

// TestBudgetCostsWhatItMust: a step that fits already recomputes nothing; a moderate budget of bp is
// reached without recomputing a convolution other than the stem; a tight one costs less than a second forward
// pass, which is a third of a step.
func TestBudgetCostsWhatItMust(t *testing.T) {
	b := newBudgeted(t, "bp")
	plain := b.compile(b.o)
	arena, flops := plain.Layout.ArenaBytes(), float64(plain.Graph.FLOPs())
	if _, o := b.fit(arena); len(o.Recompute) != 0 {
		t.Errorf("a budget of the whole arena: %d results are recomputed, want none", len(o.Recompute))
	}
	for _, c := range []struct{ part, least, most float64 }{{0.9, 1, 1.01}, {0.6, 1, 1.01}, {0.3, 1.01, 4.0 / 3}} {
		p, o := b.fit(int64(c.part * float64(arena)))
		if times := float64(p.Graph.FLOPs()) / flops; len(o.Recompute) == 0 || times < c.least || times > c.most {
			t.Errorf("a budget of %g of the arena: %d results recomputed, %.3f times the operations, want %.3f to %.3f times", c.part,
				len(o.Recompute), times, c.least, c.most)
		}
	}
}

// TestBudgetOfModules: the modules of a local method have their own peaks, and each is brought down.
func TestBudgetOfModules(t *testing.T) {
	b := newBudgeted(t, "auglocal")
	plain := b.compile(b.o)
	b.fit(plain.Layout.ArenaBytes() * 75 / 100)
}

// TestBudgetOutOfReach names an arena that it found, and a budget of that size is then reached.
func TestBudgetOutOfReach(t *testing.T) {
	for _, method := range []string{"bp", "dgl"} {
		if testing.Short() && method == "dgl" {
			continue // ten seconds of searching
		}
		b := newBudgeted(t, method)
		_, err := budget.Fit(b.device, b.stages, b.o, 1<<20)
		var over *budget.TooSmall
		if !errors.As(err, &over) || over.BudgetBytes != 1<<20 || over.LeastBytes <= 1<<20 {
			t.Fatalf("%s: got %v, want the smallest arena found", method, err)
		}
		b.fit(over.LeastBytes * 101 / 100)
	}
}

// TestLoadIsTheTimeline compares the bytes that the search counts with those of the profile.
func TestLoadIsTheTimeline(t *testing.T) {
	b := newBudgeted(t, "auglocal")
	p := b.compile(b.o)
	for i, bytes := range plan.Load(p.Graph, p.Scratch()) {
		if want := p.Profile.Timeline[i].Total(); bytes != want {
			t.Fatalf("op %d: got %d bytes alive, want %d", i, bytes, want)
		}
	}
}

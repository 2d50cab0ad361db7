package diff_test

import (
	"errors"
	"testing"

	"github.com/localbench/localbench/reports/diff"
	"github.com/localbench/localbench/results"
)

// side is a plan of a network whose tensors have these bytes, with an arena of 1000 bytes more.
func side(label, module string, bytes map[string]int64) diff.Side {
	p := results.Plan{Spec: results.Spec{Method: "bp", Network: label, Batch: 2}}
	sum := int64(0)
	p.Memory.ByCategory = map[string]int64{}
	for name, n := range bytes {
		p.Alive = append(p.Alive, results.Value{Name: name, Scope: module, Category: "parameters", Bytes: n})
		p.Memory.ByCategory["parameters"] += n
		sum += n
	}
	arena, step := sum+1000, sum
	p.Memory.PlannedPeakBytes, p.Memory.StepArenaBytes, p.Memory.ArenaBytes = &sum, &step, &arena
	return diff.Side{Label: label, Plan: p}
}

// TestChanges: by hand, two tensors of one layer: one grew from 100 to 300 bytes, one shrank from 60 to 10, and one
// that is the same is left out. The number of the local module is not part of a path.
func TestChanges(t *testing.T) {
	old := side("old", "module0/layer1/conv1", map[string]int64{"layer1.conv1.weight": 100, "module0/layer1/conv1:y": 60, "same": 7})
	new := side("new", "module3/layer1/conv1", map[string]int64{"layer1.conv1.weight": 300, "module3/layer1/conv1:y": 10, "same": 7})
	d := diff.Planned(old, new)
	var got []string
	for _, c := range d.Tensors {
		got = append(got, c.Name)
	}
	if len(got) != 2 || got[0] != "layer1.conv1.weight" || got[1] != "layer1.conv1:y" ||
		d.Tensors[0].Bytes() != 200 || d.Tensors[1].Bytes() != -50 {
		t.Errorf("got tensors %+v, want the weight with +200 and y with -50", d.Tensors)
	}
	if len(d.Modules) != 1 || d.Modules[0].Module != "layer1.conv1" || d.Modules[0].Bytes() != 150 {
		t.Errorf("got modules %+v, want layer1.conv1 with +150", d.Modules)
	}
	if len(d.Categories) != 1 || d.Categories[0].Bytes() != 150 || d.Figures[0].Bytes() != 150 {
		t.Errorf("got categories %+v, figures %+v, want +150", d.Categories, d.Figures)
	}
	if d := diff.Planned(old, old); len(d.Tensors)+len(d.Modules)+len(d.Categories) > 0 {
		t.Errorf("a plan against itself: got %+v", d)
	}
}

// TestLimit: the old planned peak has 167 bytes, the new one 317: 150 more, 89.8 %. The arenas have 1000 more, 12.9 %.
func TestLimit(t *testing.T) {
	old := side("old", "a", map[string]int64{"x": 167})
	all := []diff.Diff{diff.Planned(old, side("new", "a", map[string]int64{"x": 317}))}
	for _, c := range []struct {
		limit  string
		beyond bool
	}{{"0", true}, {"149B", true}, {"150B", false}, {"89%", true}, {"90%", false}, {"1KiB", false}} {
		l, err := diff.ParseLimit(c.limit)
		if err != nil {
			t.Fatal(err)
		}
		sentence, err := l.Check(all)
		if err != nil || (sentence != "") != c.beyond {
			t.Errorf("limit %s: got %q, %v, want beyond: %v", c.limit, sentence, err, c.beyond)
		}
	}
	for _, wrong := range []string{"", "5", "-1%", "x%", "NaN%", "+Inf%", "9", "-5MiB", "5Mi"} {
		if l, err := diff.ParseLimit(wrong); err == nil {
			t.Errorf("limit %q: got %s, want an error", wrong, l)
		}
	}
}

// TestLimitOfUnknown: a limit can't be checked where a figure is missing or is a lower bound.
func TestLimitOfUnknown(t *testing.T) {
	l, err := diff.ParseLimit("100%")
	if err != nil {
		t.Fatal(err)
	}
	a, b := side("old", "a", map[string]int64{"x": 10}), side("new", "a", map[string]int64{"x": 10})
	unknown := b
	unknown.Plan.UnknownWorkspaces = 1
	missing := b
	missing.Plan.Memory.ArenaBytes = nil
	for _, s := range []diff.Side{unknown, missing} {
		var cannot *diff.UnknownError
		if _, err := l.Check([]diff.Diff{diff.Planned(a, s)}); !errors.As(err, &cannot) {
			t.Errorf("got %v, want an error that says what is not known", err)
		}
		if _, err := l.Check([]diff.Diff{diff.Planned(s, a)}); !errors.As(err, &cannot) {
			t.Errorf("got %v, want an error that says what is not known", err)
		}
	}
}

// TestFind: the record of the same run is found by its settings; with two of them, or none, it is an error.
func TestFind(t *testing.T) {
	r := results.Record{Spec: results.Spec{Method: "bp", Network: "old.pt2", Dataset: "cifar10", Batch: 8, Epochs: 400,
		Backend: "null",
		Options: map[string]string{"network_digest": "sha256:1"}}}
	other := r
	other.Spec.Batch = 16
	want := results.Record{Spec: results.Spec{Method: "bp", Network: "new.pt2", Dataset: "cifar10", Batch: 8, Backend: "cpu",
		Options: map[string]string{"network_digest": "sha256:2"}}}
	if got, err := diff.Find([]results.Record{other, r}, want); err != nil || got.Spec.Batch != 8 {
		t.Errorf("got %+v, %v, want the record of batch 8", got, err)
	}
	if _, err := diff.Find([]results.Record{other}, want); err == nil {
		t.Error("got a record of batch 16, want an error")
	}
	if _, err := diff.Find([]results.Record{r, r}, want); err == nil {
		t.Error("got one of two records, want an error")
	}
	second := r
	second.Spec.Network = "third.pt2"
	if _, err := diff.Find([]results.Record{r, second}, want); err == nil {
		t.Error("got a record of another network, want an error")
	}
}

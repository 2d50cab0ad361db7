package publish

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func source(method string, seed uint64, mebibytes int64, top1 float64) Source {
	r := results.Record{Status: results.StatusDone, Spec: results.Spec{Method: method, Network: "resnet20", Dataset: "cifar10",
		Batch: 128, Precision: "f32", Backend: "cpu", Seed: seed, Epochs: 12, LR: 0.1, Momentum: 0.9, WeightDecay: 1e-4}}
	r.Environment = results.Environment{CPU: "Some CPU", OS: "linux/amd64", Commit: "0123456789abcdef"}
	r.Memory.StepArenaBytes = new(mebibytes << 20)
	r.Time.StepSeconds = &results.Distribution{Median: 0.08, N: 10}
	r.Accuracy.LastTop1 = &top1
	r.Accuracy.Epochs = []results.Epoch{{Epoch: 12, TestTop1: &top1}}
	r.ID = results.SpecID(r.Spec)
	return Source{Record: r, Path: "../results/" + r.ID + ".json"}
}

// The page links every record, and says what a page of one seed a method without a GPU does not show.
func TestPage(t *testing.T) {
	p := Page{Trained: []Source{source("bp", 1, 200, 0.9), source("bp", 2, 200, 0.905), source("dgl", 1, 60, 0.8)},
		Images: "images/results"}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "page.md")
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the page is not %s:\n%s", golden, b.String())
	}
	for _, s := range p.Trained {
		if !strings.Contains(b.String(), "["+s.Record.ID+"]("+s.Path+")") {
			t.Errorf("%s: no link", s.Record.ID)
		}
	}
	figures, err := p.Figures()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range figures {
		if !strings.Contains(b.String(), "(images/results/"+f.Name+".svg)") {
			t.Errorf("%s: drawn, and not shown", f.Name)
		}
	}
	if n := strings.Count(b.String(), ".svg)"); n != len(figures) {
		t.Errorf("%d plots shown, %d drawn", n, len(figures))
	}
}

// Runs too short to compare come last, without plots and verdicts.
func TestSmokeRuns(t *testing.T) {
	short := source("bp", 1, 200, 0.1)
	short.Record.Spec.Network, short.Record.Spec.Epochs = "resnet18", 1
	short.Record.ID = results.SpecID(short.Record.Spec)
	p := Page{Trained: []Source{short, source("bp", 1, 200, 0.9)}, Images: "images/results"}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	whole, smoke, found := strings.Cut(b.String(), "\n## Smoke runs\n")
	if !found || !strings.Contains(whole, "resnet20 on cifar10") || !strings.Contains(smoke, "### resnet18 on cifar10, 1 epoch\n") ||
		strings.Contains(smoke, "verdict") || strings.Contains(smoke, ".svg") {
		t.Errorf("got %s", b.String())
	}
	if figures, err := p.Figures(); err != nil || len(figures) != 2 {
		t.Errorf("%d plots, %v: must be the two of the run of 12 epochs", len(figures), err)
	}
}

// Of one network and data set the longest schedule comes first.
func TestLongestScheduleFirst(t *testing.T) {
	var p Page
	for _, epochs := range []int64{4, 12, 8} {
		s := source("bp", 1, 200, 0.9)
		s.Record.Spec.Epochs = epochs
		s.Record.ID = results.SpecID(s.Record.Spec)
		p.Trained = append(p.Trained, s)
	}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	var titles []string
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "## resnet20") {
			titles = append(titles, strings.TrimSpace(line))
		}
	}
	want := []string{"## resnet20 on cifar10, 12 epochs", "## resnet20 on cifar10, 8 epochs", "## resnet20 on cifar10, 4 epochs"}
	if !slices.Equal(titles, want) {
		t.Errorf("got %q, want %q", titles, want)
	}
}

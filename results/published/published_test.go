package published

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCells: every cell has a source and a mark, no figure of a paper stands there twice, and there is a
// table for each of those that reproduce promises.
func TestCells(t *testing.T) {
	cells, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cifar10", "infopro-cifar10", "svhn", "stl10", "imagenet", "memory", "ablation-selection",
		"ablation-pyramid", "ablation-depth", "ablation"} {
		if _, err := Table(cells, name); err != nil {
			t.Error(err)
		}
	}
	for i, a := range cells {
		if a.SD != nil && a.Value == nil {
			t.Errorf("%+v: a spread without a figure", a)
		}
		for _, b := range cells[:i] {
			if a.same(b) && a.Source == b.Source {
				t.Errorf("twice: %+v", a)
			}
		}
	}
	if _, err := Table(cells, "nonsense"); err == nil || !strings.Contains(err.Error(), "Known: cifar10, infopro-cifar10, svhn") {
		t.Errorf("got %v", err)
	}
}

// TestWhatPapersSay recomputes what the papers say of their own figures, independently of the values
// themselves: InfoPro's table 3 states each memory also as a saving against end-to-end, in
// percent (table 4 rounds otherwise by a tenth), and AugLocal's review its gap on CIFAR-10.
func TestWhatPapersSay(t *testing.T) {
	cells, err := All()
	if err != nil {
		t.Fatal(err)
	}
	find := func(c Cell) float64 {
		t.Helper()
		for _, o := range cells {
			if o.same(c) && o.Value != nil && strings.HasPrefix(o.Source, c.Source) {
				return *o.Value
			}
		}
		t.Fatalf("no cell %+v", c)
		return 0
	}
	memory := func(dataset, network, method string, batch int64, k int) float64 {
		c := Cell{Table: "memory", Dataset: dataset, Network: network, Method: method, Metric: Memory, Batch: batch, Modules: k,
			Source: "InfoPro"}
		if k > 0 {
			c.Options = map[string]string{"mode": "contrast", "cuts": "balanced"}
			if dataset == "imagenet" {
				c.Options["mode"] = "softmax"
			}
		}
		return find(c)
	}
	for _, c := range []struct {
		dataset, network, method string
		batch                    int64
		k                        int
		saving                   float64
	}{
		{"cifar10", "resnet110", "checkpoint", 1024, 0, 58.4}, {"cifar10", "resnet110", "infopro", 1024, 2, 42.8},
		{"cifar10", "resnet110", "infopro", 1024, 3, 55.1}, {"cifar10", "resnet110", "infopro", 1024, 4, 62.6},
		{"stl10", "resnet110", "checkpoint", 128, 0, 58.2}, {"stl10", "resnet110", "infopro", 128, 2, 42.9},
		{"stl10", "resnet110", "infopro", 128, 3, 53.9}, {"stl10", "resnet110", "infopro", 128, 4, 62.1},
		{"imagenet", "resnet101", "infopro", 128, 2, 38.8},
	} {
		got := 100 * (1 - memory(c.dataset, c.network, c.method, c.batch, c.k)/memory(c.dataset, c.network, "bp", c.batch, 0))
		if got < c.saving-0.055 || got > c.saving+0.055 {
			t.Errorf("%s, %s, K=%d: saves %.2f %%, the paper says %.1f %%", c.dataset, c.method, c.k, got, c.saving)
		}
	}
	top1 := func(method string, k, d int) float64 {
		return find(Cell{Table: "cifar10", Dataset: "cifar10", Network: "resnet110", Method: method, Metric: Top1, Modules: k,
			AuxDepth: d, Source: "AugLocal"})
	}
	if gap := 100 * (top1("bp", 0, 0) - top1("auglocal", 55, 6)); gap < 0.6499 || gap > 0.6501 {
		t.Errorf("AugLocal's gap on CIFAR-10: %.4f points, want 0.65", gap)
	}
}

// TestFill: a person's figure goes where one was not seen, never over one that was.
func TestFill(t *testing.T) {
	seen := 0.9
	cells := []Cell{
		{Table: "a", Dataset: "d", Network: "n", Method: "m", Metric: Top1, Mark: "B", Source: "paper"},
		{Table: "a", Dataset: "d", Network: "n", Method: "bp", Metric: Top1, Value: &seen, Mark: "B", Source: "paper"},
	}
	file := filepath.Join(t.TempDir(), "mine.json")
	fill := func(cell string) ([]Cell, error) {
		if err := os.WriteFile(file, []byte(`{"schema": 1, "cells": [`+cell+`]}`), 0o666); err != nil {
			t.Fatal(err)
		}
		return Fill(cells, file)
	}
	got, err := fill(`
		{"table":"a","dataset":"d","network":"n","method":"m","metric":"top1","value":0.8,"mark":"A","source":"the PDF, table 1"},
		{"table":"a","dataset":"d","network":"n","method":"bp","metric":"top1","value":0.7,"mark":"A","source":"the PDF, table 1"},
		{"table":"a","dataset":"d","network":"n","method":"dgl","metric":"top1","mark":"A","source":"the PDF, not filled in"}`)
	if err != nil || len(got) != 3 || *got[0].Value != 0.8 || *got[1].Value != 0.9 || *got[2].Value != 0.7 || cells[0].Value != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	// A copy of our own file changes nothing.
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	if same, err := Fill(all, "published.json"); err != nil || len(same) != len(all) {
		t.Errorf("%d cells of %d and %v", len(same), len(all), err)
	}
	const cellOf = `{"table":"a","dataset":"d","network":"n","method":"m",`
	for cell, want := range map[string]string{
		cellOf + `"metric":"top1","value":93.6,"mark":"A","source":"s"}`: "must be a fraction in [0, 1], such as 0.9363",
		cellOf + `"metric":"top1","value":0.9,"mark":"C","source":"s"}`:  `mark "C": must be A`,
		cellOf + `"metric":"top1","value":0.9,"mark":"A"}`:               "source: missing",
		cellOf + `"metric":"f1","mark":"A","source":"s"}`:                `metric "f1": must be`,
		`{"tabel":"a"}`: `unknown field "tabel"`,
		`{`:             "cells",
	} {
		if _, err := fill(cell); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: got %v, want %q", cell, err, want)
		}
	}
	if _, err := Fill(cells, file+"x"); err == nil {
		t.Error("a file that is not there: no error")
	}
}

// Select leaves the cells of the methods and networks, and says which there are none of.
func TestSelect(t *testing.T) {
	all, err := Select("", "cifar10", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	some, err := Select("", "cifar10", []string{"dgl"}, []string{"resnet32"})
	if err != nil || len(some) == 0 || len(some) >= len(all) {
		t.Errorf("got %d of %d cells, %v", len(some), len(all), err)
	}
	for _, c := range some {
		if c.Method != "dgl" || c.Network != "resnet32" {
			t.Errorf("got a cell of %s with %s", c.Network, c.Method)
		}
	}
	if _, err := Select("", "cifar10", []string{"nonsense"}, nil); err == nil ||
		!strings.Contains(err.Error(), "has the methods nonsense and networks any") {
		t.Errorf("got %v", err)
	}
	if _, err := Select(filepath.Join(t.TempDir(), "nowhere.json"), "cifar10", nil, nil); err == nil {
		t.Error("a file that does not exist was read")
	}
}

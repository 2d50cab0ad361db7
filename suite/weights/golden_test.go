package weights_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/suite/weights"
)

// golden are the values of testdata/golden.safetensors (make_golden.py), and their elements in the program's order, each found
// by its coordinates.
func golden() ([]*graph.Value, memory) {
	at := func(i int) float32 { return float32(i)/2 - 7 }
	count := func(n int) (x []float32) {
		for i := range n {
			x = append(x, at(i))
		}
		return x
	}
	var conv, flattened []float32
	for o := range 3 {
		for h := range 2 {
			for w := range 3 {
				for i := range 5 {
					conv = append(conv, at(((o*5+i)*2+h)*3+w))
				}
			}
		}
	}
	for o := range 4 {
		for h := range 2 {
			for w := range 3 {
				for c := range 2 {
					flattened = append(flattened, at(((o*2+c)*2+h)*3+w))
				}
			}
		}
	}
	return []*graph.Value{
		{Name: "head.weight", Shape: graph.Shape{5, 6}, Weight: &graph.Weight{}},
		{Name: "conv.weight", Shape: graph.Shape{3, 2, 3, 5}, Weight: &graph.Weight{Layout: graph.LayoutConv}},
		{Name: "fc.weight", Shape: graph.Shape{4, 12}, Weight: &graph.Weight{Layout: graph.LayoutFlattened, Source: [3]int64{2, 2, 3}}},
		{Name: "bn.bias", Shape: graph.Shape{7}, Weight: &graph.Weight{}},
	}, memory{"head.weight": count(30), "conv.weight": conv, "fc.weight": flattened, "bn.bias": count(7)}
}

// TestGoldenFile writes the bytes of a file that was made elsewhere, and reads it.
func TestGoldenFile(t *testing.T) {
	values, content := golden()
	path := filepath.Join(t.TempDir(), "w")
	if err := weights.Save(path, content, values, map[string]string{"note": "golden", "format": "pt"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/golden.safetensors"
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes are not the %d of %s: %.300q", len(got), len(want), file, got)
	}
	read := memory{}
	if err := weights.LoadModel(file, read, values); err != nil {
		t.Fatal(err)
	}
	for name := range content {
		if !slices.Equal(read[name], content[name]) {
			t.Errorf("%s: got %v, want %v", name, read[name], content[name])
		}
	}
}

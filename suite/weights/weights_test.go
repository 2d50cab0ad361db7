package weights_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/suite/weights"
)

// memory is a store of values by name.
type memory map[string][]float32

func (m memory) ReadAt(v *graph.Value, first int64, dst any) error {
	if m[v.Name] == nil {
		return fmt.Errorf("no %s", v.Name)
	}
	copy(dst.([]float32), m[v.Name][first:])
	return nil
}

func (m memory) WriteAt(v *graph.Value, first int64, src any) error {
	if m[v.Name] == nil {
		m[v.Name] = make([]float32, v.Shape.Elements())
	}
	copy(m[v.Name][first:], src.([]float32))
	return nil
}

func values() []*graph.Value {
	return []*graph.Value{
		{Name: "conv.weight", Shape: graph.Shape{2, 1, 2, 3}, Weight: &graph.Weight{Layout: graph.LayoutConv}},
		{Name: "bn.bias", Shape: graph.Shape{3}, Weight: &graph.Weight{}},
	}
}

func content() memory {
	return memory{"conv.weight": {0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11}, "bn.bias": {-1, 0, 1}}
}

// TestSaveAndLoad brings every bit back, and stores a convolution in the order
// and shape that PyTorch has: OIHW, here the numbers in ascending order.
func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := weights.Save(path, content(), values(), map[string]string{"note": "x"}); err != nil {
		t.Fatal(err)
	}
	got := memory{}
	if err := weights.LoadModel(path, got, values()); err != nil {
		t.Fatal(err)
	}
	for name, want := range content() {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), `"__metadata__":{"note":"x"}`) {
		t.Errorf("the header has no note: %.200q", raw)
	}
	if !strings.Contains(string(raw), `"shape":[2,3,1,2]`) {
		t.Errorf("the header has no shape [2,3,1,2]: %.200q", raw)
	}
	ascending := "\x00\x00\x00\x00\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40"
	if !strings.Contains(string(raw), ascending) {
		t.Error("the convolution is not stored in the order 0, 1, 2, 3, ...")
	}
}

// TestLoadListsWhatDoesNotFit wants one error with everything in it, and nothing
// written.
func TestLoadListsWhatDoesNotFit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := weights.Save(path, content(), values(), nil); err != nil {
		t.Fatal(err)
	}
	want := values()
	want[0].Shape = graph.Shape{2, 1, 2, 4}
	want[1].Name = "bn.weight"
	got := memory{}
	err := weights.LoadModel(path, got, want)
	if err == nil {
		t.Fatal("a file that does not fit was loaded")
	}
	for _, part := range []string{"missing bn.weight", "extra bn.bias", "conv.weight is F32[2 3 1 2], but must be F32[2 4 1 2]"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, want it to say %q", err, part)
		}
	}
	if len(got) != 0 {
		t.Errorf("%d values were written", len(got))
	}
}

// TestDamagedFiles wants an error with the path for each.
func TestDamagedFiles(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "w.safetensors")
	if err := weights.Save(whole, content(), values(), nil); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{"empty": {}, "cut": raw[:len(raw)-5],
		"garbage": []byte("not a tensor file at all"), "header": raw[:20]} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := weights.LoadModel(path, memory{}, values()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want an error that names %s", name, err, path)
		}
	}
}

// TestFailedSaveLeavesTheOldFile reads a value that is not there.
func TestFailedSaveLeavesTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := weights.Save(path, memory{}, values(), nil); err == nil {
		t.Fatal("a file of values that cannot be read was saved")
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "old" {
		t.Errorf("the old file is now %q, %v", raw, err)
	}
}

// TestLoadModel reads a file as a common framework writes it: without auxiliary
// networks, with counters of batches.
func TestLoadModel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	counter := &graph.Value{Name: "bn.num_batches_tracked", Shape: graph.Shape{1}, Weight: &graph.Weight{}}
	file := content()
	file[counter.Name] = []float32{7}
	if err := weights.Save(path, file, append(values(), counter), nil); err != nil {
		t.Fatal(err)
	}
	auxiliary := &graph.Value{Name: "aux.0.fc.bias", Shape: graph.Shape{2}, Weight: &graph.Weight{}}
	got := memory{}
	if err := weights.LoadModel(path, got, append(values(), auxiliary)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got["conv.weight"], content()["conv.weight"]) || got[auxiliary.Name] != nil || got[counter.Name] != nil {
		t.Errorf("got %v", got)
	}
	// With some auxiliary tensor in it the file must hold all of them.
	file[auxiliary.Name] = []float32{1, 2}
	if err := weights.Save(path, file, append(values(), counter, auxiliary), nil); err != nil {
		t.Fatal(err)
	}
	other := &graph.Value{Name: "aux.1.fc.bias", Shape: graph.Shape{2}, Weight: &graph.Weight{}}
	err := weights.LoadModel(path, got, append(values(), auxiliary, other))
	if err == nil || !strings.Contains(err.Error(), "missing aux.1.fc.bias") {
		t.Errorf("got %v, want the missing tensor named", err)
	}
}

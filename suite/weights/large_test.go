package weights_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/suite/weights"
)

// formula is a store without memory: what an element is follows from its value's name and its place
// in the canonical order, which is worked out here by coordinates.
type formula struct{}

func element(name string, canonical int64) float32 {
	return float32(uint32(canonical*2654435761+int64(name[0])) >> 8)
}

func (formula) ReadAt(v *graph.Value, first int64, dst any) error {
	for i := range dst.([]float32) {
		dst.([]float32)[i] = element(v.Name, enginetest.CanonicalPlace(v, first+int64(i)))
	}
	return nil
}

func (formula) WriteAt(v *graph.Value, first int64, src any) error {
	for i, x := range src.([]float32) {
		if want := element(v.Name, enginetest.CanonicalPlace(v, first+int64(i))); x != want {
			return fmt.Errorf("%s[%d]: got %g, want %g", v.Name, first+int64(i), x, want)
		}
	}
	return nil
}

// large are values of 36, 24, 34 and 2 MiB; the last has rows that are longer than a piece.
func large() []*graph.Value {
	return []*graph.Value{
		{Name: "conv.weight", Shape: graph.Shape{1024, 3, 3, 1024}, Weight: &graph.Weight{Layout: graph.LayoutConv}},
		{Name: "fc.weight", Shape: graph.Shape{256, 512 * 7 * 7}, Weight: &graph.Weight{Layout: graph.LayoutFlattened,
			Source: [3]int64{512, 7, 7}}},
		{Name: "plain.weight", Shape: graph.Shape{3001, 3001}, Weight: &graph.Weight{}},
		{Name: "row.weight", Shape: graph.Shape{2, 1024 * 17 * 17}, Weight: &graph.Weight{Layout: graph.LayoutFlattened,
			Source: [3]int64{1024, 17, 17}}},
	}
}

// TestLargeTensors saves and reads tensors, each in many pieces, and holds what is allocated for it to a small part of
// the largest.
func TestLargeTensors(t *testing.T) {
	const most = 8 << 20
	path := filepath.Join(t.TempDir(), "w")
	var size int64
	for _, v := range large() {
		size += v.Bytes()
	}
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"Save", func() error { return weights.Save(path, formula{}, large(), nil) }},
		{"LoadModel", func() error { return weights.LoadModel(path, formula{}, large()) }},
		{"CheckModel", func() error { return weights.CheckModel(path, large()) }},
		{"Digest", func() error { _, err := weights.Digest(path); return err }},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := c.do(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		runtime.ReadMemStats(&after)
		if bytes := after.TotalAlloc - before.TotalAlloc; bytes > most {
			t.Errorf("%s: %d bytes were allocated for %d of tensors, want at most %d", c.name, bytes, size, most)
		}
	}
	checkElements(t, path, large())
}

// checkElements wants the canonical order in the file, tensor after tensor in the order of their names.
func checkElements(t *testing.T, path string, values []*graph.Value) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 1<<20)
	var word [8]byte
	if _, err := io.ReadFull(in, word[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Discard(int(binary.LittleEndian.Uint64(word[:]))); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		for i := range v.Shape.Elements() {
			if _, err := io.ReadFull(in, word[:4]); err != nil {
				t.Fatal(err)
			}
			if got, want := math.Float32frombits(binary.LittleEndian.Uint32(word[:])), element(v.Name, i); got != want {
				t.Fatalf("%s: element %d of the file is %g, want %g", v.Name, i, got, want)
			}
		}
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("after the last tensor: got %v, want the end", err)
	}
}

// TestFullDisk ends the writing in the middle of a tensor, by a real limit on the size of files, in a process of its own because
// the limit is the process's.
func TestFullDisk(t *testing.T) {
	const variable = "WEIGHTS_TEST_FULL_DISK"
	if dir := os.Getenv(variable); dir != "" {
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 5 << 20, Max: 5 << 20}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			os.Exit(3)
		}
		if err := weights.Save(filepath.Join(dir, "w"), formula{}, large(), nil); !errors.Is(err, syscall.EFBIG) {
			fmt.Fprintf(os.Stderr, "got %v, want EFBIG\n", err)
			os.Exit(4)
		}
		os.Exit(0)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "w"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestFullDisk$")
	child.Env = append(os.Environ(), variable+"="+dir)
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "w")); err != nil || string(got) != "old" {
		t.Errorf("the old file is now %.20q, %v", got, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("got %d files, want no leftovers beside the old one", len(entries))
	}
}

package engine_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
)

var update = flag.Bool("update", false, "rewrite docs/ops.md")

// cudaLibrary names the folder of the CUDA backend's library, as `make cuda` leaves it.
func cudaLibrary(t *testing.T) string {
	t.Helper()
	dir := enginetest.Library()
	if _, err := os.Stat(filepath.Join(dir, "liblocalbench_cuda.so")); err != nil {
		t.Skip("the CUDA backend is not built (make cuda): nothing of the library was tested")
	}
	return dir
}

// TestCUDAWithoutDevice loads the library: where there is no GPU it says what is missing.
func TestCUDAWithoutDevice(t *testing.T) {
	engine.SearchIn(cudaLibrary(t))
	d, err := engine.Open("cuda", engine.Options{})
	if err == nil {
		d.Close()
		t.Skip("there is a device: nothing is missing")
	}
	var e *engine.Unavailable
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an error that says what is missing", err)
	}
	for _, part := range []string{"driver", "device"} {
		if strings.Contains(e.Why, part) {
			return
		}
	}
	t.Errorf("got %q, want a sentence about the driver or the device", e.Why)
}

// TestCUDAPlansWithoutDevice prepares every case of the op table on a machine that need not have a
// GPU: each kind has a kernel, and the scratch memory of own kernels is that of the stand-in.
func TestCUDAPlansWithoutDevice(t *testing.T) {
	enginetest.NeedsCPU(t)
	engine.SearchIn(cudaLibrary(t))
	d, err := engine.Open("cuda", engine.Options{Device: engine.PlanOnly})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	emulated := enginetest.Open(t, "emu", engine.Options{})
	for _, c := range optest.Cases() {
		g, err := c.Graph()
		if err != nil {
			t.Fatal(err)
		}
		p, err := d.Prepare(g)
		if err != nil {
			t.Errorf("%s: %v", c, err)
			continue
		}
		q, err := emulated.Prepare(g)
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range p.Kernels() {
			if name == "plain" && p.Scratch()[i] != q.Scratch()[i] {
				t.Errorf("%s: %d bytes of scratch memory, want %d", c, p.Scratch()[i], q.Scratch()[i])
			}
		}
		if _, err := d.NewArena(64); err == nil {
			t.Fatal("a device that only plans gave memory")
		}
		p.Close()
		q.Close()
	}
}

// TestMissingLibrary looks for a backend in an empty folder, and for one that is none.
func TestMissingLibrary(t *testing.T) {
	dir := t.TempDir()
	engine.SearchIn(dir)
	defer engine.SearchIn("")
	open := func() *engine.Unavailable {
		_, err := engine.Open("cuda", engine.Options{})
		var e *engine.Unavailable
		if !errors.As(err, &e) || e.Hint() == "" {
			t.Fatalf("got %v, want what is missing and what to do", err)
		}
		return e
	}
	if e := open(); !strings.Contains(e.Why, dir) {
		t.Errorf("got %q, want the folders that were looked in", e.Why)
	}
	if err := os.WriteFile(filepath.Join(dir, "liblocalbench_cuda.so"), []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	if e := open(); !strings.Contains(e.Why, "liblocalbench_cuda.so") {
		t.Errorf("got %q, want the file that is no library", e.Why)
	}
}

// TestOpTable holds docs/ops.md against the backends: which of them has a kernel of which kind. A kind
// that the CUDA backend lacks fails.
func TestOpTable(t *testing.T) {
	enginetest.NeedsCPU(t)
	devices := []engine.Device{openDevice(t, "reference", 1), openDevice(t, "cpu", 1), enginetest.Open(t, "emu", engine.Options{})}
	type element struct {
		kind graph.Kind
		bf16 bool
	}
	cases, lacks := map[element]bool{}, map[element][3]bool{} // by device
	for _, c := range optest.Cases() {
		g, err := c.Graph()
		if err != nil {
			t.Fatal(err)
		}
		e := element{c.Op(g).Kind, narrow(c)}
		cases[e] = true
		for i, d := range devices {
			p, err := d.Prepare(g)
			if err == nil {
				p.Close()
				continue
			}
			missing := lacks[e]
			missing[i] = true
			lacks[e] = missing
			if i != 1 || !e.bf16 { // the cpu backend computes in f32 only
				t.Errorf("%s on %s: %v", c, d.Name(), err)
			}
		}
	}
	var b strings.Builder
	b.WriteString("# Ops and backends\n\nMade by `go test ./core/engine -run OpTable -update`. The kernels of cuda are tested on a stand-in for\nCUDA on the host; convolutions and linear layers by cuDNN and cuBLAS are not yet run on a GPU.\n\n| op | reference | cpu | cuda |\n|---|---|---|---|\n")
	for _, k := range graph.Kinds() {
		fmt.Fprintf(&b, "| `%s` |", k)
		for i := range devices {
			var words []string
			for _, e := range []element{{k, false}, {k, true}} {
				if cases[e] && !lacks[e][i] {
					words = append(words, map[bool]string{false: "f32", true: "bf16"}[e.bf16])
				}
			}
			fmt.Fprintf(&b, " %s |", cmp.Or(strings.Join(words, ", "), "no"))
		}
		b.WriteString("\n")
		if !cases[element{k, false}] && !cases[element{k, true}] {
			t.Errorf("%s: got no case in the op table, want some", k)
		}
	}
	const path = "../../docs/ops.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != b.String() {
		t.Errorf("%s is not what the backends are (%v): run this test with -update", path, err)
	}
}

// Package enginetest is what tests of several packages share. It opens devices: the cpu backend, and the CUDA backend's code on
// the host. With the flag -cuda it opens a GPU in the place of both, so that the same tests
// run on a machine that has one.
package enginetest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
)

var (
	onGPU   = flag.Bool("cuda", false, "test on a GPU, and on nothing else")
	library = flag.String("library", "", "folder of liblocalbench_cuda.so; empty: build below the module's root")
)

// Backends names what there is to test on.
func Backends() []string {
	if *onGPU {
		return []string{"cuda"}
	}
	return []string{"cpu", "emu"}
}

// NeedsCPU skips a test of a backend on the processor where a GPU is tested.
func NeedsCPU(t testing.TB) {
	t.Helper()
	if *onGPU {
		t.Skip("-cuda: what runs on the processor was not tested")
	}
}

// Open opens a device of a backend and closes it with the test. That of the host's stand-in is
// built first. Without a number of threads the device has one: threads that wait for each other are slow where other
// programs hold the cores, and packages are tested side by side.
func Open(t testing.TB, backend string, o engine.Options) engine.Device {
	t.Helper()
	if backend != "cpu" {
		o.LibraryDir = Library()
	}
	if backend == "emu" {
		if _, err := build(); err != nil {
			t.Fatal(err)
		}
	}
	if o.Threads == 0 && backend == "cpu" {
		o.Threads = 1
	}
	d, err := engine.Open(backend, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// Library is the folder of the backends' libraries.
func Library() string {
	if *library != "" {
		return *library
	}
	return filepath.Join(root(), "build")
}

// root is the folder of the module: tests run in the folders of their packages. (The path of this file, as the compiler
// knows it, would not do: -trimpath removes it.)
func root() string {
	dir, err := os.Getwd()
	if err != nil {
		return "."
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			return dir
		}
	}
}

// CanonicalPlace works out the place in files of the element that a program has at another, by its coordinates.
func CanonicalPlace(v *graph.Value, program int64) int64 {
	height, width, channels := int64(1), int64(1), int64(1)
	switch v.Weight.Layout {
	case graph.LayoutConv:
		height, width, channels = v.Shape[1], v.Shape[2], v.Shape[3]
	case graph.LayoutFlattened:
		channels, height, width = v.Weight.Source[0], v.Weight.Source[1], v.Weight.Source[2]
	}
	c, rest := program%channels, program/channels
	x, rest := rest%width, rest/width
	y, output := rest%height, rest/height
	return ((output*channels+c)*height+y)*width + x
}

// BuildEmulator builds the CUDA backend's code for the host, and returns the path of the library. Test programs of
// several packages run at the same time: one of them builds, the others wait.
func BuildEmulator() (string, error) { return build() }

var build = sync.OnceValues(func() (string, error) {
	folder := filepath.Join(root(), "build")
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return "", err
	}
	lock, err := os.Create(filepath.Join(folder, "emu.lock"))
	if err != nil {
		return "", err
	}
	defer lock.Close() // which releases the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("%s: %w", lock.Name(), err)
	}
	out, err := exec.Command("make", "--silent", "--jobs=2", "--directory", root(), "emu").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make emu: %w: %s", err, out)
	}
	return filepath.Join(folder, "liblocalbench_emu.so"), nil
})

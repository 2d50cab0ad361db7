// Package engine opens compute backends and runs programs on them: a device prepares a graph
// into a program, reports the workspace of each op, binds the program to an arena that
// the planner has laid out, and runs it, one call for each step.
//
// A backend knows no method and no network: it gets a blob of ops and offsets. If the
// requested backend is unavailable, that is an error; there is no fall-back.
package engine

import (
	"fmt"
	"strings"

	"github.com/localbench/localbench/core/graph"
)

// Device is a place where programs run. Its methods may be called from any
// goroutine; calls are executed one at a time.
type Device interface {
	Name() string             // "cpu", "reference", "null"
	Facts() map[string]string // versions of libraries, number of threads
	Prepare(g *graph.Graph) (Program, error)
	NewArena(bytes int64) (Arena, error)
	Close() error
}

// Arena is the one allocation that programs of a model share.
type Arena interface {
	Bytes() int64
	Fill(pattern byte) error
	ReadAt(to []byte, offset int64) error
	Close() error
}

// Program is a graph with kernels chosen.
type Program interface {
	// Scratch is the workspace of each op in bytes.
	Scratch() []int64
	// Kernels names the kernel chosen for each op: "winograd F(2x2, 3x3)"; "plain" where
	// there is no choice.
	Kernels() []string
	// Bind assigns offsets in the arena to values and workspaces, in bytes from its
	// start; a value with offset -1 is used by no op.
	Bind(a Arena, offsets, scratchOffsets []int64) error
	// Write and Read copy a value of a bound program, in the program's order of
	// elements. The slice is []float32, []int32, []byte or, for bf16, []uint16, as the
	// value's type.
	Write(v *graph.Value, src any) error
	Read(v *graph.Value, dst any) error
	// WriteAt and ReadAt copy a part of a value: as many elements as the slice has, from that one on.
	WriteAt(v *graph.Value, first int64, src any) error
	ReadAt(v *graph.Value, first int64, dst any) error
	// Run runs the ops first, ..., last-1.
	Run(first, last int) error
	// Trace returns the seconds spent in each op since the last reset.
	Trace(reset bool) []float64
	Close() error
}

// PlanOnly, as the index of a device, opens no device: graphs can be prepared and their workspaces
// queried on any machine, but nothing can run.
const PlanOnly = -1

// NumberReader is a program that reads several values of one number each in one call: a step of a local method has a loss
// and a count for every module, and each call waits for the thread that owns the device. It is optional; ReadNumbers uses it.
type NumberReader interface {
	ReadNumbers(values []*graph.Value, to []float32) error
}

// ReadNumbers reads values of one f32 each to the elements of to.
func ReadNumbers(p Program, values []*graph.Value, to []float32) error {
	if r, ok := p.(NumberReader); ok {
		return r.ReadNumbers(values, to)
	}
	for i, v := range values {
		if err := p.Read(v, to[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// Chooser is a program that returns the chosen kernels as lines of a tuning cache. It is
// optional.
type Chooser interface {
	Choices() (string, error)
}

// Options open a device.
type Options struct {
	// LibraryDir is searched first for the shared library of a backend, before the folder of the program and the system's
	// library folders; empty: only those.
	LibraryDir string
	Device     int // index among equal devices, or PlanOnly
	Threads    int // of the cpu; 0: one for each core
	// TF32 lets convolutions and linear layers of f32 operands round them to tf32, as
	// tensor cores do.
	TF32 bool
	// Deterministic allows only kernels whose results are reproducible to the bit.
	Deterministic bool
	// Scatter makes a separate allocation for every offset of an arena, for memory checkers such as
	// compute-sanitizer.
	Scatter bool
	// PlanBook is a tuning cache: the convolution engines to use, as lines of Chooser; empty: the
	// backend chooses. An engine that does not exist, or needs another workspace than the line says,
	// is an error. On the cpu, for tests and benchmarks, it is "oneDNN" or the name of our kernel that computes
	// every convolution that it can.
	PlanBook string
	// Properties describes the device to plan for with PlanOnly, as Described.Properties of such a
	// device returns it: the backend chooses the engines that it would choose there. Empty: it
	// chooses none, and the workspaces of convolutions are estimated.
	Properties string
	// Tune makes the backend time the engines that the tuning cache does not name before it chooses.
	Tune bool
	// Own makes the backend prefer its own kernels to a library's for what the tuning cache does
	// not name.
	Own bool
	// WorkspaceLimit bounds the workspace of a kernel in bytes: one that needs more is not
	// chosen. 0: no limit.
	WorkspaceLimit int64
}

// Unavailable says that the requested backend cannot be used here.
type Unavailable struct {
	Backend, Why, Remedy string
}

// Error names the backend and the reason.
func (e *Unavailable) Error() string { return fmt.Sprintf("backend %s: %s", e.Backend, e.Why) }

// Hint says what to do.
func (e *Unavailable) Hint() string { return e.Remedy }

// OutOfMemory says that a device has too little memory.
type OutOfMemory struct {
	NeedBytes int64  // 0 if unknown
	HaveBytes int64  // 0 if unknown
	What      string // what needed it: "an arena", or a call with its op
	// Limit names the limit on this process that was reached, such as a memory cgroup or RLIMIT_AS, and LimitBytes is
	// its size, of which HaveBytes are left. It is empty where the memory of the device is exhausted.
	Limit      string
	LimitBytes int64
}

// Error names the needed and the free bytes, as far as they are known.
func (e *OutOfMemory) Error() string {
	text := "out of memory: " + e.What
	if e.NeedBytes > 0 {
		text += fmt.Sprintf(": needs %d bytes, %d are free", e.NeedBytes, e.HaveBytes)
	}
	if e.Limit != "" {
		text += fmt.Sprintf(" of the %d that %s allows", e.LimitBytes, e.Limit)
	}
	return text
}

// Hint says what to try.
func (e *OutOfMemory) Hint() string {
	return "a smaller --batch needs less; `benchctl plan --fit SIZE` finds the largest that fits"
}

// backend is one that can be asked for by name.
type backend struct {
	name string
	open func(Options) (Device, error)
}

func backends() []backend {
	return []backend{
		{"cpu", openCPU},
		{"reference", openReference},
		{"null", openNull},
		{"cuda", func(o Options) (Device, error) { return openLibrary("cuda", o) }},
	}
}

// Open opens a device of the backend of that name. "auto" is cpu.
func Open(name string, o Options) (Device, error) {
	if name == "auto" {
		name = "cpu"
	}
	if name == "emu" { // the CUDA backend's code on the host: for tests only
		return openLibrary(name, o)
	}
	var known []string
	for _, b := range backends() {
		if b.name == name {
			return b.open(o)
		}
		known = append(known, b.name)
	}
	return nil, fmt.Errorf("backend %q: must be auto or one of %s", name, strings.Join(known, ", "))
}

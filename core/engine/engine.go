// Package engine gives compute backends their meaning: a device prepares a graph
// into a program, tells the scratch memory of each op, binds it to an arena that
// the planner has laid out, and runs it, one call a step.
//
// A backend knows no method and no network; what runs is a blob of ops and
// offsets. Where a backend that was asked for is not there, that is an error;
// nothing falls back.
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
	// Scratch is the scratch memory of each op in bytes.
	Scratch() []int64
	// Kernels names the kernel chosen for each op: "winograd F(2x2, 3x3)"; "plain" where
	// there is no choice.
	Kernels() []string
	// Bind places values and scratch memory in the arena, in bytes from its
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

// PlanOnly is the index of no device: graphs can be prepared, and scratch memory be told,
// on a machine that has none; nothing can run.
const PlanOnly = -1

// Chooser is a program that tells the kernels that were chosen as lines of a plan book. It is
// optional.
type Chooser interface {
	Choices() (string, error)
}

// Options open a device.
type Options struct {
	// LibraryDir is the folder in which the shared library of a backend is looked for first; empty: only beside the program and
	// where the system keeps libraries.
	LibraryDir string
	Device     int // index among equal devices, or PlanOnly
	Threads    int // of the cpu; 0: one a core
	// TF32 lets convolutions and linear layers of f32 operands round them to tf32, as
	// tensor cores do.
	TF32 bool
	// Deterministic lets only kernels be chosen that give the same bits every time.
	Deterministic bool
	// Scatter makes every place in an arena an allocation of its own, for tools that watch
	// allocations.
	Scatter bool
	// PlanBook has the convolution engines to use, as lines of Chooser; empty: the backend
	// chooses. An engine that is not there, or needs another workspace than the book says, is
	// an error.
	PlanBook string
	// Properties are those of the device to plan for with PlanOnly, as a device of that kind
	// tells them (Properties): the backend chooses the engines that it would choose there. Empty: it
	// chooses none, and the workspaces of convolutions are estimated.
	Properties string
	// Tune has the backend time the engines that the book does not name before it chooses.
	Tune bool
	// Own has the backend take its own kernels for what the book does not name, where it has
	// one beside a library's.
	Own bool
	// WorkspaceLimit bounds the scratch memory of a kernel in bytes: one that needs
	// more is not chosen. 0: no limit.
	WorkspaceLimit int64
}

// Unavailable says that a backend that was asked for is not there.
type Unavailable struct {
	Backend, Why, Remedy string
}

// Error says what is not there and why.
func (e *Unavailable) Error() string { return fmt.Sprintf("backend %s: %s", e.Backend, e.Why) }

// Hint says what to do.
func (e *Unavailable) Hint() string { return e.Remedy }

// OutOfMemory says that a device has too little memory.
type OutOfMemory struct {
	NeedBytes int64  // 0 if a library does not tell
	HaveBytes int64  // 0 if the device does not tell
	What      string // what needed it: "an arena", or a call with its op
	// Limit names the limit on this process that HaveBytes is left of, such as a memory cgroup or RLIMIT_AS, and
	// LimitBytes is its size; empty where it is the device's memory that is short.
	Limit      string
	LimitBytes int64
}

// Error names need and supply, as far as they are known.
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
	if name == "emu" { // the CUDA backend's code on the host, for tests: no user's choice
		return openLibrary(name, o)
	}
	var known []string
	for _, b := range backends() {
		if b.name == name {
			return b.open(o)
		}
		known = append(known, b.name)
	}
	return nil, fmt.Errorf("backend: got %q, want auto or one of %s", name, strings.Join(known, ", "))
}

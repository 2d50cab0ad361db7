// Package native binds compute backends through the C ABI of backend.h: the cpu
// backend, which is compiled here, and those in shared libraries. It knows blobs and numbers and no other
// package of ours; core/engine gives them meaning. It is the only package that
// imports "C", and its C++ lies in this very folder because cgo compiles, and the
// build cache watches, no other. With the build tag nocpu the cpu backend, and with it
// oneDNN, is left out: for machines that have a GPU and no such library.
package native

/*
#cgo CXXFLAGS: -std=c++17 -O3 -fopenmp -fvisibility=hidden -Wall -Wextra
#cgo CFLAGS: -O2
#cgo LDFLAGS: -lm -ldl
#cgo !nocpu LDFLAGS: -ldnnl -fopenmp
#include <stdlib.h>
#include "call.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

// Codes of Error, as in backend.h.
const (
	Invalid     = C.LB_INVALID
	Unsupported = C.LB_UNSUPPORTED
	OutOfMemory = C.LB_OUT_OF_MEMORY
	DeviceLost  = C.LB_DEVICE_LOST
	Internal    = C.LB_INTERNAL
)

// Nowhere is the offset of a value that no op touches.
const Nowhere uint64 = C.LB_NOWHERE

// BlobVersion is the version of the program format that Prepare reads.
const BlobVersion = C.LB_BLOB_VERSION

// Error is a failure that a backend reported.
type Error struct {
	Code      int32
	Op        int32 // index of the op it happened at, -1 if none
	NeedBytes int64 // OutOfMemory: requested and available bytes; 0 if unknown
	HaveBytes int64
	Text      string
}

// Error returns the backend's message.
func (e *Error) Error() string {
	if e.Op >= 0 {
		return fmt.Sprintf("op %d: %s", e.Op, e.Text)
	}
	return e.Text
}

// Backend is a table of functions.
type Backend struct{ table *C.lb_backend }

// Load returns the backend in a shared library. The error is the message of the dynamic loader,
// such as which dependency is missing.
func Load(path string) (Backend, error) {
	runtime.LockOSThread() // the loader keeps its error by thread
	defer runtime.UnlockOSThread()
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	why := make([]byte, 1024)
	t := C.load(name, (*C.char)(unsafe.Pointer(&why[0])), C.uint64_t(len(why)))
	if t == nil {
		return Backend{}, errors.New(C.GoString((*C.char)(unsafe.Pointer(&why[0]))))
	}
	return Backend{t}, nil
}

// Device, Program and Arena are handles of a backend's own objects.
type (
	Device  struct{ p *C.lb_device }
	Program struct{ p *C.lb_program }
	Arena   struct{ p *C.lb_arena }
)

func check(status C.int32_t, e *C.lb_error) error {
	if status == C.LB_OK {
		return nil
	}
	return &Error{Code: int32(e.code), Op: int32(e.op), NeedBytes: int64(e.need_bytes), HaveBytes: int64(e.have_bytes),
		Text: C.GoString(&e.text[0])}
}

// Probe returns "key=value" lines about libraries and processor; the error says
// why the backend cannot run here.
func (b Backend) Probe() (string, error) {
	var e C.lb_error
	text := make([]byte, 4096)
	err := check(C.call_probe(b.table, (*C.char)(unsafe.Pointer(&text[0])), C.uint64_t(len(text)), &e), &e)
	return C.GoString((*C.char)(unsafe.Pointer(&text[0]))), err
}

// Options open a device, as lb_options in backend.h.
type Options struct {
	Device, Threads        int32
	TF32                   bool
	Deterministic, Scatter bool
	Tune, Own              bool
	WorkspaceLimit         uint64 // bytes
	PlanBook, Properties   string
}

// Open opens a device.
func (b Backend) Open(o Options) (Device, error) {
	var e C.lb_error
	var d Device
	c := C.lb_options{struct_size: C.sizeof_lb_options, device: C.int32_t(o.Device), threads: C.int32_t(o.Threads),
		precision: flag(o.TF32), deterministic: flag(o.Deterministic), scatter: flag(o.Scatter), tune: flag(o.Tune),
		own: flag(o.Own), workspace_limit: C.uint64_t(o.WorkspaceLimit)}
	if o.PlanBook != "" {
		c.plan_book = C.CString(o.PlanBook)
		defer C.free(unsafe.Pointer(c.plan_book))
	}
	if o.Properties != "" {
		c.properties = C.CString(o.Properties)
		defer C.free(unsafe.Pointer(c.properties))
	}
	err := check(C.call_open(b.table, &c, &d.p, &e), &e)
	return d, err
}

func flag(x bool) C.int32_t {
	if x {
		return 1
	}
	return 0
}

// Describe returns "key=value" lines about libraries and threads.
func (b Backend) Describe(d Device) (string, error) {
	var e C.lb_error
	text := make([]byte, 4096)
	err := check(C.call_describe(b.table, d.p, (*C.char)(unsafe.Pointer(&text[0])), C.uint64_t(len(text)), &e), &e)
	return C.GoString((*C.char)(unsafe.Pointer(&text[0]))), err
}

// Close closes the device; its programs and arenas must be freed before.
func (b Backend) Close(d Device) { C.call_close(b.table, d.p) }

// Prepare reads a program and chooses kernels.
func (b Backend) Prepare(d Device, blob []byte) (Program, error) {
	var e C.lb_error
	var p Program
	err := check(C.call_prepare(b.table, d.p, bytes(blob), C.uint64_t(len(blob)), &p.p, &e), &e)
	return p, err
}

// Scratch fills the scratch bytes of each op.
func (b Backend) Scratch(p Program, scratch []uint64) error {
	var e C.lb_error
	return check(C.call_scratch(b.table, p.p, numbers(scratch), C.uint64_t(len(scratch)), &e), &e)
}

// Kernel names the kernel of an op.
func (b Backend) Kernel(p Program, op uint64) (string, error) {
	var e C.lb_error
	text := make([]byte, 256)
	err := check(C.call_kernel(b.table, p.p, C.uint64_t(op), (*C.char)(unsafe.Pointer(&text[0])), C.uint64_t(len(text)), &e), &e)
	return C.GoString((*C.char)(unsafe.Pointer(&text[0]))), err
}

// Choices returns the kernels that Prepare chose as lines of a tuning cache.
func (b Backend) Choices(p Program) (string, error) {
	var e C.lb_error
	text := make([]byte, 1<<20) // some thousand lines; a network has some tens
	err := check(C.call_choices(b.table, p.p, (*C.char)(unsafe.Pointer(&text[0])), C.uint64_t(len(text)), &e), &e)
	return C.GoString((*C.char)(unsafe.Pointer(&text[0]))), err
}

// Bind places the program in the arena and generates its kernels.
func (b Backend) Bind(p Program, a Arena, values, scratch []uint64) error {
	var e C.lb_error
	return check(C.call_bind(b.table, p.p, a.p, numbers(values), C.uint64_t(len(values)), numbers(scratch),
		C.uint64_t(len(scratch)), &e), &e)
}

// Free frees the program.
func (b Backend) Free(p Program) { C.call_program_free(b.table, p.p) }

// NewArena reserves memory without touching it.
func (b Backend) NewArena(d Device, size uint64) (Arena, error) {
	var e C.lb_error
	var a Arena
	err := check(C.call_arena_new(b.table, d.p, C.uint64_t(size), &a.p, &e), &e)
	return a, err
}

// FillArena writes the pattern to every byte.
func (b Backend) FillArena(a Arena, pattern byte) error {
	var e C.lb_error
	return check(C.call_arena_fill(b.table, a.p, C.uint8_t(pattern), &e), &e)
}

// ReadArena copies bytes of the arena from offset on.
func (b Backend) ReadArena(a Arena, offset uint64, to []byte) error {
	var e C.lb_error
	return check(C.call_arena_read(b.table, a.p, C.uint64_t(offset), unsafe.Pointer(unsafe.SliceData(to)),
		C.uint64_t(len(to)), &e), &e)
}

// FreeArena gives the memory back.
func (b Backend) FreeArena(a Arena) { C.call_arena_free(b.table, a.p) }

// Write copies data to a part of a value of a bound program: whole elements, from the byte offset on.
func (b Backend) Write(p Program, value, offset uint64, data []byte) error {
	var e C.lb_error
	return check(C.call_write(b.table, p.p, C.uint64_t(value), C.uint64_t(offset), unsafe.Pointer(unsafe.SliceData(data)),
		C.uint64_t(len(data)), &e), &e)
}

// Read copies a part of a value to data: whole elements, from the byte offset on.
func (b Backend) Read(p Program, value, offset uint64, data []byte) error {
	var e C.lb_error
	return check(C.call_read(b.table, p.p, C.uint64_t(value), C.uint64_t(offset), unsafe.Pointer(unsafe.SliceData(data)),
		C.uint64_t(len(data)), &e), &e)
}

// Run runs the ops first, ..., last-1: one call for each step.
func (b Backend) Run(p Program, first, last uint64) error {
	var e C.lb_error
	return check(C.call_run(b.table, p.p, C.uint64_t(first), C.uint64_t(last), &e), &e)
}

// Trace fills the seconds spent in each op since the last reset.
func (b Backend) Trace(p Program, seconds []float64, reset bool) error {
	var e C.lb_error
	return check(C.call_trace(b.table, p.p, (*C.double)(unsafe.SliceData(seconds)), C.uint64_t(len(seconds)), flag(reset), &e), &e)
}

func bytes(b []byte) *C.uint8_t { return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(b))) }

func numbers(n []uint64) *C.uint64_t { return (*C.uint64_t)(unsafe.Pointer(unsafe.SliceData(n))) }

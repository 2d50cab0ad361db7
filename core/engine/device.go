package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/localbench/localbench/core/engine/native"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/hostmem"
)

// nativeDevice is a native backend whose calls all come from one goroutine that is
// locked to its thread: OpenMP keeps a pool of workers for every thread that
// enters a parallel region, so a second caller would mean a second pool.
type nativeDevice struct {
	name    string
	backend native.Backend
	handle  native.Device
	calls   chan func()
	closed  chan struct{} // closed by Close: no calls are taken any more
	close   sync.Once
}

func openCPU(o Options) (Device, error) {
	b, err := native.CPU()
	if err != nil {
		return nil, err
	}
	return openNative("cpu", b, o)
}

// openLibrary opens a backend in a shared library.
func openLibrary(name string, o Options) (Device, error) {
	b, err := findLibrary(name, o.LibraryDir)
	if err != nil {
		return nil, err
	}
	if o.Device != PlanOnly {
		if _, err := b.Probe(); err != nil {
			return nil, &Unavailable{Backend: name, Why: err.Error(), Remedy: probeRemedy}
		}
	}
	return openNative(name, b, o)
}

// Probe asks a backend in a shared library for its devices and the versions of its libraries, as facts
// such as device0 and cuDNN. The folder is as in Options.LibraryDir. The error says why it cannot run here.
func Probe(name, libraryDir string) (map[string]string, error) {
	b, err := findLibrary(name, libraryDir)
	if err != nil {
		return nil, err
	}
	text, err := b.Probe()
	if err != nil {
		return nil, &Unavailable{Backend: name, Why: err.Error(), Remedy: probeRemedy}
	}
	return parseDescription(text).facts, nil
}

const probeRemedy = "`benchctl devices` lists what is there; --backend cpu needs no GPU"

// findLibrary looks for the shared library of a backend in a folder, if it is not empty, then beside the executable, and where
// the system keeps libraries.
func findLibrary(name, dir string) (native.Backend, error) {
	file := "liblocalbench_" + name + ".so"
	var places, found []string
	if dir != "" {
		places = append(places, dir)
	}
	if exe, err := os.Executable(); err == nil {
		places = append(places, filepath.Dir(exe))
	}
	for _, dir := range places {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			found = append(found, filepath.Join(dir, file))
		}
	}
	var why error
	for _, path := range append(found, file) {
		b, err := native.Load(path)
		if err == nil {
			return b, nil
		}
		if why == nil || len(found) == 0 {
			why = err
		}
	}
	e := &Unavailable{Backend: name, Why: why.Error(),
		Remedy: "`make " + name + "` builds " + file + "; $BENCHCTL_LIB_DIR names another folder to look in"}
	if len(found) == 0 {
		e.Why = fmt.Sprintf("no %s in %s, nor where the system keeps libraries", file, strings.Join(places, ", "))
	}
	return native.Backend{}, e
}

func openNative(name string, b native.Backend, o Options) (Device, error) {
	if o.WorkspaceLimit < 0 {
		return nil, fmt.Errorf("backend %s: workspace limit of %d bytes: must be at least 0", name, o.WorkspaceLimit)
	}
	if o.Device != int(int32(o.Device)) || o.Threads != int(int32(o.Threads)) {
		return nil, fmt.Errorf("backend %s: device %d with %d threads is out of range", name, o.Device, o.Threads)
	}
	d := &nativeDevice{name: name, backend: b, calls: make(chan func()), closed: make(chan struct{})}
	go d.own()
	err := d.do(func() (err error) {
		d.handle, err = b.Open(native.Options{Device: int32(o.Device), Threads: int32(o.Threads), TF32: o.TF32,
			Deterministic: o.Deterministic, Scatter: o.Scatter, Tune: o.Tune, Own: o.Own, WorkspaceLimit: uint64(o.WorkspaceLimit),
			PlanBook: o.PlanBook, Properties: o.Properties})
		return err
	})
	if err == nil && o.Device != PlanOnly && !o.Tune { // tuning does not measure steps
		err = d.warm()
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("backend %s: %w", name, err)
	}
	return d, nil
}

// warm runs each kind of op that the library computes once, on small tensors, so that what the
// library loads and allocates for itself does not count in the first measured step.
func (d *nativeDevice) warm() error {
	b := graph.NewBuilder(true)
	x, w := b.Input("x", graph.Shape{2, 8, 8, 16}, graph.TypeF32), b.Input("w", graph.Shape{16, 3, 3, 16}, graph.TypeF32)
	y := b.Conv(x, w, nil, graph.ConvOptions{Padding: 1})
	b.ConvBackwardData(b.Ops()[0], y)
	b.ConvBackwardWeights(b.Ops()[0], y)
	b.Linear(y, b.Input("v", graph.Shape{10, 8 * 8 * 16}, graph.TypeF32), nil)
	g, err := b.Graph()
	if err != nil {
		return err
	}
	p, err := d.Prepare(g)
	if err != nil {
		return err
	}
	defer p.Close()
	end := int64(0)
	place := func(bytes int64) int64 {
		offset := end
		end += (bytes + 63) / 64 * 64
		return offset
	}
	var offsets, scratch []int64
	for _, v := range g.Values {
		offsets = append(offsets, place(v.Bytes()))
	}
	for _, n := range p.Scratch() {
		scratch = append(scratch, place(n))
	}
	a, err := d.NewArena(end)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := p.Bind(a, offsets, scratch); err != nil {
		return err
	}
	return p.Run(0, len(g.Ops))
}

// own executes calls until the device is closed. The thread is not unlocked: it
// ends with the goroutine, and its OpenMP workers with it.
func (d *nativeDevice) own() {
	runtime.LockOSThread()
	for {
		select {
		case call := <-d.calls:
			call()
		case <-d.closed:
			return
		}
	}
}

// do executes f on the owner and returns its error.
func (d *nativeDevice) do(f func() error) error {
	done := make(chan error, 1)
	select {
	case d.calls <- func() { done <- f() }:
		return <-done
	case <-d.closed:
		return errors.New("the device is closed")
	}
}

// Name is the backend's name.
func (d *nativeDevice) Name() string { return d.name }

// Facts are the versions of libraries, the number of threads, the name of the device.
func (d *nativeDevice) Facts() map[string]string { return d.describe().facts }

// SetupMemory is the used memory of the device after each stage that was reached.
func (d *nativeDevice) SetupMemory() []StageMemory { return d.describe().stages }

// UUID is the driver's name for the card; empty for a device that is no card.
func (d *nativeDevice) UUID() string { return d.describe().uuid }

// FreeBytes is the free memory of a device with memory of its own at the moment, else 0.
func (d *nativeDevice) FreeBytes() int64 { return d.describe().freeBytes }

// Properties is what the backend's library looks at when it chooses kernels for this device, for
// Options of another one that plans for it; empty if there is no such library.
func (d *nativeDevice) Properties() string { return d.describe().properties }

// describe asks the backend. The description of a closed device is empty.
func (d *nativeDevice) describe() description {
	var text string
	_ = d.do(func() (err error) {
		text, err = d.backend.Describe(d.handle)
		return err
	})
	return parseDescription(text)
}

// Close ends the owner. Programs and arenas must be closed before: afterwards their
// memory cannot be freed. A second call does nothing.
func (d *nativeDevice) Close() (err error) {
	d.close.Do(func() {
		err = d.do(func() error { d.backend.Close(d.handle); return nil })
		close(d.closed)
	})
	return err
}

// Prepare chooses the kernels of g.
func (d *nativeDevice) Prepare(g *graph.Graph) (Program, error) {
	p := &nativeProgram{device: d, graph: g, scratch: make([]int64, len(g.Ops))}
	blob := encode(g)
	scratch := make([]uint64, len(g.Ops))
	err := d.do(func() (err error) {
		if p.handle, err = d.backend.Prepare(d.handle, blob); err != nil {
			return err
		}
		return d.backend.Scratch(p.handle, scratch)
	})
	if err != nil {
		return nil, p.explain("prepare", err)
	}
	for i, n := range scratch {
		p.scratch[i] = int64(n)
	}
	return p, nil
}

// NewArena reserves memory; pages that no program writes are not allocated.
func (d *nativeDevice) NewArena(bytes int64) (Arena, error) {
	if bytes < 0 {
		return nil, fmt.Errorf("an arena of %d bytes: must be at least 0", bytes)
	}
	if err := d.withinLimits(bytes); err != nil {
		return nil, err
	}
	a := &nativeArena{device: d, bytes: bytes}
	err := d.do(func() (err error) {
		a.handle, err = d.backend.NewArena(d.handle, uint64(bytes))
		return err
	})
	if err != nil {
		return nil, d.memoryOr(err, "an arena")
	}
	return a, nil
}

// memoryOr turns a native error of that code into an *OutOfMemory; what names what
// the memory was for.
func (d *nativeDevice) memoryOr(err error, what string) error {
	var e *native.Error
	if !errors.As(err, &e) || e.Code != native.OutOfMemory {
		return err
	}
	short := &OutOfMemory{NeedBytes: e.NeedBytes, HaveBytes: e.HaveBytes, What: what}
	if host, err := hostmem.Read(); err == nil && d.name == "cpu" {
		free, by := host.Free()
		short.HaveBytes = free
		if by != nil {
			short.Limit, short.LimitBytes = by.Name, by.Bytes
		}
	}
	return short
}

// withinLimits refuses an arena of host memory that is larger than a limit on this process. The system would hand out
// the addresses, and a memory cgroup would kill the process without a word when it writes to them.
func (d *nativeDevice) withinLimits(bytes int64) error {
	if d.name != "cpu" {
		return nil
	}
	host, err := hostmem.Read()
	if err != nil {
		return nil // the system does not tell: it may still refuse
	}
	if l := host.Smallest(); l != nil && bytes > l.Bytes {
		return &OutOfMemory{NeedBytes: bytes, HaveBytes: l.FreeBytes, What: "an arena", Limit: l.Name, LimitBytes: l.Bytes}
	}
	return nil
}

type nativeArena struct {
	device *nativeDevice
	handle native.Arena
	bytes  int64
}

// Bytes is the size asked for.
func (a *nativeArena) Bytes() int64 { return a.bytes }

// Fill writes the pattern to every byte.
func (a *nativeArena) Fill(pattern byte) error {
	return a.device.do(func() error { return a.device.backend.FillArena(a.handle, pattern) })
}

// ReadAt copies len(to) bytes from offset on.
func (a *nativeArena) ReadAt(to []byte, offset int64) error {
	if offset < 0 {
		return fmt.Errorf("arena: offset %d: must be at least 0", offset)
	}
	return a.device.do(func() error { return a.device.backend.ReadArena(a.handle, uint64(offset), to) })
}

// Close frees the memory; programs that are bound to it cannot run any more.
func (a *nativeArena) Close() error {
	return a.device.do(func() error {
		a.device.backend.FreeArena(a.handle)
		a.handle = native.Arena{}
		return nil
	})
}

type nativeProgram struct {
	device  *nativeDevice
	graph   *graph.Graph
	handle  native.Program
	scratch []int64
}

// explain adds the op to a native error.
func (p *nativeProgram) explain(doing string, err error) error {
	var e *native.Error
	if !errors.As(err, &e) {
		return err
	}
	where := ""
	if i := int(e.Op); i >= 0 && i < len(p.graph.Ops) {
		where = fmt.Sprintf(" op %d %s at %s:", i, p.graph.Ops[i].Kind, p.graph.Ops[i].Scope)
	}
	if e.Code == native.OutOfMemory {
		return p.device.memoryOr(err, strings.TrimSuffix(doing+":"+where, ":"))
	}
	return fmt.Errorf("%s:%s %s", doing, where, e.Text)
}

// Scratch is the workspace of each op in bytes.
func (p *nativeProgram) Scratch() []int64 { return p.scratch }

// Bind places the program in the arena.
func (p *nativeProgram) Bind(a Arena, offsets, scratchOffsets []int64) error {
	arena, ok := a.(*nativeArena)
	if !ok || arena.device != p.device {
		return errors.New("bind: the arena belongs to another device")
	}
	convert := func(in []int64) []uint64 {
		out := make([]uint64, len(in))
		for i, n := range in {
			if out[i] = uint64(n); n < 0 {
				out[i] = native.Nowhere
			}
		}
		return out
	}
	return p.device.do(func() error {
		return p.explain("bind", p.device.backend.Bind(p.handle, arena.handle, convert(offsets), convert(scratchOffsets)))
	})
}

// Write copies src to v.
func (p *nativeProgram) Write(v *graph.Value, src any) error {
	data, err := raw(v, src)
	if err != nil {
		return err
	}
	return p.write(v, 0, data)
}

// WriteAt copies src to the elements of v from first on.
func (p *nativeProgram) WriteAt(v *graph.Value, first int64, src any) error {
	data, err := rawPart(v, first, src)
	if err != nil {
		return err
	}
	return p.write(v, first, data)
}

func (p *nativeProgram) write(v *graph.Value, first int64, data []byte) error {
	return p.device.do(func() error {
		return p.explain("write "+v.Name, p.device.backend.Write(p.handle, uint64(v.ID), uint64(first*v.Type.Bytes()), data))
	})
}

// Read copies v to dst.
func (p *nativeProgram) Read(v *graph.Value, dst any) error {
	data, err := raw(v, dst)
	if err != nil {
		return err
	}
	return p.read(v, 0, data)
}

// ReadAt copies the elements of v from first on to dst.
func (p *nativeProgram) ReadAt(v *graph.Value, first int64, dst any) error {
	data, err := rawPart(v, first, dst)
	if err != nil {
		return err
	}
	return p.read(v, first, data)
}

func (p *nativeProgram) read(v *graph.Value, first int64, data []byte) error {
	return p.device.do(func() error {
		return p.explain("read "+v.Name, p.device.backend.Read(p.handle, uint64(v.ID), uint64(first*v.Type.Bytes()), data))
	})
}

// ReadNumbers reads values of one number each, in one call on the thread that owns the device.
func (p *nativeProgram) ReadNumbers(values []*graph.Value, to []float32) error {
	if len(values) != len(to) {
		return fmt.Errorf("read: %d values to %d numbers", len(values), len(to))
	}
	data := make([][]byte, len(values))
	for i, v := range values {
		var err error
		if data[i], err = raw(v, to[i:i+1]); err != nil {
			return err
		}
	}
	return p.device.do(func() error {
		for i, v := range values {
			if err := p.device.backend.Read(p.handle, uint64(v.ID), 0, data[i]); err != nil {
				return p.explain("read "+v.Name, err)
			}
		}
		return nil
	})
}

// Run runs the ops first, ..., last-1 in one call.
func (p *nativeProgram) Run(first, last int) error {
	if first < 0 || last < first {
		return fmt.Errorf("run: ops %d to %d are no range", first, last)
	}
	return p.device.do(func() error {
		return p.explain("run", p.device.backend.Run(p.handle, uint64(first), uint64(last)))
	})
}

// Kernels names the kernel of each op.
func (p *nativeProgram) Kernels() []string {
	names := make([]string, len(p.graph.Ops))
	_ = p.device.do(func() (err error) { // fails for a closed program only: empty names
		for i := range names {
			if names[i], err = p.device.backend.Kernel(p.handle, uint64(i)); err != nil {
				return err
			}
		}
		return nil
	})
	return names
}

// Choices are the chosen kernels as lines of a tuning cache: signature, engine, knobs,
// workspace in bytes and microseconds, separated by tabs; empty where there is no choice.
func (p *nativeProgram) Choices() (lines string, err error) {
	err = p.device.do(func() error {
		lines, err = p.device.backend.Choices(p.handle)
		return p.explain("choices", err)
	})
	return lines, err
}

// Trace returns the seconds spent in each op.
func (p *nativeProgram) Trace(reset bool) []float64 {
	seconds := make([]float64, len(p.graph.Ops))
	// An error means that the program is closed: the seconds are then zeros.
	_ = p.device.do(func() error { return p.device.backend.Trace(p.handle, seconds, reset) })
	return seconds
}

// Close frees the program. A second call does nothing.
func (p *nativeProgram) Close() error {
	return p.device.do(func() error {
		p.device.backend.Free(p.handle)
		p.handle = native.Program{}
		return nil
	})
}

// raw views a slice of the value's element type, with all its elements, as bytes.
func raw(v *graph.Value, data any) ([]byte, error) {
	b, err := typed(v, data)
	if err == nil && int64(len(b)) != v.Bytes() {
		return nil, fmt.Errorf("%s: %d bytes of %s: must be %d", v.Name, len(b), v.Type, v.Bytes())
	}
	return b, err
}

// rawPart views a slice of the value's element type, with its elements from first on, as bytes.
func rawPart(v *graph.Value, first int64, data any) ([]byte, error) {
	b, err := typed(v, data)
	if err != nil {
		return nil, err
	}
	if n, all := int64(len(b))/v.Type.Bytes(), v.Shape.Elements(); first < 0 || first > all || n > all-first {
		return nil, fmt.Errorf("%s: %d elements from %d on: must be within its %d", v.Name, n, first, all)
	}
	return b, nil
}

// typed views a slice of the value's element type as bytes.
func typed(v *graph.Value, data any) ([]byte, error) {
	var b []byte
	var t graph.ElementType
	switch d := data.(type) {
	case []float32:
		b, t = view(d), graph.TypeF32
	case []int32:
		b, t = view(d), graph.TypeS32
	case []byte:
		b, t = d, graph.TypeU8
	case []uint16:
		b, t = view(d), graph.TypeBF16
	default:
		return nil, fmt.Errorf("%s: %T: must be []float32, []int32, []byte or []uint16", v.Name, data)
	}
	if t != v.Type {
		return nil, fmt.Errorf("%s: elements of %s: must be %s", v.Name, t, v.Type)
	}
	return b, nil
}

func view[T float32 | int32 | uint16](d []T) []byte {
	var element T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(d))), int(unsafe.Sizeof(element))*len(d))
}

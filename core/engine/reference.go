package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/reference"
)

// referenceDevice runs programs in float64 with plain loops (core/reference):
// slow, and what tests compare every other backend with.
type referenceDevice struct{}

func openReference(Options) (Device, error) { return referenceDevice{}, nil }

// Name is "reference".
func (referenceDevice) Name() string { return "reference" }

// Facts say that one thread computes.
func (referenceDevice) Facts() map[string]string { return map[string]string{"threads": "1"} }

// Close does nothing.
func (referenceDevice) Close() error { return nil }

// Prepare accepts every graph.
func (referenceDevice) Prepare(g *graph.Graph) (Program, error) {
	return &referenceProgram{graph: g}, nil
}

// NewArena holds the persistent values in float64; transient ones lie in the
// programs.
func (referenceDevice) NewArena(bytes int64) (Arena, error) {
	return &referenceArena{bytes: bytes, persistent: map[int64][]float64{}}, nil
}

// referenceArena is what programs of one model share: persistent values by
// offset, so that no rounding to f32 happens between steps.
type referenceArena struct {
	bytes      int64
	persistent map[int64][]float64
}

// Bytes is the size asked for.
func (a *referenceArena) Bytes() int64 { return a.bytes }

// Fill fails: values are not bytes here.
func (a *referenceArena) Fill(byte) error {
	return errors.New("the reference backend has no bytes to fill")
}

// ReadAt fails: values are not bytes here.
func (a *referenceArena) ReadAt([]byte, int64) error {
	return errors.New("the reference backend has no bytes to read")
}

// Close does nothing.
func (a *referenceArena) Close() error { return nil }

type referenceProgram struct {
	graph   *graph.Graph
	machine *reference.Machine
	arena   *referenceArena
	offsets []int64
}

// Scratch is zero for every op.
func (p *referenceProgram) Scratch() []int64 { return make([]int64, len(p.graph.Ops)) }

// Kernels are plain loops.
func (p *referenceProgram) Kernels() []string {
	return slices.Repeat([]string{"plain"}, len(p.graph.Ops))
}

// Bind allocates the values.
func (p *referenceProgram) Bind(a Arena, offsets, _ []int64) error {
	arena, ok := a.(*referenceArena)
	if !ok {
		return errors.New("bind: the arena belongs to another device")
	}
	if len(offsets) != len(p.graph.Values) {
		return fmt.Errorf("bind: %d offsets for %d values", len(offsets), len(p.graph.Values))
	}
	p.arena, p.offsets, p.machine = arena, offsets, reference.New(p.graph)
	return nil
}

func (p *referenceProgram) bound() error {
	if p.machine == nil {
		return errors.New("the program is not bound to an arena")
	}
	return nil
}

// Write copies src to v.
func (p *referenceProgram) Write(v *graph.Value, src any) error {
	if err := p.bound(); err != nil {
		return err
	}
	if _, err := raw(v, src); err != nil {
		return err
	}
	p.put(v, 0, src)
	return nil
}

// WriteAt copies src to the elements of v from first on.
func (p *referenceProgram) WriteAt(v *graph.Value, first int64, src any) error {
	if err := p.bound(); err != nil {
		return err
	}
	if _, err := rawPart(v, first, src); err != nil {
		return err
	}
	p.put(v, first, src)
	return nil
}

func (p *referenceProgram) put(v *graph.Value, first int64, src any) {
	content := p.machine.Get(v)
	if v.Category.Persistent() {
		shared := p.arena.persistent[p.offsets[v.ID]]
		if shared == nil {
			shared = make([]float64, len(content))
			p.arena.persistent[p.offsets[v.ID]] = shared
		}
		content = shared
	}
	switch s := src.(type) {
	case []float32:
		widen(content[first:], s)
	case []int32:
		widen(content[first:], s)
	case []byte:
		widen(content[first:], s)
	case []uint16:
		for i, bits := range s {
			content[first+int64(i)] = float64(graph.FromBF16(bits))
		}
	}
}

// Read copies v to dst, rounded to its type.
func (p *referenceProgram) Read(v *graph.Value, dst any) error {
	if err := p.bound(); err != nil {
		return err
	}
	if _, err := raw(v, dst); err != nil {
		return err
	}
	p.get(v, 0, dst)
	return nil
}

// ReadAt copies the elements of v from first on to dst, rounded to its type.
func (p *referenceProgram) ReadAt(v *graph.Value, first int64, dst any) error {
	if err := p.bound(); err != nil {
		return err
	}
	if _, err := rawPart(v, first, dst); err != nil {
		return err
	}
	p.get(v, first, dst)
	return nil
}

func (p *referenceProgram) get(v *graph.Value, first int64, dst any) {
	content := p.machine.Get(v)
	if shared := p.arena.persistent[p.offsets[v.ID]]; v.Category.Persistent() && shared != nil {
		content = shared
	}
	switch d := dst.(type) {
	case []float32:
		narrow(d, content[first:])
	case []int32:
		narrow(d, content[first:])
	case []byte:
		narrow(d, content[first:])
	case []uint16:
		for i, x := range content[first : first+int64(len(d))] {
			d[i] = graph.BF16(float32(x))
		}
	}
}

// Run runs the ops first, ..., last-1.
func (p *referenceProgram) Run(first, last int) error {
	if err := p.bound(); err != nil {
		return err
	}
	for _, v := range p.graph.Values {
		if content := p.arena.persistent[p.offsets[v.ID]]; v.Category.Persistent() && content != nil {
			p.machine.Set(v, content)
		}
	}
	if err := p.machine.Run(first, last); err != nil {
		return err
	}
	for _, v := range p.graph.Values {
		if v.Category.Persistent() {
			p.arena.persistent[p.offsets[v.ID]] = append([]float64(nil), p.machine.Get(v)...)
		}
	}
	return nil
}

// Trace is zero: the reference is not timed.
func (p *referenceProgram) Trace(bool) []float64 { return make([]float64, len(p.graph.Ops)) }

// Close forgets the values.
func (p *referenceProgram) Close() error { p.machine = nil; return nil }

func widen[T float32 | int32 | byte](dst []float64, src []T) {
	for i, x := range src {
		dst[i] = float64(x)
	}
}

func narrow[T float32 | int32 | byte](dst []T, src []float64) {
	for i := range dst {
		dst[i] = T(src[i])
	}
}

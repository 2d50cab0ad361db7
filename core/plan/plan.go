// Package plan turns a step program into a memory layout and a memory profile,
// before a byte is allocated: graph in, offsets and figures out.
//
// Every value, and every kernel's scratch memory, gets an offset in one arena.
// Parameters, running statistics and optimizer state lie first and stay from
// step to step; behind them lies the transient arena, where a byte serves one
// storage after the other. From the same lifetimes come the lower bound that no
// layout can beat, the planned peak and the bytes alive at each op.
//
// Opinions:
//   - A plan is a pure function of its input: no clock, no chance, no search
//     that ends when time is up. The same program has the same layout on every
//     machine, so a change of one byte is a change of the program.
//   - Every byte has one category, one scope and one local module.
//   - The planner does not check itself: Layout.Check shares no code with it.
//
// The placement is the greedy best fit over lifetimes of the mobile inference
// engines (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
// Inference", 2020), tried in several orders, and repaired where it sticks out.
package plan

import (
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// DefaultAlignment is the alignment of offsets in bytes: a cache line.
const DefaultAlignment = 64

// Options are the constants of a layout. The zero value is a layout of its own
// with the default alignment.
type Options struct {
	// Alignment divides every offset: a power of two; 0 means DefaultAlignment.
	Alignment int64
	// Scatter gives every storage bytes of its own, as far as memory is not saved: for
	// devices that make each place an allocation, under tools that watch allocations.
	Scatter bool
	// Persistent, if not nil, fixes where the persistent values lie, by name:
	// what Layout.Persistent returns for another program of the same model. So
	// training, evaluation and the last, smaller batch share weights in one arena.
	Persistent map[string]Placement
	// Enough ends the search for a smaller layout once the arena has at most this many bytes: those of the arena that the
	// program will share with a larger one. 0: the smallest that the search finds.
	Enough int64
}

// Placement is where a persistent value lies.
type Placement struct{ Offset, Bytes int64 }

// Layout says where everything lies. Offsets and sizes are in bytes; offsets
// count from the start of the arena.
type Layout struct {
	// Offset is the place of each value, by value id. A value that shares
	// storage has the offset of the value it shares. One that no op makes or
	// reads has no storage: -1.
	Offset []int64
	// ScratchOffset is the place of each op's scratch memory, by op; 0 where the
	// op needs none.
	ScratchOffset []int64
	Alignment     int64

	PersistentBytes int64 // the first region: [0, PersistentBytes)
	TransientBytes  int64 // the region behind it
	// PeakBytes is the planned peak: the largest exact sum alive at any op. Of a program
	// of several lanes it is the largest sum of values that need a place of their own
	// each, whatever the order in which the lanes run.
	PeakBytes int64
	// LowerBoundBytes is what no layout of this alignment can go below: the
	// persistent region and the same sum of rounded sizes of storages.
	LowerBoundBytes int64
	// ReservedBytes lie in the persistent region for another program only:
	// optimizer state, as an evaluation sees it. No part of the peak.
	ReservedBytes int64

	persistent map[string]Placement
}

// ArenaBytes is what has to be allocated.
func (l *Layout) ArenaBytes() int64 { return l.PersistentBytes + l.TransientBytes }

// FragmentationBytes is the part of the arena that is never in use at the peak:
// gaps between storages and the rounding of their sizes.
func (l *Layout) FragmentationBytes() int64 {
	return l.ArenaBytes() - l.ReservedBytes - l.PeakBytes
}

// Persistent returns the places of the persistent values, by name, for the
// Options of another program of the same model.
func (l *Layout) Persistent() map[string]Placement { return maps.Clone(l.persistent) }

// New plans a program that graph.Verify accepts. Scratch is the scratch memory of
// each op in bytes, nil if no op needs any.
func New(g *graph.Graph, scratch []int64, o Options) (*Layout, error) {
	if o.Alignment == 0 {
		o.Alignment = DefaultAlignment
	}
	if o.Alignment < 0 || bits.OnesCount64(uint64(o.Alignment)) != 1 {
		return nil, fmt.Errorf("plan: alignment %d is not a power of two", o.Alignment)
	}
	if err := checkScratch(g, scratch); err != nil {
		return nil, err
	}
	if err := checkSum(g, scratch, o.Alignment); err != nil {
		return nil, err
	}
	l := &Layout{Alignment: o.Alignment, Offset: make([]int64, len(g.Values)), ScratchOffset: make([]int64, len(g.Ops))}
	if err := l.placePersistent(g, o.Persistent); err != nil {
		return nil, err
	}
	l.placeTransient(g, scratch, o)
	return l, nil
}

// placePersistent lays the persistent values one behind the other, by category
// and then in program order, or where fixed says.
func (l *Layout) placePersistent(g *graph.Graph, fixed map[string]Placement) error {
	l.persistent = maps.Clone(fixed)
	for _, p := range fixed {
		l.PersistentBytes = max(l.PersistentBytes, roundUp(p.Offset+p.Bytes, l.Alignment))
		l.ReservedBytes += p.Bytes
	}
	if fixed == nil {
		l.persistent = map[string]Placement{}
	}
	for _, v := range persistentValues(g) {
		p := Placement{l.PersistentBytes, v.Bytes()}
		if fixed != nil {
			var ok bool
			if p, ok = fixed[v.Name]; !ok {
				return fmt.Errorf("plan: %s: the given persistent layout has no place for this %s value", v.Name, v.Category)
			}
			if v.Bytes() > p.Bytes || p.Offset < 0 || p.Offset%l.Alignment != 0 {
				return fmt.Errorf("plan: %s: got %d bytes at offset %d of the given persistent layout, want %d bytes at a multiple of %d", v.Name, p.Bytes, p.Offset, v.Bytes(), l.Alignment)
			}
			l.ReservedBytes -= v.Bytes()
		} else {
			l.persistent[v.Name] = p
			l.PersistentBytes += roundUp(v.Bytes(), l.Alignment)
		}
		l.Offset[v.ID] = p.Offset
		l.PeakBytes += v.Bytes()
	}
	return nil
}

// placeTransient packs everything else behind the persistent region.
func (l *Layout) placeTransient(g *graph.Graph, scratch []int64, o Options) {
	scatter, enough := o.Scatter, o.Enough-l.PersistentBytes
	occupied := occupancies(g, scratch)
	storages := lifetimes(occupied, l.Alignment)
	var offsets []int64
	if g.Streams() > 1 {
		all := lives(g, occupied)
		_, peak := together(g, all, exactBytes(occupied))
		_, bound := together(g, all, roundedBytes(storages))
		l.PeakBytes += peak
		l.LowerBoundBytes = l.PersistentBytes + bound
		if !scatter {
			offsets, l.TransientBytes = packLanes(g, storages, all, bound, enough)
		}
	} else {
		loads := loadByOp(opCount(g), storages)
		l.PeakBytes += slices.Max(exactSums(opCount(g), occupied))
		l.LowerBoundBytes = l.PersistentBytes + slices.Max(loads)
		if !scatter {
			offsets, l.TransientBytes = pack(storages, loads, enough)
		}
	}
	if scatter {
		for _, s := range storages {
			offsets = append(offsets, l.TransientBytes)
			l.TransientBytes += s.bytes
		}
	}

	for _, v := range g.Values {
		if !v.Category.Persistent() {
			l.Offset[v.ID] = noOffset
		}
	}
	for _, o := range occupied {
		at := l.PersistentBytes + offsets[o.storage]
		if o.value != nil {
			l.Offset[o.value.ID] = at
		} else {
			l.ScratchOffset[o.op] = at
		}
	}
}

// noOffset is the offset of a value without storage.
const noOffset = -1

// persistentValues lists them by category, then in program order.
func persistentValues(g *graph.Graph) []*graph.Value {
	var all []*graph.Value
	for _, v := range g.Values {
		if v.Category.Persistent() {
			all = append(all, v)
		}
	}
	slices.SortStableFunc(all, func(a, b *graph.Value) int { return int(a.Category) - int(b.Category) })
	return all
}

func checkScratch(g *graph.Graph, scratch []int64) error {
	if scratch != nil && len(scratch) != len(g.Ops) {
		return fmt.Errorf("plan: scratch sizes of %d ops, want %d", len(scratch), len(g.Ops))
	}
	for i, bytes := range scratch {
		if bytes < 0 {
			return fmt.Errorf("plan: op %d %s at %s: scratch of %d bytes", i, g.Ops[i].Kind, g.Ops[i].Scope, bytes)
		}
	}
	return nil
}

// checkSum makes sure that no sum of sizes overflows, whatever is added later.
func checkSum(g *graph.Graph, scratch []int64, alignment int64) error {
	left := int64(math.MaxInt64)
	take := func(bytes int64) bool {
		if bytes > left-alignment {
			return false
		}
		left -= roundUp(bytes, alignment)
		return true
	}
	for _, v := range g.Values {
		if !take(v.Bytes()) {
			return fmt.Errorf("plan: %s: the values sum to more than 2^63 bytes", v.Name)
		}
	}
	for i, bytes := range scratch {
		if !take(bytes) {
			return fmt.Errorf("plan: op %d %s at %s: values and scratch sum to more than 2^63 bytes", i, g.Ops[i].Kind, g.Ops[i].Scope)
		}
	}
	return nil
}

func roundUp(bytes, alignment int64) int64 { return (bytes + alignment - 1) &^ (alignment - 1) }

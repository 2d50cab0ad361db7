// Package plan turns a step program into a memory layout and a memory profile,
// before a byte is allocated: graph in, offsets and figures out.
//
// Every value, and the workspace of every op, gets an offset in one arena. The algorithm:
//
//  1. Persistent values (parameters, running statistics, optimizer state) get fixed offsets, one after the other.
//  2. Lifetimes: a value is alive from the op that writes it to the last that reads it, a workspace during its op.
//  3. Values that alias (in-place results) are joined into storages: one size, one lifetime, one offset.
//  4. Lower bound: the largest sum of sizes that are alive at one op. With several streams the order of the ops is partial:
//     the bound is then a maximum-weight antichain of lifetimes (Dilworth, 1950), found by maximum flow (Dinic, 1970).
//  5. Placement is greedy best fit over lifetimes, the scheme of inference engines (Pisarchyk and Lee, "Efficient Memory
//     Management for Deep Neural Net Inference", 2020): each storage goes into the smallest gap free for its lifetime.
//  6. Gaps come from a free-space index: a segment tree over the ops, or the interference graph with several streams.
//  7. No order of placement is best for all programs: six are tried, by load, lifetime, size, area and start.
//  8. An order is given up when it can't beat the best; the search ends at the bound, or when its budget of work is used.
//  9. What still reaches above the bound is repaired by squeaky wheel optimization (Joslin and Clements, 1999).
//  10. Layout.Check replays the program and proves that no two values overlap; it shares no code with steps 2 to 9.
//
// Finding the best layout is NP-hard (dynamic storage allocation); for the programs of the benchmark the bound is met or
// nearly so. Properties:
//   - A plan is a pure function of its input: no clock, no random numbers, no search limited by time. The same program has
//     the same layout on every machine, so a change of one byte is a change of the program.
//   - Every byte has one category, one scope and one local module.
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

// Options are the constants of a layout. The zero value is a layout that shares nothing with another program's,
// with the default alignment.
type Options struct {
	// Alignment divides every offset: a power of two; 0 means DefaultAlignment.
	Alignment int64
	// Scatter reuses no bytes: every storage has its own. For devices that make each storage a separate allocation, under
	// tools that check allocations.
	Scatter bool
	// Persistent, if not nil, fixes the offsets of the persistent values, by name: the result of
	// Layout.Persistent for another program of the same model. So
	// training, evaluation and the last, smaller batch share weights in one arena.
	Persistent map[string]Placement
	// Enough ends the search for a smaller layout once the arena has at most this many bytes: those of the arena that the
	// program will share with a larger one. 0: the smallest that the search finds.
	Enough int64
}

// Placement is the offset and the size of a persistent value.
type Placement struct{ Offset, Bytes int64 }

// Layout is the offset of everything in the arena. Offsets and sizes are in bytes; offsets
// count from the start of the arena.
type Layout struct {
	// Offset is by value id. A value that aliases another has the offset of that one. A value that no op writes or
	// reads has no storage: -1.
	Offset []int64
	// WorkspaceOffset is the offset of each op's workspace, by op; 0 where the op needs none.
	WorkspaceOffset []int64
	Alignment       int64

	PersistentBytes int64 // the first region: [0, PersistentBytes)
	TransientBytes  int64 // the region after it
	// PeakBytes is the planned peak: the largest sum of exact sizes that are alive at one op. For a program
	// of several streams it is the weight of the heaviest antichain of lifetimes: the largest sum that can be alive at the
	// same time in any order in which the streams may run.
	PeakBytes int64
	// LowerBoundBytes is the size below which no layout of this alignment exists: the
	// persistent region and the same sum over the rounded sizes of storages.
	LowerBoundBytes int64
	// ReservedBytes are the part of the persistent region that only another program uses:
	// optimizer state, in an evaluation. They are not part of the peak.
	ReservedBytes int64

	persistent map[string]Placement
}

// ArenaBytes is the size of the allocation: both regions.
func (l *Layout) ArenaBytes() int64 { return l.PersistentBytes + l.TransientBytes }

// FragmentationBytes is the part of the arena that is never in use at the peak:
// gaps between storages and the rounding of their sizes.
func (l *Layout) FragmentationBytes() int64 {
	return l.ArenaBytes() - l.ReservedBytes - l.PeakBytes
}

// Persistent returns the offsets of the persistent values, by name, for the
// Options of another program of the same model.
func (l *Layout) Persistent() map[string]Placement { return maps.Clone(l.persistent) }

// New plans a program that graph.Verify accepts. Workspaces are the sizes in bytes of the workspace of
// each op; nil if no op needs any.
func New(g *graph.Graph, workspaces []int64, o Options) (*Layout, error) {
	if o.Alignment == 0 {
		o.Alignment = DefaultAlignment
	}
	if o.Alignment < 0 || bits.OnesCount64(uint64(o.Alignment)) != 1 {
		return nil, fmt.Errorf("plan: alignment %d is not a power of two", o.Alignment)
	}
	if err := checkWorkspaces(g, workspaces); err != nil {
		return nil, err
	}
	if err := checkSum(g, workspaces, o.Alignment); err != nil {
		return nil, err
	}
	l := &Layout{Alignment: o.Alignment, Offset: make([]int64, len(g.Values)), WorkspaceOffset: make([]int64, len(g.Ops))}
	if err := l.placePersistent(g, o.Persistent); err != nil {
		return nil, err
	}
	l.placeTransient(g, workspaces, o)
	return l, nil
}

// placePersistent gives persistent values their offsets, one after the other, by category
// and then in program order, or as fixed says.
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
				return fmt.Errorf("plan: %s: the given persistent layout has no offset for this %s value", v.Name, v.Category)
			}
			if v.Bytes() > p.Bytes || p.Offset < 0 || p.Offset%l.Alignment != 0 {
				return fmt.Errorf("plan: %s: %d bytes at offset %d of the persistent layout: must be at least %d bytes at a multiple of %d",
					v.Name, p.Bytes, p.Offset, v.Bytes(), l.Alignment)
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

// placeTransient packs everything else after the persistent region.
func (l *Layout) placeTransient(g *graph.Graph, workspaces []int64, o Options) {
	scatter, enough := o.Scatter, o.Enough-l.PersistentBytes
	occupied := occupancies(g, workspaces)
	storages := storagesOf(occupied, l.Alignment)
	var offsets []int64
	if g.Streams() > 1 {
		all := lifetimesOf(g, occupied)
		_, peak := heaviestAntichain(g, all, exactBytes(occupied))
		_, bound := heaviestAntichain(g, all, roundedBytes(storages))
		l.PeakBytes += peak
		l.LowerBoundBytes = l.PersistentBytes + bound
		if !scatter {
			offsets, l.TransientBytes = packStreams(g, storages, all, bound, enough)
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
			l.WorkspaceOffset[o.op] = at
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

func checkWorkspaces(g *graph.Graph, workspaces []int64) error {
	if workspaces != nil && len(workspaces) != len(g.Ops) {
		return fmt.Errorf("plan: workspace sizes of %d ops for a program of %d", len(workspaces), len(g.Ops))
	}
	for i, bytes := range workspaces {
		if bytes < 0 {
			return fmt.Errorf("plan: op %d %s at %s: workspace of %d bytes: must not be negative", i, g.Ops[i].Kind, g.Ops[i].Scope, bytes)
		}
	}
	return nil
}

// checkSum makes sure that no sum of sizes overflows an int64.
func checkSum(g *graph.Graph, workspaces []int64, alignment int64) error {
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
	for i, bytes := range workspaces {
		if !take(bytes) {
			return fmt.Errorf("plan: op %d %s at %s: values and workspaces sum to more than 2^63 bytes", i, g.Ops[i].Kind, g.Ops[i].Scope)
		}
	}
	return nil
}

func roundUp(bytes, alignment int64) int64 { return (bytes + alignment - 1) &^ (alignment - 1) }

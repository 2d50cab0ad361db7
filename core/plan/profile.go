package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// CategoryCount is the number of categories, the length of a Sample.
const CategoryCount = int(graph.CategoryInput) + 1

// Sample is the bytes alive at one op, by category.
type Sample [CategoryCount]int64

// Total is the sum over the categories.
func (s Sample) Total() (sum int64) {
	for _, bytes := range s {
		sum += bytes
	}
	return sum
}

// Profile is the memory of one program: exact, known before a byte is
// allocated. Bytes are the exact sizes of values and workspace; rounding
// and gaps are fragmentation.
type Profile struct {
	// PlannedPeakBytes is the largest sum alive at any op, and PeakOp that op. For a
	// program of several streams it is Layout.PeakBytes, and PeakOp the op that writes the last
	// of the values alive.
	PlannedPeakBytes int64
	PeakOp           OpPlace

	// What is alive at the peak. All but Top sum to PlannedPeakBytes.
	ByCategory Sample
	ByModule   []ModuleBytes // by module, from graph.NoModule on
	ByScope    []ScopeBytes  // the largest first
	Alive      []ValueBytes  // the largest first
	Top        []ValueBytes  // the ten largest of Alive

	// ByPhase is the largest sum alive at any op of a phase, by graph.Phase; the largest of
	// them is PlannedPeakBytes.
	ByPhase map[graph.Phase]int64

	// Timeline is the bytes alive at each op; one sample for a program without
	// ops. Several streams are shown in program order, one of the orders in which they
	// may run: at the same time they may need more, up to the peak.
	Timeline []Sample

	// Of the layout. ArenaBytes is the sum of PlannedPeakBytes, ReservedBytes and
	// FragmentationBytes.
	ArenaBytes         int64
	LowerBoundBytes    int64
	ReservedBytes      int64 // persistent values of another program in the same arena
	FragmentationBytes int64
}

// OpPlace is the position of an op in the program.
type OpPlace struct {
	Index  int // position in Graph.Ops
	Kind   graph.Kind
	Scope  string
	Module int
	Phase  graph.Phase
}

// String prints kind, scope, phase and index: "conv at module0/layer1.0/conv1
// (forward, op 12)".
func (p OpPlace) String() string {
	if p.Kind == graph.KindNone {
		return "before the first op"
	}
	return fmt.Sprintf("%s at %s (%s, op %d)", p.Kind, p.Scope, p.Phase, p.Index)
}

// ModuleBytes is the share of a local module; that of graph.NoModule are the inputs.
type ModuleBytes struct {
	Module int
	Bytes  int64
}

// ScopeBytes is the share of a scope.
type ScopeBytes struct {
	Scope string
	Bytes int64
}

// ValueBytes is one value, or the workspace of one op.
type ValueBytes struct {
	Name     string
	Scope    string
	Category graph.Category
	Module   int
	Bytes    int64
}

// topCount is the length of Profile.Top.
const topCount = 10

// Measure returns the profile of a program with the layout l. Workspaces are those that
// New was given.
func Measure(g *graph.Graph, workspaces []int64, l *Layout) *Profile {
	p := &Profile{
		PlannedPeakBytes:   l.PeakBytes,
		ArenaBytes:         l.ArenaBytes(),
		LowerBoundBytes:    l.LowerBoundBytes,
		ReservedBytes:      l.ReservedBytes,
		FragmentationBytes: l.FragmentationBytes(),
		ByPhase:            map[graph.Phase]int64{},
	}
	var persistent []occupancy
	for _, v := range persistentValues(g) {
		persistent = append(persistent, occupancy{value: v, bytes: v.Bytes(), to: opCount(g) - 1})
	}
	transient := occupancies(g, workspaces)
	occupied := append(slices.Clone(transient), persistent...)
	p.Timeline = timeline(g, occupied)
	peak := 0
	for i, op := range g.Ops {
		p.ByPhase[op.Phase] = max(p.ByPhase[op.Phase], p.Timeline[i].Total())
	}
	for i, s := range p.Timeline {
		if s.Total() > p.Timeline[peak].Total() {
			peak = i
		}
	}
	alive := aliveAt(peak, occupied)
	if g.Streams() > 1 {
		alive, peak = aliveInStreams(g, transient)
		alive = append(alive, persistent...)
	}
	for _, o := range alive {
		p.ByCategory[o.category()] += o.bytes
	}
	if peak < len(g.Ops) {
		op := g.Ops[peak]
		p.PeakOp = OpPlace{peak, op.Kind, op.Scope, op.Module, op.Phase}
	}
	p.attribute(owners(g, alive))
	return p
}

// timeline sums, op by op, what is alive by category.
func timeline(g *graph.Graph, occupied []occupancy) []Sample {
	samples := make([]Sample, opCount(g)+1)
	for _, o := range occupied {
		c := o.category()
		samples[o.from][c] += o.bytes
		samples[o.to+1][c] -= o.bytes
	}
	samples = samples[:opCount(g)]
	for i := 1; i < len(samples); i++ {
		for c := range samples[i] {
			samples[i][c] += samples[i-1][c]
		}
	}
	return samples
}

func (o occupancy) category() graph.Category {
	if o.value == nil {
		return graph.CategoryWorkspace
	}
	return o.value.Category
}

// owner returns the value or workspace that has these bytes.
func (o occupancy) owner(g *graph.Graph) ValueBytes {
	if v := o.value; v != nil {
		return ValueBytes{v.Name, v.Scope, v.Category, v.Module, o.bytes}
	}
	op := g.Ops[o.op]
	return ValueBytes{op.Scope + ":workspace", op.Scope, o.category(), op.Module, o.bytes}
}

// aliveAt lists what is alive at op.
func aliveAt(op int, occupied []occupancy) []occupancy {
	var alive []occupancy
	for _, o := range occupied {
		if o.from <= op && op <= o.to {
			alive = append(alive, o)
		}
	}
	return alive
}

// aliveInStreams lists what is alive at the peak of several streams, and the last op that
// writes any of it. Of values that alias one storage it lists the one that has the bytes at that op in program order.
func aliveInStreams(g *graph.Graph, occupied []occupancy) (alive []occupancy, peak int) {
	all := lifetimesOf(g, occupied)
	antichain, _ := heaviestAntichain(g, all, exactBytes(occupied))
	at := map[int]int{} // by storage: position in alive
	for i, s := range antichain {
		at[s], peak = i, max(peak, all[s].begin)
	}
	alive = make([]occupancy, len(antichain))
	for _, o := range occupied {
		if i, ok := at[o.storage]; ok && (o.from <= peak || alive[i].bytes == 0) {
			alive[i] = o
		}
	}
	return alive, peak
}

// owners lists the values and workspaces that have these bytes, the largest first.
func owners(g *graph.Graph, occupied []occupancy) []ValueBytes {
	var all []ValueBytes
	for _, o := range occupied {
		all = append(all, o.owner(g))
	}
	slices.SortStableFunc(all, func(a, b ValueBytes) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return all
}

// attribute sums what is alive at the peak by module and by scope.
func (p *Profile) attribute(alive []ValueBytes) {
	modules, scopes := map[int]int64{}, map[string]int64{}
	for _, v := range alive {
		modules[v.Module] += v.Bytes
		scopes[v.Scope] += v.Bytes
	}
	for m, bytes := range modules {
		p.ByModule = append(p.ByModule, ModuleBytes{m, bytes})
	}
	slices.SortFunc(p.ByModule, func(a, b ModuleBytes) int { return cmp.Compare(a.Module, b.Module) })
	for s, bytes := range scopes {
		p.ByScope = append(p.ByScope, ScopeBytes{s, bytes})
	}
	slices.SortFunc(p.ByScope, func(a, b ScopeBytes) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Scope, b.Scope))
	})
	p.Alive, p.Top = alive, alive[:min(topCount, len(alive))]
}

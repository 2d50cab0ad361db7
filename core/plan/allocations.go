package plan

import (
	"cmp"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// Allocation is a range of bytes of the arena with an owner and a lifetime: a value, or the
// workspace of one op.
type Allocation struct {
	ValueBytes
	Offset   int64 // from the start of the arena
	From, To int   // first and last op of its lifetime; all ops for a persistent value
	// Workspace marks the workspace of an op, which a kernel may leave partly unwritten.
	Workspace bool
}

// Allocations lists everything that the layout places, persistent values first, then
// by first op and offset.
func Allocations(g *graph.Graph, workspaces []int64, l *Layout) []Allocation {
	var all []Allocation
	for _, v := range persistentValues(g) {
		all = append(all, Allocation{ValueBytes: occupancy{value: v, bytes: v.Bytes()}.owner(g), Offset: l.Offset[v.ID],
			To: opCount(g) - 1})
	}
	persistent := len(all)
	for _, o := range occupancies(g, workspaces) {
		a := Allocation{ValueBytes: o.owner(g), From: o.from, To: o.to, Workspace: o.value == nil}
		if o.value != nil {
			a.Offset = l.Offset[o.value.ID]
		} else {
			a.Offset = l.WorkspaceOffset[o.op]
		}
		all = append(all, a)
	}
	slices.SortStableFunc(all[persistent:], func(a, b Allocation) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Offset, b.Offset))
	})
	return all
}

// line is the unit in which Cover looks for writes: a cache line, the
// alignment of every offset.
const line = DefaultAlignment

// Coverage compares the part of the arena that a step wrote with the plan. Sizes are
// bytes, in whole lines of 64.
type Coverage struct {
	TouchedBytes   int64 // lines that changed
	PlannedBytes   int64 // lines that are planned for some value
	StrayBytes     int64 // lines that changed and are planned for nothing: a kernel wrote out of bounds
	UntouchedBytes int64 // lines of values that did not change
	// The end of the last line that changed, of the last value, and of the last value or workspace.
	HighWaterBytes, ValueHighWaterBytes, PlannedHighWaterBytes int64
}

// Cover reads an arena that was filled with a pattern before a step ran in it. Workspaces
// may be written and need not be.
func Cover(
	allocations []Allocation, arenaBytes int64, pattern byte, read func(to []byte, offset int64) error,
) (c Coverage, err error) {
	lines := (arenaBytes + line - 1) / line
	const nothing, workspace, value = 0, 1, 2
	planned := make([]byte, lines)
	for _, a := range allocations {
		mark := byte(value)
		if a.Workspace {
			mark = workspace
		}
		if a.Bytes == 0 || a.Offset < 0 {
			continue
		}
		for i := a.Offset / line; i <= (a.Offset+a.Bytes-1)/line; i++ {
			planned[i] = max(planned[i], mark)
		}
		end := (a.Offset+a.Bytes-1)/line*line + line
		c.PlannedHighWaterBytes = max(c.PlannedHighWaterBytes, end)
		if !a.Workspace {
			c.ValueHighWaterBytes = max(c.ValueHighWaterBytes, end)
		}
	}
	buffer := make([]byte, 1<<20)
	for at := int64(0); at < arenaBytes; at += int64(len(buffer)) {
		part := buffer[:min(int64(len(buffer)), arenaBytes-at)]
		if err := read(part, at); err != nil {
			return c, err
		}
		for i := 0; i < len(part); i += line {
			changed := slices.ContainsFunc(part[i:min(i+line, len(part))], func(b byte) bool { return b != pattern })
			n := (at + int64(i)) / line
			switch {
			case changed && planned[n] == nothing:
				c.StrayBytes += line
			case !changed && planned[n] == value:
				c.UntouchedBytes += line
			}
			if changed {
				c.TouchedBytes += line
				c.HighWaterBytes = (n + 1) * line
			}
			if planned[n] == value {
				c.PlannedBytes += line
			}
		}
	}
	return c, nil
}

package plan

import (
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// occupancy is the time in which one value, or the workspace of one op, has its bytes: from op from to op to, both included.
// Values that alias one storage, one after the other, are a chain of occupancies without a gap.
type occupancy struct {
	value    *graph.Value // nil: workspace of op
	op       int          // the op that writes the value; -1: an input
	storage  int          // which storage the bytes are in, counted from 0
	bytes    int64
	from, to int
}

// storage is a block of bytes with one offset, and its lifetime: first and last op.
type storage struct {
	bytes      int64
	start, end int
}

// opCount is the number of points in time: one for each op, and one for a program
// without ops, whose inputs are alive nevertheless.
func opCount(g *graph.Graph) int { return max(len(g.Ops), 1) }

// occupancies lists, in program order, which bytes are occupied when. Inputs have them from
// before op 0 to their last use, outputs to the end, the workspace of an op during that
// op, and a value whose storage another value reuses in place until the op that writes that one.
// Persistent values are not listed: their bytes are occupied always.
func occupancies(g *graph.Graph, workspaces []int64) []occupancy {
	last, aliased := g.LastUse(), aliasedAt(g)
	storageOf := make([]int, len(g.Values))
	var all []occupancy
	storages := 0
	add := func(o occupancy) {
		if v := o.value; v == nil || v.Shares == nil {
			o.storage = storages
			storages++
		} else {
			o.storage = storageOf[v.Shares.ID]
		}
		if v := o.value; v != nil {
			storageOf[v.ID] = o.storage
			o.bytes = v.Bytes()
			// LastUse of an output is the end of the step, after the last op.
			if o.to = min(last[v.ID], opCount(g)-1); aliased[v.ID] >= 0 {
				o.to = aliased[v.ID] - 1
			}
		}
		all = append(all, o)
	}
	for _, v := range g.Inputs {
		add(occupancy{value: v, op: -1})
	}
	for i, op := range g.Ops {
		for _, v := range op.Results {
			if !v.Category.Persistent() {
				add(occupancy{value: v, op: i, from: i})
			}
		}
		if workspaces != nil && workspaces[i] > 0 {
			add(occupancy{op: i, bytes: workspaces[i], from: i, to: i})
		}
	}
	return all
}

// aliasedAt returns, by value id, the op whose result overwrites the value in place; -1 if there is no such op.
func aliasedAt(g *graph.Graph) []int {
	at := slices.Repeat([]int{-1}, len(g.Values))
	for i, op := range g.Ops {
		for _, v := range op.Results {
			if v.Shares != nil {
				at[v.Shares.ID] = i
			}
		}
	}
	return at
}

// storagesOf joins the occupancies of each storage. Sizes are rounded up.
func storagesOf(occupied []occupancy, alignment int64) []storage {
	var all []storage
	for _, o := range occupied {
		bytes := roundUp(o.bytes, alignment)
		if o.storage == len(all) {
			all = append(all, storage{bytes, o.from, o.to})
			continue
		}
		s := &all[o.storage]
		s.bytes, s.end = max(s.bytes, bytes), o.to
	}
	return all
}

// exactBytes lists the sizes of the storages, not rounded: the values of a storage have the same size.
func exactBytes(occupied []occupancy) []int64 {
	var sizes []int64
	for _, o := range occupied {
		if o.storage == len(sizes) {
			sizes = append(sizes, o.bytes)
		}
		sizes[o.storage] = max(sizes[o.storage], o.bytes)
	}
	return sizes
}

// roundedBytes lists the sizes of the storages, rounded up to the alignment.
func roundedBytes(storages []storage) []int64 {
	sizes := make([]int64, len(storages))
	for i, s := range storages {
		sizes[i] = s.bytes
	}
	return sizes
}

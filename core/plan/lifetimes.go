package plan

import "github.com/localbench/localbench/core/graph"

// occupancy says that one value, or the scratch memory of one op, has its bytes
// from op from to op to, both included. A storage that values take over one
// after the other is a chain of occupancies without a gap.
type occupancy struct {
	value    *graph.Value // nil: scratch memory of op
	op       int          // the op that makes the value; -1: an input
	storage  int          // which storage the bytes lie in, counted from 0
	bytes    int64
	from, to int
}

// storage is bytes that have one place, and their lifetime: first and last op.
type storage struct {
	bytes      int64
	start, end int
}

// opCount is the number of points in time: one an op, and one for a program
// without ops, whose inputs are alive all the same.
func opCount(g *graph.Graph) int { return max(len(g.Ops), 1) }

// occupancies lists who has bytes when, in program order. Inputs have them from
// before op 0 to their last use, outputs to the end, scratch memory during its
// op, and a value whose storage is taken over until the op that does so.
// Persistent values, which are there always, are not listed.
func occupancies(g *graph.Graph, scratch []int64) []occupancy {
	last, taken := g.LastUse(), takenOver(g)
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
			// Outputs are used by the end, which the last op is part of.
			if o.to = min(last[v.ID], opCount(g)-1); taken[v.ID] >= 0 {
				o.to = taken[v.ID] - 1
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
		if scratch != nil && scratch[i] > 0 {
			add(occupancy{op: i, bytes: scratch[i], from: i, to: i})
		}
	}
	return all
}

// takenOver returns, by value id, the op at which another value takes over the
// storage; -1 for most.
func takenOver(g *graph.Graph) []int {
	taken := make([]int, len(g.Values))
	for i := range taken {
		taken[i] = -1
	}
	for i, op := range g.Ops {
		for _, v := range op.Results {
			if v.Shares != nil {
				taken[v.Shares.ID] = i
			}
		}
	}
	return taken
}

// lifetimes joins the occupancies of each storage. Sizes are rounded up.
func lifetimes(occupied []occupancy, alignment int64) []storage {
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

// exactBytes lists the sizes of the storages as their values have them: those of a
// storage are all alike.
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

func roundedBytes(storages []storage) []int64 {
	sizes := make([]int64, len(storages))
	for i, s := range storages {
		sizes[i] = s.bytes
	}
	return sizes
}

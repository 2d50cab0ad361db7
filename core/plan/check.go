package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// Check holds the layout against the program, op by op: it plays the program and
// keeps a list of the bytes in use. It fails if two values that are in use at
// the same op overlap, if one lies outside its region or off the alignment, or
// if a value that takes over storage lies elsewhere than the one it takes over.
// It shares no code with the planner and knows nothing of lifetimes but that a
// value is in use from the op that makes it to the last that reads it. A program of
// several lanes is held against the other orders that it may run in as well.
func (l *Layout) Check(g *graph.Graph, scratch []int64) error {
	if len(l.Offset) != len(g.Values) || len(l.ScratchOffset) != len(g.Ops) {
		return fmt.Errorf("plan: layout of %d values and %d ops, want %d and %d", len(l.Offset), len(l.ScratchOffset), len(g.Values), len(g.Ops))
	}
	c := checker{layout: l, readers: map[*graph.Value]int{}}
	for _, op := range g.Ops {
		for _, v := range op.Operands {
			c.readers[v]++
		}
	}
	for _, v := range g.Outputs {
		c.readers[v]++ // the caller, after the last op
	}
	if err := c.begin(g); err != nil {
		return err
	}
	for i, op := range g.Ops {
		var bytes int64
		if scratch != nil {
			bytes = scratch[i]
		}
		if err := c.step(op, l.ScratchOffset[i], bytes); err != nil {
			return fmt.Errorf("plan: op %d %s at %s: %w", i, op.Kind, op.Scope, err)
		}
	}
	if g.Streams() > 1 {
		return l.checkLanes(g, scratch)
	}
	return nil
}

// checker is the state of the program that is being played.
type checker struct {
	layout  *Layout
	readers map[*graph.Value]int // reads still to come
	used    []piece              // bytes in use, by offset
}

// piece is bytes in use, with a name for error texts.
type piece struct {
	name          string
	offset, bytes int64
}

// begin puts in place what is there before the first op. An input that nobody
// reads has a place only while the inputs are written.
func (c *checker) begin(g *graph.Graph) error {
	for _, v := range g.Values {
		if v.Category.Persistent() {
			c.readers[v]++ // the next step
			if err := c.add(pieceOf(c.layout, v), 0, c.layout.PersistentBytes); err != nil {
				return fmt.Errorf("plan: %w", err)
			}
		}
	}
	for _, v := range g.Inputs {
		if err := c.addTransient(pieceOf(c.layout, v)); err != nil {
			return fmt.Errorf("plan: %w", err)
		}
	}
	c.dropUnread(g.Inputs)
	return nil
}

// step runs one op: results and scratch memory come, what is read for the last
// time goes.
func (c *checker) step(op *graph.Op, scratchOffset, scratchBytes int64) error {
	for _, v := range op.Results {
		if o := v.Shares; o != nil {
			if c.layout.Offset[o.ID] != c.layout.Offset[v.ID] {
				return fmt.Errorf("%s at offset %d takes over %s at %d: want the same offset", v.Name, c.layout.Offset[v.ID], o.Name, c.layout.Offset[o.ID])
			}
			if !c.remove(pieceOf(c.layout, o)) {
				return fmt.Errorf("%s takes over %s, which is not in use", v.Name, o.Name)
			}
		}
		if err := c.addTransient(pieceOf(c.layout, v)); err != nil {
			return err
		}
	}
	if scratchBytes > 0 {
		p := piece{"scratch memory", scratchOffset, scratchBytes}
		if err := c.addTransient(p); err != nil {
			return err
		}
		c.remove(p)
	}
	for _, v := range op.Operands {
		c.readers[v]--
	}
	for _, v := range op.Results {
		if v.Shares != nil && c.readers[v.Shares] > 0 {
			return fmt.Errorf("%s takes over %s, which is read later", v.Name, v.Shares.Name)
		}
	}
	c.dropUnread(op.Operands)
	c.dropUnread(op.Results)
	return nil
}

// dropUnread removes those values that nobody will read.
func (c *checker) dropUnread(values []*graph.Value) {
	for _, v := range values {
		if v != nil && c.readers[v] == 0 {
			c.remove(pieceOf(c.layout, v))
		}
	}
}

func pieceOf(l *Layout, v *graph.Value) piece { return piece{v.Name, l.Offset[v.ID], v.Bytes()} }

func (c *checker) addTransient(p piece) error {
	return c.add(p, c.layout.PersistentBytes, c.layout.PersistentBytes+c.layout.TransientBytes)
}

// add enters p, which must lie in [low, high) and overlap no other piece. The
// pieces are disjoint and in order, so only the neighbours can overlap it.
func (c *checker) add(p piece, low, high int64) error {
	if p.offset < low || p.bytes > high-p.offset {
		return fmt.Errorf("%s: bytes %d to %d lie outside of the region %d to %d", p.name, p.offset, p.offset+p.bytes, low, high)
	}
	if a := c.layout.Alignment; a < 1 || p.offset%a != 0 {
		return fmt.Errorf("%s: offset %d is not a multiple of %d", p.name, p.offset, a)
	}
	at := c.find(p.offset)
	for _, i := range []int{at - 1, at} {
		if i < 0 || i >= len(c.used) {
			continue
		}
		if q := c.used[i]; p.offset < q.offset+q.bytes && q.offset < p.offset+p.bytes {
			return fmt.Errorf("%s in bytes %d to %d overlaps %s in bytes %d to %d", p.name, p.offset, p.offset+p.bytes, q.name, q.offset, q.offset+q.bytes)
		}
	}
	c.used = slices.Insert(c.used, at, p)
	return nil
}

// remove takes p out and reports whether it was there.
func (c *checker) remove(p piece) bool {
	at := c.find(p.offset)
	if at == len(c.used) || c.used[at] != p {
		return false
	}
	c.used = slices.Delete(c.used, at, at+1)
	return true
}

// find returns the first piece at or behind offset.
func (c *checker) find(offset int64) int {
	at, _ := slices.BinarySearchFunc(c.used, offset, func(p piece, offset int64) int { return cmp.Compare(p.offset, offset) })
	return at
}

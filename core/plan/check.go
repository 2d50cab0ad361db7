package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// Check verifies the layout by replaying the program op by op with a list of the bytes in use. It fails if two values that
// are in use at the same op overlap, if one is outside its region or not aligned, or if a value that aliases another has a
// different offset. It shares no code with the planner, and its only notion of a lifetime is that a value is in use from the
// op that writes it to the last that reads it. A program of several streams is also checked in all other orders in which it
// may run.
func (l *Layout) Check(g *graph.Graph, workspaces []int64) error {
	if len(l.Offset) != len(g.Values) || len(l.WorkspaceOffset) != len(g.Ops) {
		return fmt.Errorf("plan: layout of %d values and %d ops for a program of %d values and %d ops", len(l.Offset),
			len(l.WorkspaceOffset), len(g.Values), len(g.Ops))
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
		if workspaces != nil {
			bytes = workspaces[i]
		}
		if err := c.step(op, l.WorkspaceOffset[i], bytes); err != nil {
			return fmt.Errorf("plan: op %d %s at %s: %w", i, op.Kind, op.Scope, err)
		}
	}
	if g.Streams() > 1 {
		return l.checkStreams(g, workspaces)
	}
	return nil
}

// checker is the state of a program that is being replayed.
type checker struct {
	layout  *Layout
	readers map[*graph.Value]int // reads still to come
	used    []block              // bytes in use, by offset
}

// block is a range of bytes in use, with a name for error texts.
type block struct {
	name          string
	offset, bytes int64
}

// begin adds what is in use before the first op. An input that no op
// reads is in use only while the inputs are written.
func (c *checker) begin(g *graph.Graph) error {
	for _, v := range g.Values {
		if v.Category.Persistent() {
			c.readers[v]++ // the next step
			if err := c.add(blockOf(c.layout, v), 0, c.layout.PersistentBytes); err != nil {
				return fmt.Errorf("plan: %w", err)
			}
		}
	}
	for _, v := range g.Inputs {
		if err := c.addTransient(blockOf(c.layout, v)); err != nil {
			return fmt.Errorf("plan: %w", err)
		}
	}
	c.dropUnread(g.Inputs)
	return nil
}

// step replays one op: it adds results and workspace, and removes what was read for the last time.
func (c *checker) step(op *graph.Op, workspaceOffset, workspaceBytes int64) error {
	for _, v := range op.Results {
		if o := v.Shares; o != nil {
			if c.layout.Offset[o.ID] != c.layout.Offset[v.ID] {
				return fmt.Errorf("%s at offset %d aliases %s at offset %d: must be the same offset", v.Name, c.layout.Offset[v.ID],
					o.Name, c.layout.Offset[o.ID])
			}
			if !c.remove(blockOf(c.layout, o)) {
				return fmt.Errorf("%s aliases %s, which is not in use", v.Name, o.Name)
			}
		}
		if err := c.addTransient(blockOf(c.layout, v)); err != nil {
			return err
		}
	}
	if workspaceBytes > 0 {
		p := block{"workspace", workspaceOffset, workspaceBytes}
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
			return fmt.Errorf("%s aliases %s, which is read later", v.Name, v.Shares.Name)
		}
	}
	c.dropUnread(op.Operands)
	c.dropUnread(op.Results)
	return nil
}

// dropUnread removes the values that are not read any more.
func (c *checker) dropUnread(values []*graph.Value) {
	for _, v := range values {
		if v != nil && c.readers[v] == 0 {
			c.remove(blockOf(c.layout, v))
		}
	}
}

func blockOf(l *Layout, v *graph.Value) block { return block{v.Name, l.Offset[v.ID], v.Bytes()} }

func (c *checker) addTransient(p block) error {
	return c.add(p, c.layout.PersistentBytes, c.layout.PersistentBytes+c.layout.TransientBytes)
}

// add adds p, which must be inside [low, high) and overlap no other block. The
// blocks are disjoint and sorted, so only the neighbours can overlap it.
func (c *checker) add(p block, low, high int64) error {
	if p.offset < low || p.bytes > high-p.offset {
		return fmt.Errorf("%s: bytes %d to %d are outside of the region %d to %d", p.name, p.offset, p.offset+p.bytes, low, high)
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
			return fmt.Errorf("%s in bytes %d to %d overlaps %s in bytes %d to %d", p.name, p.offset, p.offset+p.bytes, q.name,
				q.offset, q.offset+q.bytes)
		}
	}
	c.used = slices.Insert(c.used, at, p)
	return nil
}

// remove removes p and reports whether it was in use.
func (c *checker) remove(p block) bool {
	at := c.find(p.offset)
	if at == len(c.used) || c.used[at] != p {
		return false
	}
	c.used = slices.Delete(c.used, at, at+1)
	return true
}

// find returns the position of the first block at offset or after it.
func (c *checker) find(offset int64) int {
	at, _ := slices.BinarySearchFunc(c.used, offset, func(p block, offset int64) int { return cmp.Compare(p.offset, offset) })
	return at
}

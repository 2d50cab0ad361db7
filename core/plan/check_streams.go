package plan

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// checkStreams verifies the layout of a program of several streams in all the orders in which it may run. It replays the
// program once and keeps, for every byte, its last owner: when the next one is written, every op that touches the previous
// one must be sure to have ended. What has ended follows from streams and waits, op by op; neither
// the planner's lifetimes nor graph.Order are used.
func (l *Layout) checkStreams(g *graph.Graph, workspaces []int64) error {
	c := streamChecker{ended: endedBefore(g), users: map[*graph.Value][]int{}}
	for i, op := range g.Ops {
		for _, list := range [][]*graph.Value{op.Operands, op.Results} {
			for _, v := range list {
				c.users[v] = append(c.users[v], i)
			}
		}
	}
	for _, v := range g.Outputs {
		c.users[v] = append(c.users[v], len(g.Ops)) // the caller
	}
	for _, v := range g.Inputs {
		if len(c.users[v]) == 0 {
			c.users[v] = []int{0} // in use at the first op
		}
		c.owners = append(c.owners, occupant{blockOf(l, v), v})
	}
	for i, op := range g.Ops {
		var err error
		for _, v := range op.Results {
			if err == nil {
				err = c.move(occupant{blockOf(l, v), v}, i)
			}
		}
		if err == nil && workspaces != nil && workspaces[i] > 0 {
			s := &graph.Value{}
			c.users[s] = []int{i}
			err = c.move(occupant{block{"workspace", l.WorkspaceOffset[i], workspaces[i]}, s}, i)
		}
		if err != nil {
			return fmt.Errorf("plan: op %d %s at %s: %w", i, op.Kind, op.Scope, err)
		}
	}
	return nil
}

// streamChecker is the state of a program that is being replayed.
type streamChecker struct {
	ended  []opSet                // by op: the ops that have ended when it begins
	users  map[*graph.Value][]int // ops that write or read the value
	owners []occupant             // last owners of the bytes; disjoint
}

// occupant is a value with all of its bytes, or with a part of them that no other value had after it.
type occupant struct {
	block
	value *graph.Value
}

// move makes t the last owner of its bytes, from op on.
func (c *streamChecker) move(t occupant, op int) error {
	var rest []occupant
	end := t.offset + t.bytes
	for _, o := range c.owners {
		if o.offset+o.bytes <= t.offset || end <= o.offset {
			rest = append(rest, o)
			continue
		}
		for _, user := range c.users[o.value] {
			if user == op && t.value.Shares == o.value {
				continue // it reads the operand that it overwrites
			}
			if user >= op || !c.ended[op].has(user) {
				return fmt.Errorf("%s is in bytes of %s, which op %d may use at the same time", t.name, o.name, user)
			}
		}
		if below := t.offset - o.offset; below > 0 {
			rest = append(rest, occupant{block{o.name, o.offset, below}, o.value})
		}
		if above := o.offset + o.bytes - end; above > 0 {
			rest = append(rest, occupant{block{o.name, end, above}, o.value})
		}
	}
	c.owners = append(rest, t)
	return nil
}

// opSet is a bit set of ops.
type opSet []uint64

func (s opSet) has(op int) bool { return s[op/bits.UintSize]>>(op%bits.UintSize)&1 == 1 }

// endedBefore returns, by op, all ops from which a path of streams and waits leads to it.
func endedBefore(g *graph.Graph) []opSet {
	words := (len(g.Ops) + bits.UintSize - 1) / bits.UintSize
	sets := make([]opSet, len(g.Ops))
	lastIn := map[int]int{} // the last op of each stream
	for i, op := range g.Ops {
		sets[i] = make(opSet, words)
		direct := slices.Clone(op.Waits)
		if before, ok := lastIn[op.Stream]; ok {
			direct = append(direct, before)
		}
		for _, d := range direct {
			for w, word := range sets[d] {
				sets[i][w] |= word
			}
			sets[i][d/bits.UintSize] |= 1 << (d % bits.UintSize)
		}
		lastIn[op.Stream] = i
	}
	return sets
}

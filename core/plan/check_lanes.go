package plan

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// checkLanes holds the layout of a program of several lanes against all the orders in
// which it may run. It plays the program once and keeps, for every byte, who had it
// last: the next to have it must begin when every op that touches the one before is sure
// to have ended. What has ended is found by walking lanes and waits, op by op; neither
// the planner's lifetimes nor graph.Order are used.
func (l *Layout) checkLanes(g *graph.Graph, scratch []int64) error {
	c := laneChecker{ended: endedBefore(g), users: map[*graph.Value][]int{}}
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
			c.users[v] = []int{0} // it is there for the first op
		}
		c.owners = append(c.owners, tenant{pieceOf(l, v), v})
	}
	for i, op := range g.Ops {
		var err error
		for _, v := range op.Results {
			if err == nil {
				err = c.move(tenant{pieceOf(l, v), v}, i)
			}
		}
		if err == nil && scratch != nil && scratch[i] > 0 {
			s := &graph.Value{}
			c.users[s] = []int{i}
			err = c.move(tenant{piece{"scratch memory", l.ScratchOffset[i], scratch[i]}, s}, i)
		}
		if err != nil {
			return fmt.Errorf("plan: op %d %s at %s: %w", i, op.Kind, op.Scope, err)
		}
	}
	return nil
}

// laneChecker is the state of the program that is being played.
type laneChecker struct {
	ended  []opSet                // by op: those that have ended when it begins
	users  map[*graph.Value][]int // ops that make or read the value
	owners []tenant               // who had the bytes last; disjoint
}

// tenant has bytes: all of a value's, or a part that nobody had after it.
type tenant struct {
	piece
	value *graph.Value
}

// move makes t the last owner of its bytes, from op on.
func (c *laneChecker) move(t tenant, op int) error {
	var rest []tenant
	end := t.offset + t.bytes
	for _, o := range c.owners {
		if o.offset+o.bytes <= t.offset || end <= o.offset {
			rest = append(rest, o)
			continue
		}
		for _, user := range c.users[o.value] {
			if user == op && t.value.Shares == o.value {
				continue // it reads what it takes over
			}
			if user >= op || !c.ended[op].has(user) {
				return fmt.Errorf("%s lies in bytes of %s, which op %d may use at the same time", t.name, o.name, user)
			}
		}
		if before := t.offset - o.offset; before > 0 {
			rest = append(rest, tenant{piece{o.name, o.offset, before}, o.value})
		}
		if behind := o.offset + o.bytes - end; behind > 0 {
			rest = append(rest, tenant{piece{o.name, end, behind}, o.value})
		}
	}
	c.owners = append(rest, t)
	return nil
}

// opSet is a set of ops, a bit each.
type opSet []uint64

func (s opSet) has(op int) bool { return s[op/bits.UintSize]>>(op%bits.UintSize)&1 == 1 }

// endedBefore returns, by op, all ops from which a way of lanes and waits leads to it.
func endedBefore(g *graph.Graph) []opSet {
	words := (len(g.Ops) + bits.UintSize - 1) / bits.UintSize
	sets := make([]opSet, len(g.Ops))
	inLane := map[int]int{} // the last op of each lane
	for i, op := range g.Ops {
		sets[i] = make(opSet, words)
		direct := slices.Clone(op.Waits)
		if before, ok := inLane[op.Stream]; ok {
			direct = append(direct, before)
		}
		for _, d := range direct {
			for w, word := range sets[d] {
				sets[i][w] |= word
			}
			sets[i][d/bits.UintSize] |= 1 << (d % bits.UintSize)
		}
		inLane[op.Stream] = i
	}
	return sets
}

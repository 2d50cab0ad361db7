package graph

import "fmt"

// MaxStreams bounds the streams of a program, as backends do.
const MaxStreams = 64

// Streams is the number of streams of the ops: 1 where they run one after the other.
func (g *Graph) Streams() int {
	streams := 1
	for _, op := range g.Ops {
		streams = max(streams, op.Stream+1)
	}
	return streams
}

// Order is the partial order in which the ops of a graph run: the transitive closure of the
// program order within each stream and of the waits. Program order is one of the total
// orders that it allows. Its size is one number for each op and stream.
type Order struct {
	streams int
	stream  []int // by op
	ended   []int // by op and stream: the last op that has ended when the op begins; -1: none
}

// Order returns the partial order given by streams and Waits.
func (g *Graph) Order() *Order {
	o := &Order{streams: g.Streams(), stream: make([]int, len(g.Ops))}
	o.ended = make([]int, len(g.Ops)*o.streams)
	last := make([]int, o.streams) // last op of each stream so far
	for l := range last {
		last[l] = -1
	}
	for i, op := range g.Ops {
		at := o.at(i)
		for l := range at {
			at[l] = -1
		}
		o.stream[i] = op.Stream
		o.follow(at, last[op.Stream])
		for _, w := range op.Waits {
			o.follow(at, w)
		}
		last[op.Stream] = i
	}
	return o
}

func (o *Order) at(op int) []int { return o.ended[op*o.streams : (op+1)*o.streams] }

// follow records in at that op before has ended, and all ops that ended before it.
func (o *Order) follow(at []int, before int) {
	if before < 0 {
		return
	}
	for l, e := range o.at(before) {
		at[l] = max(at[l], e)
	}
	at[o.stream[before]] = max(at[o.stream[before]], before)
}

// Ended returns the last op of a stream that is sure to have ended when op begins; -1
// if there is no such op.
func (o *Order) Ended(op, stream int) int { return o.ended[op*o.streams+stream] }

// Before reports whether op a is sure to have ended when op b begins.
func (o *Order) Before(a, b int) bool { return a <= o.Ended(b, o.stream[a]) }

// verifyStreams checks that streams and waits are in range, and that in the partial order an op
// comes after the ops that make its operands, and after all ops that use a value which it
// updates or overwrites in place.
func (g *Graph) verifyStreams() error {
	for i, op := range g.Ops {
		if op.Stream < 0 || op.Stream >= MaxStreams {
			return fmt.Errorf("op %d %s at %s: stream %d: must be 0 to %d", i, op.Kind, op.Scope, op.Stream, MaxStreams-1)
		}
		for _, w := range op.Waits {
			if w < 0 || w >= i || g.Ops[w].Stream == op.Stream {
				return fmt.Errorf("op %d %s at %s: waits for op %d: must be an earlier op of another stream",
					i, op.Kind, op.Scope, w)
			}
		}
	}
	if g.Streams() == 1 {
		return nil
	}
	order := g.Order()
	maker := map[*Value]int{}
	touched := map[*Value][]int{}
	for i, op := range g.Ops {
		for _, v := range op.Operands {
			if m, ok := maker[v]; ok && !order.Before(m, i) {
				return fmt.Errorf("op %d %s at %s: reads %q and does not wait for op %d, which makes it",
					i, op.Kind, op.Scope, v.Name, m)
			}
		}
		for _, v := range op.overwrites() {
			for _, t := range touched[v] {
				if !order.Before(t, i) {
					return fmt.Errorf("op %d %s at %s: overwrites %q and does not wait for op %d, which uses it",
						i, op.Kind, op.Scope, v.Name, t)
				}
			}
		}
		for _, v := range op.Operands {
			touched[v] = append(touched[v], i)
		}
		for _, v := range op.Results {
			maker[v], touched[v] = i, append(touched[v], i)
		}
	}
	return nil
}

// overwrites lists the values whose content the op destroys.
func (op *Op) overwrites() []*Value {
	all := op.Mutates()
	for _, v := range op.Results {
		if v.Shares != nil {
			all = append(all, v.Shares)
		}
	}
	return all
}

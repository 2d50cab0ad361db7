package passes

import (
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// Overlap lets local modules of a training step run at the same time, as their losses
// allow: the auxiliary network, backward pass and update of a module during the
// forward pass of the next. Stream 0 has the forward pass of all modules; the rest of
// module k is in one of inFlight-1 further streams, in turn. The forward pass of module
// k+inFlight waits for the update of module k, so that no more modules than that have
// anything alive for their backward pass.
//
// Ops that touch the same value wait for each other: a reader for the op that made it, and an op that overwrites it for all
// its readers. Waits that follow from other waits are left out. The order of the program does not change. Overlap is the
// last pass: moving an op would make its Waits wrong. Updates must not be deferred.
func Overlap(g *graph.Graph, inFlight int) {
	if inFlight < 2 {
		return
	}
	s := scheduler{graph: g, streams: inFlight, touched: make([][]int, len(g.Values)), maker: make([]int, len(g.Values)),
		ended: make([][]int, len(g.Ops)), last: fresh(inFlight), updated: map[int]int{}}
	for i := range s.maker {
		s.maker[i] = none
	}
	for i, op := range g.Ops {
		if op.Stream = 0; op.Phase != graph.PhaseForward {
			op.Stream = 1 + op.Module%(inFlight-1)
		}
		s.enter(i, op)
	}
}

// none is a sentinel: no op.
const none = -1

// scheduler is the state of Overlap.
type scheduler struct {
	graph   *graph.Graph
	streams int
	maker   []int       // by value: the op that wrote it last
	touched [][]int     // by value and stream: the last op that read or wrote it; nil: none
	ended   [][]int     // by op and stream: the last op that has ended when the op itself has
	last    []int       // by stream: the op entered last
	updated map[int]int // by module: its last op in a stream other than 0
}

func fresh(streams int) []int { return slices.Repeat([]int{none}, streams) }

// enter gives op i its waits.
func (s *scheduler) enter(i int, op *graph.Op) {
	needs := s.needs(op)
	ended := fresh(s.streams)
	if before := s.last[op.Stream]; before != none {
		copy(ended, s.ended[before])
	}
	op.Waits = nil
	// The latest first: an earlier one often follows from it.
	slices.SortFunc(needs, func(a, b int) int { return b - a })
	for _, n := range needs {
		stream := s.graph.Ops[n].Stream
		if stream == op.Stream || n <= ended[stream] {
			continue
		}
		op.Waits = append(op.Waits, n)
		for l, e := range s.ended[n] {
			ended[l] = max(ended[l], e)
		}
	}
	ended[op.Stream] = i
	s.ended[i], s.last[op.Stream] = ended, i
	if op.Stream != 0 {
		s.updated[op.Module] = i
	}
	s.touch(i, op)
}

// needs lists ops that must end before op begins.
func (s *scheduler) needs(op *graph.Op) []int {
	var needs []int
	add := func(ops ...int) {
		for _, n := range ops {
			if n != none {
				needs = append(needs, n)
			}
		}
	}
	for _, v := range op.Operands {
		if v != nil {
			add(s.maker[v.ID])
		}
	}
	for _, v := range op.Mutates() {
		add(s.touched[v.ID]...)
	}
	for _, v := range op.Results {
		if v.Shares != nil {
			add(s.touched[v.Shares.ID]...)
		}
	}
	if op.Stream == 0 {
		if n, ok := s.updated[op.Module-s.streams]; ok {
			add(n)
		}
	}
	return needs
}

// touch notes what op i reads and writes.
func (s *scheduler) touch(i int, op *graph.Op) {
	for _, list := range [][]*graph.Value{op.Operands, op.Results} {
		for _, v := range list {
			if v == nil {
				continue
			}
			if s.touched[v.ID] == nil {
				s.touched[v.ID] = fresh(s.streams)
			}
			s.touched[v.ID][op.Stream] = i
		}
	}
	for _, list := range [][]*graph.Value{op.Results, op.Mutates()} {
		for _, v := range list {
			s.maker[v.ID] = i
		}
	}
}

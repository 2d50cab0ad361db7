package passes

import (
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// Overlap lets local modules of a training step run side by side, as their losses
// allow: the auxiliary network, backward pass and update of a module beside the
// forward pass of the next. Lane 0 has the forward pass of all modules; the rest of
// module k is in one of inFlight-1 further lanes, in turn. The forward pass of module
// k+inFlight waits for the update of module k, so that no more modules than that have
// anything alive for their backward pass.
//
// Ops wait for each other where they touch the same value: a reader for the maker, and
// who overwrites for all who read. Only what does not follow from other waits is
// written down. The order of the program stays what it is. Overlap is the last pass: what
// moves an op makes its Waits wrong. It wants updates that come early.
func Overlap(g *graph.Graph, inFlight int) {
	if inFlight < 2 {
		return
	}
	s := scheduler{graph: g, lanes: inFlight, touched: make([][]int, len(g.Values)), maker: make([]int, len(g.Values)),
		ended: make([][]int, len(g.Ops)), last: fresh(inFlight), updated: map[int]int{}}
	for i := range s.maker {
		s.maker[i] = none
	}
	for i, op := range g.Ops {
		if op.Lane = 0; op.Phase != graph.PhaseForward {
			op.Lane = 1 + op.Module%(inFlight-1)
		}
		s.enter(i, op)
	}
}

// none is the position of no op.
const none = -1

// scheduler is the state of a program that is being given its waits.
type scheduler struct {
	graph   *graph.Graph
	lanes   int
	maker   []int       // by value: the op that wrote it last
	touched [][]int     // by value and lane: the last op that read or wrote it; nil: none
	ended   [][]int     // by op and lane: the last op that has ended when the op itself has
	last    []int       // by lane: the op entered last
	updated map[int]int // by module: its last op beside lane 0
}

func fresh(lanes int) []int { return slices.Repeat([]int{none}, lanes) }

// enter gives op i its waits.
func (s *scheduler) enter(i int, op *graph.Op) {
	needs := s.needs(op)
	ended := fresh(s.lanes)
	if before := s.last[op.Lane]; before != none {
		copy(ended, s.ended[before])
	}
	op.Waits = nil
	// The latest first: an earlier one often follows from it.
	slices.SortFunc(needs, func(a, b int) int { return b - a })
	for _, n := range needs {
		lane := s.graph.Ops[n].Lane
		if lane == op.Lane || n <= ended[lane] {
			continue
		}
		op.Waits = append(op.Waits, n)
		for l, e := range s.ended[n] {
			ended[l] = max(ended[l], e)
		}
	}
	ended[op.Lane] = i
	s.ended[i], s.last[op.Lane] = ended, i
	if op.Lane != 0 {
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
	if op.Lane == 0 {
		if n, ok := s.updated[op.Module-s.lanes]; ok {
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
				s.touched[v.ID] = fresh(s.lanes)
			}
			s.touched[v.ID][op.Lane] = i
		}
	}
	for _, list := range [][]*graph.Value{op.Results, op.Mutates()} {
		for _, v := range list {
			s.maker[v.ID] = i
		}
	}
}

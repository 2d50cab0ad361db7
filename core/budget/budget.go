// Package budget finds what the backward pass of a training step has to recompute for the arena of the step to fit into a
// number of bytes: rematerialization under a memory budget. Programs are cheap to write and to plan, so the search writes
// some hundred of them and reads their memory off the plan. The algorithm:
//
//  1. Candidates are ops of the forward pass that can run again: they update nothing and only their own module reads them.
//  2. The price of a candidate is the bytes that running it moves (arithmetic converted to bytes), for a byte it frees.
//  3. Greedy: recompute nothing; then, in each module that is above the target, recompute the cheapest candidate whose result
//     is idle, between forward and backward pass, at an op where too much is alive.
//  4. A choice that does not bring its module nearer to the target is taken back. That reaches most budgets.
//  5. Otherwise start from checkpointing: recompute everything except every k-th checkpoint (Chen et al., "Training Deep Nets
//     with Sublinear Memory Cost", 2016), a value from which all later ones follow; for many k.
//  6. From the best two starts, flip one candidate of each module at a time, the most expensive first: recompute it if that
//     brings the module nearer to the target, save it if the target still holds. Lower targets find other ways.
//  7. Local modules have their peaks at different ops and are treated independently: each keeps the best of all that was tried.
//  8. A layout may have gaps: the target is then lowered by them, and the search runs again.
//  9. If no choice fits, the error names the smallest arena that was found, and that arena can be reached.
//  10. Neither search tries all sets: the optimum is NP-hard (compare Jain et al., "Checkmate", 2020, which solves it by
//     integer programming).
package budget

import (
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/model"
)

// TooSmall is the error of a budget that no recomputation reaches.
type TooSmall struct {
	BudgetBytes int64
	LeastBytes  int64  // the smallest arena that was found
	What        string // program that needs LeastBytes, if not the training step: recomputation does not help it
}

// Error names both sizes.
func (e *TooSmall) Error() string {
	least := "the smallest arena found for the training step, with activations recomputed, has"
	if e.What != "" {
		least = e.What + " needs an arena of"
	}
	return fmt.Sprintf("budget %s: too small: %s %s",
		humanize.IBytesN(uint64(e.BudgetBytes), 4), least, humanize.IBytesN(uint64(e.LeastBytes), 4))
}

// Hint says what else makes a step smaller.
func (e *TooSmall) Hint() string {
	return "a smaller --batch needs less, and so does a --workspace-limit where kernels have large workspaces"
}

// Fit adds to the options the results that the backward pass has to recompute (core.StepOptions.Recompute) for the arena
// of the training step on the device to have at most that many bytes. The arena of a run, which evaluates too, is for the
// caller to check. The search counts what is alive in program order, so modules must not overlap. If the budget cannot be reached
// the error is a *TooSmall.
func Fit(d engine.Device, stages []model.Stage, o core.StepOptions, bytes int64) (core.StepOptions, error) {
	s := &search{device: d, stages: stages, options: o, workspaces: map[string]int64{}, moduleOf: map[string]int{}}
	arena, err := s.begin(bytes)
	if err != nil || arena <= bytes {
		return o, err
	}
	found, arena, err := s.fit(arena, bytes)
	if err != nil || arena <= bytes {
		return found, err
	}
	// The error names an arena that can be reached. The smallest sum of live bytes seen may not be packable without
	// fragmentation, so it is raised until an arena is found.
	for more := s.least / 100; ; more *= 2 {
		least := s.least + more
		_, smallest, err := s.fit(arena, least)
		if err != nil {
			return o, err
		}
		if smallest <= least {
			return o, &TooSmall{BudgetBytes: bytes, LeastBytes: smallest}
		}
	}
}

package engine

import "slices"

// Stage is a step in setting up a run on a device with a memory of its own.
type Stage string

// The stages, in order. The difference between two is what the later one took.
const (
	StageContext Stage = "context" // of the driver, before anything is loaded
	StageModule  Stage = "module"  // our kernels loaded
	StageHandles Stage = "handles" // of libraries, with their workspace
	StagePlans   Stage = "plans"   // kernels chosen and built
	StageArena   Stage = "arena"   // the one allocation: the planned bytes, rounded up by the driver
	StageWarmUp  Stage = "warm-up" // first steps: kernels that are loaded late, local memory
	StageGraph   Stage = "graph"   // the step recorded for replay, and replayed once
	StageSteady  Stage = "steady"  // after some steps; more than at the stage before is a leak
)

// Stages lists the stages in order.
func Stages() []Stage {
	return []Stage{StageContext, StageModule, StageHandles, StagePlans, StageArena, StageWarmUp, StageGraph, StageSteady}
}

// Rung is the used memory of the whole device when a stage was over. It is what the
// driver tells (total less free), so that it counts other processes too: it speaks of
// this run only where the device is ours alone.
type Rung struct {
	Stage           Stage
	DeviceUsedBytes int64
}

// Ladder is a device or a program that noted the memory of its device after each stage
// that it knows of. It is optional: backends in the memory of the host do not have it.
// A stage that came again, as with the plans of a second program, is noted once more.
// StageSteady is the memory at the time of the call, once a step has run.
type Ladder interface {
	Ladder() []Rung
}

// Placed is a device of which a machine may have several. It is optional.
type Placed interface {
	// UUID is the driver's name for the card: "GPU-" and 32 hex digits in groups, as
	// nvidia-smi -L prints it. Numbers differ between CUDA and the driver.
	UUID() string
}

// LadderOf puts the rungs of a device and of what runs on it into the order of Stages;
// of a stage that was noted more than once the last stands, in the order of the parts.
// A stage that Stages does not have comes last. Parts without a ladder are passed over.
func LadderOf(parts ...any) []Rung {
	var rungs []Rung
	for _, part := range parts {
		noted, ok := part.(Ladder)
		if !ok {
			continue
		}
		for _, r := range noted.Ladder() {
			rungs = slices.DeleteFunc(rungs, func(old Rung) bool { return old.Stage == r.Stage })
			rungs = append(rungs, r)
		}
	}
	place := func(r Rung) int {
		if i := slices.Index(Stages(), r.Stage); i >= 0 {
			return i
		}
		return len(Stages())
	}
	slices.SortStableFunc(rungs, func(a, b Rung) int { return place(a) - place(b) })
	return rungs
}

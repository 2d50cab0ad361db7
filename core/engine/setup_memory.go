package engine

import "slices"

// Stage is a step in setting up a run on a device with memory of its own.
type Stage string

// The stages, in order. The memory of a stage is the difference from the stage before.
const (
	StageContext Stage = "context" // the driver's context, before anything is loaded
	StageModule  Stage = "module"  // our kernels are loaded
	StageHandles Stage = "handles" // handles of libraries, with their workspace
	StagePlans   Stage = "plans"   // kernels are chosen and built
	StageArena   Stage = "arena"   // the one allocation: the planned bytes, rounded up by the driver
	StageWarmUp  Stage = "warm-up" // first steps: kernels that are loaded lazily, local memory
	StageGraph   Stage = "graph"   // the step is captured and replayed once
	StageSteady  Stage = "steady"  // after some steps; more than at the stage before means a leak
)

// Stages lists the stages in order.
func Stages() []Stage {
	return []Stage{StageContext, StageModule, StageHandles, StagePlans, StageArena, StageWarmUp, StageGraph, StageSteady}
}

// StageMemory is the used memory of the whole device at the end of a stage. It is total less free
// memory, so it includes other processes: it measures this run only where no other process uses the device.
type StageMemory struct {
	Stage           Stage
	DeviceUsedBytes int64
}

// SetupMemory is a device or a program that records the memory of its device after each stage of setting up a run.
// It is optional: backends in host memory do not implement it. If a stage is reached again, as with the kernels of a
// second program, it is recorded once more. StageSteady is measured at the call, once a step has run.
type SetupMemory interface {
	SetupMemory() []StageMemory
}

// Placed is a device of which a machine may have several. It is optional.
type Placed interface {
	// UUID is the driver's name for the card: "GPU-" and 32 hex digits in groups, as
	// nvidia-smi -L prints it. The indices of CUDA and of the driver differ. It is empty for
	// devices that are no card.
	UUID() string
}

// FreeMemory is a device with memory of its own. It is optional.
type FreeMemory interface {
	// FreeBytes is the free memory of the device at the moment, 0 if it has no memory of its own.
	FreeBytes() int64
}

// Described is a device that Options.Properties can describe to a PlanOnly device. It is optional.
type Described interface {
	// Properties is what the backend's library looks at when it chooses kernels for this device; empty
	// if there is no such library.
	Properties() string
}

// SetupMemoryOf merges the stages of a device and of what runs on it, in the order of Stages; a
// Stage that is not in Stages comes last. If a stage was recorded more than once, the last record in the
// order of the parts is taken. Parts that do not implement SetupMemory are skipped.
func SetupMemoryOf(parts ...any) []StageMemory {
	var stages []StageMemory
	for _, part := range parts {
		recorded, ok := part.(SetupMemory)
		if !ok {
			continue
		}
		for _, r := range recorded.SetupMemory() {
			stages = slices.DeleteFunc(stages, func(old StageMemory) bool { return old.Stage == r.Stage })
			stages = append(stages, r)
		}
	}
	position := func(r StageMemory) int {
		if i := slices.Index(Stages(), r.Stage); i >= 0 {
			return i
		}
		return len(Stages())
	}
	slices.SortStableFunc(stages, func(a, b StageMemory) int { return position(a) - position(b) })
	return stages
}

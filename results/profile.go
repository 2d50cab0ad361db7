package results

// Profile is what a few real steps in a process of their own showed, to be compared with the plan. Sizes are bytes.
type Profile struct {
	Memory Memory `json:"memory"`
	// Peaks are the largest resident set during each part of a run, less the baseline, in the order of a run's life; empty
	// where the system does not tell.
	Peaks []PhasePeak `json:"peaks"`
	// Growth is by what each part of the process's memory has grown from the baseline to the end of the steady steps. With
	// what was given back since the peak, the last entry, it sums to the peak over the baseline; empty where the system does
	// not tell.
	Growth   []PartGrowth `json:"growth,omitempty"`
	Coverage Coverage     `json:"coverage"`
	// StepSeconds are the timed steps; OpSeconds their mean by op.
	StepSeconds []float64     `json:"step_seconds"`
	Step        *Distribution `json:"step,omitempty"` // of StepSeconds; nil if no step was timed
	OpSeconds   []float64     `json:"op_seconds"`
}

// PhasePeak is the peak of one part of a run.
type PhasePeak struct {
	Phase string `json:"phase"`
	Bytes int64  `json:"bytes"` // over the baseline
}

// PartGrowth is the growth of one part of a process's memory.
type PartGrowth struct {
	Part  string `json:"part"`
	Bytes int64  `json:"bytes"`
	Arena bool   `json:"arena,omitempty"` // the part is the arena, whose size is planned
}

// Coverage compares the bytes of an arena that a step changed with those that are planned, in lines of 64 bytes.
type Coverage struct {
	TouchedBytes   int64 // lines that changed
	PlannedBytes   int64 // lines that a value lies in
	StrayBytes     int64 // lines that changed although nothing is planned there: out-of-bounds writes
	UntouchedBytes int64 // lines of values that did not change
	// The end of the last line that changed, of the last value, and of the last value or workspace.
	HighWaterBytes, ValueHighWaterBytes, PlannedHighWaterBytes int64
}

// Reaches reports whether what was touched ends where the plan does. Where the plan ends in workspace, a kernel may have
// left a part of it untouched.
func (c Coverage) Reaches() bool {
	return c.ValueHighWaterBytes <= c.HighWaterBytes && c.HighWaterBytes <= c.PlannedHighWaterBytes
}

// Stages of setting up a device (Rung.Stage) that a plan says something about.
const (
	StageArena  = "arena"  // the one allocation of the run
	StageSteady = "steady" // after the timed steps
)

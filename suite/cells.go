package suite

import (
	"fmt"
	"runtime"

	"github.com/dustin/go-humanize"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/datasets"
	"github.com/localbench/localbench/suite/sweepdir"
)

// What a cell asks of a machine, beyond what its plan knows exactly.
const (
	// programBytes is the program with its libraries, its heap and the loaders' buffers; measured: below 150 MiB.
	programBytes = 256 << 20
	// memoryHeadroom is added to the memory of the process, and timeHeadroom multiplies its time.
	memoryHeadroom = 0.10
	timeHeadroom   = 2.0
	// predictedFLOPS is the rate per thread that is assumed where nothing was measured: below what any processor of the last ten
	// years reaches.
	predictedFLOPS = 5e9
	// leastSeconds is the least time that is asked for: the start of a process and reading the data set.
	leastSeconds = 600
)

// Cells plans runs on a device and says what each asks of a machine. Times come from records of the same step on the same kind of
// machine, as far as there are any; otherwise they are predicted. nodeBytes is the memory of the largest machine, and
// gpuBytes that of the largest GPU; a cell that needs more is refused; 0: not known.
func Cells(d engine.Device, runs []*Run, job JobOptions, measured []results.Record, nodeBytes, gpuBytes int64) ([]sweepdir.Cell,
	error) {
	var cells []sweepdir.Cell
	planned := map[string]sweepdir.Cell{} // by what decides about memory and time
	for _, r := range runs {
		key := results.SpecID(alike(r.Spec))
		c, known := planned[key]
		if !known {
			compiled, err := r.Compile(d, job)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.ID(), err)
			}
			c = r.resources(compiled, measured, job.Profile)
			c.Refused = refusal(c, nodeBytes, gpuBytes)
			planned[key] = c
		}
		c.Spec, c.ID = r.Spec, sweepdir.Manifest{Profile: job.Profile}.CellID(r.Spec)
		cells = append(cells, c)
	}
	return cells, nil
}

// alike is equal for specs that ask for the same memory and time: those of the same program on as many samples.
func alike(s results.Spec) results.Spec {
	step := results.StepSpec(s)
	step.Epochs, step.TrainLimit, step.TestLimit, step.ValFraction = s.Epochs, s.TrainLimit, s.TestLimit, s.ValFraction
	return step
}

// profileSteps are the steps of a profile beyond those that are timed: the first one, evaluation, and one among canaries.
const profileSteps = 4

// resources is what a compiled run asks of a machine, or the profile of some of its steps.
func (r *Run) resources(c *Compiled, measured []results.Record, profile int) (cell sweepdir.Cell) {
	cell.ArenaBytes = *c.Memory.ArenaBytes
	host := int64(programBytes)
	if r.Spec.Backend == backendCUDA {
		cell.GPUBytes = cell.ArenaBytes
	} else {
		host += cell.ArenaBytes
	}
	host += dataBytes(r.Dataset.Card)
	cell.MemoryBytes = host + int64(memoryHeadroom*float64(host))
	cell.Threads = r.Spec.Threads
	if cell.Threads == 0 {
		cell.Threads = int64(runtime.NumCPU())
	}
	n := r.samples()
	steps := float64(r.Spec.Epochs) * float64((int64(n.train)+r.Spec.Batch-1)/r.Spec.Batch)
	if profile > 0 {
		steps = float64(profile + profileSteps)
	}
	step := float64(*c.Model.FLOPsPerSample.Step*r.Spec.Batch) / (predictedFLOPS * float64(cell.Threads))
	if s := stepSeconds(r.Spec, measured); s > 0 {
		step, cell.Measured = s, true
	}
	cell.Seconds = max(leastSeconds, timeHeadroom*steps*step)
	return cell
}

// dataBytes is the memory of a data set that is kept decoded; 0 for one whose files are decoded batch by batch.
func dataBytes(c datasets.Card) int64 {
	if c.Augment.ResizedCrop { // of image files
		return 0
	}
	return int64(c.TrainSamples+c.TestSamples) * int64(c.Bytes())
}

// stepSeconds is the longest median step of records of the same step; 0 if there are none.
func stepSeconds(s results.Spec, measured []results.Record) (seconds float64) {
	id := results.SpecID(results.StepSpec(s))
	for _, r := range measured {
		if d := r.Time.StepSeconds; d != nil && results.SpecID(results.StepSpec(r.Spec)) == id {
			seconds = max(seconds, d.Median)
		}
	}
	return seconds
}

// refusal says why no machine can run a cell; empty: one can.
func refusal(c sweepdir.Cell, nodeBytes, gpuBytes int64) string {
	switch {
	case nodeBytes > 0 && c.MemoryBytes > nodeBytes:
		return fmt.Sprintf("not run: the plan needs %s of memory, and the largest machine has %s",
			humanize.IBytesN(uint64(c.MemoryBytes), 4), humanize.IBytesN(uint64(nodeBytes), 4))
	case gpuBytes > 0 && c.GPUBytes > gpuBytes:
		return fmt.Sprintf("not run: the plan needs %s of GPU memory, and the largest GPU has %s",
			humanize.IBytesN(uint64(c.GPUBytes), 4), humanize.IBytesN(uint64(gpuBytes), 4))
	}
	return ""
}

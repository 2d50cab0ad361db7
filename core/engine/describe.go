package engine

import (
	"strconv"
	"strings"
)

// description is what a backend tells about itself or a device: the "key=value" lines of probe and describe in
// native/backend.h. Some keys have fields of their own; the others are facts, which runs record.
type description struct {
	facts      map[string]string // versions of libraries, number of threads, name of the device
	uuid       string            // uuid: the driver's name for the card
	freeBytes  int64             // free: bytes of device memory
	properties string            // properties: of the device, for Options.Properties
	stages     []StageMemory     // setup_memory.STAGE: used bytes of the device after each stage
}

func parseDescription(text string) description {
	d := description{facts: map[string]string{}}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		stage, isStage := strings.CutPrefix(key, "setup_memory.")
		bytes, _ := strconv.ParseInt(value, 10, 64)
		switch {
		case isStage:
			d.stages = append(d.stages, StageMemory{Stage: Stage(stage), DeviceUsedBytes: bytes})
		case key == "uuid":
			d.uuid = value
		case key == "free":
			d.freeBytes = bytes
		case key == "properties":
			d.properties = value
		default:
			d.facts[key] = value
		}
	}
	return d
}

// estimatedKernel is the name of a kernel that is not chosen yet, because there is no device and the tuning cache
// does not have it (cuda/library.cc).
const estimatedKernel = "cuDNN, workspace estimated"

// WorkspaceIsEstimate reports whether Program.Scratch has an estimate for the op with this entry in Program.Kernels.
func WorkspaceIsEstimate(kernel string) bool { return strings.HasPrefix(kernel, estimatedKernel) }

// UnusedTuning is the fact of a device, and of the record of a run, that is there if the tuning cache names engines that
// cannot be had: how many, one of them, and why. Their ops have the engines that they have without the cache.
const UnusedTuning = "tuning_cache_unused"

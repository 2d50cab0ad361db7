package results

import (
	"encoding/json"
	"math"
	"time"
)

// Record is the result of one run.
type Record struct {
	Schema      int64       `json:"schema"`           // number of the schema; Write fills in a 0
	ID          string      `json:"id"`               // SpecID of Spec; Write fills in an empty one
	Attempt     string      `json:"attempt,omitzero"` // random text, another one for each process that ran the spec
	Status      Status      `json:"status"`           // how the run ended
	Error       string      `json:"error,omitzero"`   // one sentence; empty when done
	Started     time.Time   `json:"started,omitzero"`
	Finished    time.Time   `json:"finished,omitzero"`
	Spec        Spec        `json:"spec"`
	Environment Environment `json:"environment,omitzero"`
	Model       Model       `json:"model,omitzero"`
	Memory      Memory      `json:"memory,omitzero"`
	Time        Time        `json:"time,omitzero"`
	Accuracy    Accuracy    `json:"accuracy,omitzero"`
	GPU         GPU         `json:"gpu,omitzero"` // absent where the run used none
}

// Status is the outcome of a run.
type Status string

// The outcomes of a run.
const (
	StatusDone        Status = "done"        // all epochs trained
	StatusFailed      Status = "failed"      // an error; Record.Error has the sentence
	StatusOutOfMemory Status = "oom"         // the machine or a limit had too little memory
	StatusDiverged    Status = "diverged"    // the loss was not finite
	StatusInterrupted Status = "interrupted" // stopped from outside; can be resumed
)

// Statuses lists every status.
func Statuses() []Status {
	return []Status{StatusDone, StatusFailed, StatusOutOfMemory, StatusDiverged, StatusInterrupted}
}

// Spec holds the settings of a run. Two runs with equal specs are the same run, up to
// the machine. Every field counts for the id, except Device (see SpecID).
type Spec struct {
	Method  string `json:"method"`
	Network string `json:"network"`
	Dataset string `json:"dataset"`
	Batch   int64  `json:"batch"` // samples a step

	AuxDepth           int64             `json:"aux_depth,omitzero"`           // units in an auxiliary network; 0: none
	Modules            int64             `json:"modules,omitzero"`             // local modules (K); 0: the method's default
	Pyramid            bool              `json:"pyramid,omitzero"`             // auxiliary depth falls towards the head
	PyramidCoefficient float64           `json:"pyramid_coefficient,omitzero"` // how fast it falls, in [0, 1]
	Selection          string            `json:"selection,omitzero"`           // which units an auxiliary network copies
	Options            map[string]string `json:"options,omitempty"`            // Settings, as text
	Quirks             string            `json:"quirks,omitzero"`              // none, or paper

	Precision string `json:"precision"`        // f32, bf16, tf32
	Backend   string `json:"backend"`          // cpu, cuda, reference
	Device    string `json:"device,omitzero"`  // which of several equal devices; not part of the id
	Threads   int64  `json:"threads,omitzero"` // as asked for; 0: all cores

	Seed   uint64  `json:"seed"`
	Epochs int64   `json:"epochs"`
	LR     float64 `json:"lr"` // base learning rate
	// WarmupEpochs is the part of Epochs in which the learning rate rises linearly to its peak; nil: the recipe of the data set.
	WarmupEpochs *int64  `json:"warmup_epochs,omitempty"`
	WeightDecay  float64 `json:"weight_decay"`
	Momentum     float64 `json:"momentum"`
	Nesterov     bool    `json:"nesterov"`
	Optimizer    string  `json:"optimizer,omitzero"`    // adam, adamw, rmsprop, adagrad; empty: sgd
	Beta1        float64 `json:"beta1,omitzero"`        // of Adam and AdamW: decay of the average of gradients
	Beta2        float64 `json:"beta2,omitzero"`        // of Adam and AdamW: decay of the average of their squares
	Alpha        float64 `json:"alpha,omitzero"`        // of RMSprop: decay of the average of squares
	Epsilon      float64 `json:"epsilon,omitzero"`      // added to the root by which an optimizer divides
	TrainLimit   int64   `json:"train_limit,omitzero"`  // first samples of the train set; 0: all
	TestLimit    int64   `json:"test_limit,omitzero"`   // first samples of the test set; 0: all
	ValFraction  float64 `json:"val_fraction,omitzero"` // of the train set, held out to choose the epoch by
	ImageSize    int64   `json:"image_size,omitzero"`   // side of the images in pixels; 0: the data set's own
	Augment      string  `json:"augment,omitzero"`      // name of the augmentation; empty: the recipe's own
	Dropout      string  `json:"dropout,omitzero"`      // on: as the network has it, and stochastic depth; empty: none
}

// Environment describes the machine and the program of a run.
type Environment struct {
	Version     string `json:"version,omitzero"` // of benchctl
	Commit      string `json:"commit,omitzero"`
	Go          string `json:"go,omitzero"`
	OS          string `json:"os,omitzero"`
	CPU         string `json:"cpu,omitzero"`
	Threads     *int64 `json:"threads,omitempty"`      // as used
	MemoryBytes *int64 `json:"memory_bytes,omitempty"` // of the machine
	// MemoryLimitBytes is the smallest limit set by a container or the shell on the run's process, and MemoryLimit
	// names it: a memory cgroup, RLIMIT_AS or RLIMIT_DATA. Absent if no limit is below MemoryBytes.
	MemoryLimitBytes *int64            `json:"memory_limit_bytes,omitempty"`
	MemoryLimit      string            `json:"memory_limit,omitzero"`
	GPU              string            `json:"gpu,omitzero"`
	Driver           string            `json:"driver,omitzero"`
	Libraries        map[string]string `json:"libraries,omitempty"` // name to version
}

// Model is the network as divided by the method.
type Model struct {
	Parameters          *int64   `json:"parameters,omitempty"`           // without auxiliary ones
	AuxiliaryParameters *int64   `json:"auxiliary_parameters,omitempty"` // thrown away after training
	Modules             []Module `json:"modules,omitempty"`
	BuiltIn             string   `json:"built_in,omitempty"` // the built-in network that has the layers of an exported one
	FLOPsPerSample      FLOPs    `json:"flops_per_sample,omitzero"`
}

// Module is one gradient-isolated module.
type Module struct {
	Units      int64 `json:"units"`
	AuxDepth   int64 `json:"aux_depth"` // units in its auxiliary network; 0: it ends in the head
	Parameters int64 `json:"parameters"`
}

// FLOPs counts floating point operations for one sample; a fused multiply-add is two.
type FLOPs struct {
	Forward *int64 `json:"forward,omitempty"` // inference
	Step    *int64 `json:"step,omitempty"`    // a training step, recomputation included
}

// Memory is the memory of a training step. All sizes are bytes.
type Memory struct {
	PlannedPeakBytes *int64 `json:"planned_peak_bytes,omitempty"` // largest sum alive at any op, from the plan
	// StepArenaBytes is the arena that the program of the training step needs. Records of runs from before this field lack it.
	StepArenaBytes *int64 `json:"step_arena_bytes,omitempty"`
	// ArenaBytes is the arena that a run allocates: for training, evaluation, and the last batches of both. Planned records (those
	// without Started) from before StepArenaBytes had the arena of the training step in this field; Read moves it to StepArenaBytes.
	ArenaBytes           *int64           `json:"arena_bytes,omitempty"`
	LowerBoundBytes      *int64           `json:"lower_bound_bytes,omitempty"`      // no layout can be smaller
	TouchedBytes         *int64           `json:"touched_bytes,omitempty"`          // of the arena, by a real step
	ProcessPeakBytes     *int64           `json:"process_peak_bytes,omitempty"`     // peak resident set
	ProcessBaselineBytes *int64           `json:"process_baseline_bytes,omitempty"` // resident set before the arena was made
	DataBufferBytes      *int64           `json:"data_buffer_bytes,omitempty"`      // of the loaders, without the data set
	DriverPeakBytes      *int64           `json:"driver_peak_bytes,omitempty"`      // of the process, as the GPU's driver sees it
	EagerRequestedBytes  *int64           `json:"eager_requested_bytes,omitempty"`  // predicted: live tensors of an eager framework
	EagerAllocatedBytes  *int64           `json:"eager_allocated_bytes,omitempty"`  // predicted for an eager framework
	EagerReservedBytes   *int64           `json:"eager_reserved_bytes,omitempty"`   // the same, with its caching allocator
	EagerSearchedBytes   *int64           `json:"eager_searched_bytes,omitempty"`   // estimated: during its algorithm search
	ByCategory           map[string]int64 `json:"by_category,omitempty"`            // bytes alive at the peak; sums to it
	ByPhase              map[string]int64 `json:"by_phase,omitempty"`               // largest sum alive at any op of each phase
	ByModule             []ModuleBytes    `json:"by_module,omitempty"`              // bytes alive at the peak
	PeakOp               string           `json:"peak_op,omitzero"`                 // where the peak is
	Top                  []Value          `json:"top,omitempty"`                    // largest values alive at the peak
	Ladder               []Rung           `json:"ladder,omitempty"`                 // used memory of the device, by stage
}

// Rung is the used memory of a whole device after one stage of setting up a run (the setup
// memory breakdown), in the order of the stages.
type Rung struct {
	Stage           string `json:"stage"`             // context, module, handles, plans, arena, warm-up, graph, steady
	DeviceUsedBytes int64  `json:"device_used_bytes"` // by all processes
	DeltaBytes      int64  `json:"delta_bytes"`       // more than after the stage before; below 0 if memory was given back
}

// ModuleBytes is the share of one local module in the peak.
type ModuleBytes struct {
	Module int64  `json:"module"` // from 0; -1: what belongs to none
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
}

// Value is one tensor alive at the peak.
type Value struct {
	Name     string `json:"name"`
	Scope    string `json:"scope"`
	Category string `json:"category"`
	Bytes    int64  `json:"bytes"`
}

// Time holds the times of a run.
type Time struct {
	StepSeconds      *Distribution      `json:"step_seconds,omitempty"`
	StepCPUSeconds   *Distribution      `json:"step_cpu_seconds,omitempty"` // processor time of a step, all threads
	SamplesPerSecond *float64           `json:"samples_per_second,omitempty"`
	PhaseSeconds     map[string]float64 `json:"phase_seconds,omitempty"` // a step: forward, auxiliary, backward, update, data
	TrainSeconds     *float64           `json:"train_seconds,omitempty"`
	EvalSeconds      *float64           `json:"eval_seconds,omitempty"`
	DataWaitSeconds  *float64           `json:"data_wait_seconds,omitempty"` // whole run, waiting for the loader
	DataShare        *float64           `json:"data_share,omitempty"`        // fraction of the step time spent so
}

// Distribution summarises repeated timings.
type Distribution struct {
	Median float64 `json:"median"`
	P05    float64 `json:"p05"` // 5th percentile
	P95    float64 `json:"p95"` // 95th percentile
	N      int64   `json:"n"`   // how many were timed
}

// Accuracy holds losses and accuracies. Accuracies are fractions in [0, 1].
type Accuracy struct {
	Epochs    []Epoch  `json:"epochs,omitempty"`
	BestTop1  *float64 `json:"best_top1,omitempty"`  // best test accuracy of any epoch
	BestEpoch *int64   `json:"best_epoch,omitempty"` // the epoch it was reached in
	// SelectedTop1 is the test accuracy after SelectedEpoch, the first epoch with the best accuracy
	// on the samples held out of the training set: chosen without using the test set.
	SelectedTop1  *float64 `json:"selected_top1,omitempty"`
	SelectedEpoch *int64   `json:"selected_epoch,omitempty"`
	LastTop1      *float64 `json:"last_top1,omitempty"` // test accuracy after the last epoch
	BestTop5      *float64 `json:"best_top5,omitempty"` // of BestEpoch, which top-1 chooses; of sets with 20 classes or more
	LastTop5      *float64 `json:"last_top5,omitempty"`
}

// Epoch is one pass over the train set and the evaluation after it.
type Epoch struct {
	Epoch        int64    `json:"epoch"` // from 1
	TrainLoss    *float64 `json:"train_loss,omitempty"`
	TrainTop1    *float64 `json:"train_top1,omitempty"`
	TestLoss     *float64 `json:"test_loss,omitempty"` // absent if not finite, as ValLoss
	TestTop1     *float64 `json:"test_top1,omitempty"`
	TestTop5     *float64 `json:"test_top5,omitempty"` // the class is among the five likeliest; from 20 classes on
	ValLoss      *float64 `json:"val_loss,omitempty"`  // on the held out samples
	ValTop1      *float64 `json:"val_top1,omitempty"`
	LR           float64  `json:"lr"`
	Seconds      *float64 `json:"seconds,omitempty"`
	ModuleLosses Series   `json:"module_losses,omitempty"` // train loss of each local module
	Heads        []Head   `json:"heads,omitempty"`         // test accuracy of each auxiliary network
}

// Head is the accuracy of one module's classifier on the test set.
type Head struct {
	Module   int64    `json:"module"` // from 0
	Name     string   `json:"name,omitzero"`
	TestLoss *float64 `json:"test_loss,omitempty"`
	TestTop1 *float64 `json:"test_top1,omitempty"`
}

// GPU is the card of a run with the driver's readings from
// the first step to the end, evaluation included. After a resumption they cover the last
// process only.
type GPU struct {
	Name              string `json:"name,omitzero"`
	UUID              string `json:"uuid,omitzero"`
	Driver            string `json:"driver,omitzero"`             // version
	CUDADriver        string `json:"cuda_driver,omitzero"`        // newest version of CUDA that the driver runs
	ComputeCapability string `json:"compute_capability,omitzero"` // "9.0"
	ECC               string `json:"ecc,omitzero"`                // on or off; absent where the card has none
	MIG               string `json:"mig,omitzero"`                // on or off; on: figures are those of the whole card
	MemoryBytes       *int64 `json:"memory_bytes,omitempty"`      // of the card

	Samples         *int64   `json:"samples,omitempty"`
	IntervalSeconds *float64 `json:"interval_seconds,omitempty"` // between samples
	SampledSeconds  *float64 `json:"sampled_seconds,omitempty"`  // from the first to the last sample

	ProcessPeakBytes      *int64           `json:"process_peak_bytes,omitempty"` // of the run's process, if the driver lists it
	DevicePeakBytes       *int64           `json:"device_peak_bytes,omitempty"`  // of all processes and the driver
	PowerMeanWatts        *float64         `json:"power_mean_watts,omitempty"`   // means are over time
	PowerMaxWatts         *float64         `json:"power_max_watts,omitempty"`
	SMClockMeanHertz      *float64         `json:"sm_clock_mean_hertz,omitempty"`
	MemoryClockMeanHertz  *float64         `json:"memory_clock_mean_hertz,omitempty"`
	TemperatureMaxCelsius *float64         `json:"temperature_max_celsius,omitempty"`
	ThrottleReasons       map[string]int64 `json:"throttle_reasons,omitempty"` // why clocks were reduced: samples by reason
	EnergyJoules          *float64         `json:"energy_joules,omitempty"`
	EnergySource          string           `json:"energy_source,omitzero"` // counter (the card's own) or power (integrated)
	Epochs                []EpochEnergy    `json:"epochs,omitempty"`
	Notes                 []string         `json:"notes,omitempty"` // what is missing and why
}

// EpochEnergy is the energy of an epoch, its evaluation included. Work between
// epochs, such as saving the state, belongs to the next one.
type EpochEnergy struct {
	Epoch        int64   `json:"epoch"` // from 1
	EnergyJoules float64 `json:"energy_joules"`
}

// Series is a list of numbers in which a number that is not finite is written as
// null and read back as NaN, so that the others keep their positions.
type Series []float64

// MarshalJSON writes null for NaN and the infinities.
func (s Series) MarshalJSON() ([]byte, error) {
	out := make([]*float64, len(s))
	for i, x := range s {
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			out[i] = &s[i]
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads null as NaN.
func (s *Series) UnmarshalJSON(text []byte) error {
	var in []*float64
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	*s = make(Series, len(in))
	for i, x := range in {
		(*s)[i] = math.NaN()
		if x != nil {
			(*s)[i] = *x
		}
	}
	return nil
}

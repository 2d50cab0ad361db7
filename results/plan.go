package results

// Plan is a run before it runs, as plain data: what reports show of a plan, without the graph that it was made of.
// Sizes are bytes.
type Plan struct {
	Spec         Spec
	Settings     Settings // of Spec
	LocalModules int64    // K: the value of --modules that gives the same cuts; 0 for a method that trains the network as one
	Model        Model
	Memory       Memory // the planned part: sizes, by category and by module, and the largest values at the peak
	// FragmentationBytes is what the layout of the step arena leaves unused at the peak.
	FragmentationBytes int64
	ByScope            []ScopeBytes       // bytes alive at the peak, the largest scope first
	Alive              []Value            // all that is alive at the peak, the largest first
	Timeline           map[string][]int64 // bytes alive at each op of the training step, by category
	Kernels            []Kernel           // of convolutions and linear layers, in the order of the step
	Recomputed         int64              // results that the backward pass recomputes so that the run fits its budget
	// UnknownWorkspaces is the number of ops whose workspace is not known and left out of all sizes.
	UnknownWorkspaces int64
	// Without has the plans of the same run without one of its options, by the option's key (Settings.Compared); nil if without
	// the option the run does not fit into its budget.
	Without  map[string]*Plan
	Roofline *Roofline // nil if the rates of the GPU are not known
}

// Unit is a unit of a network, after which a local module can end, or its head.
type Unit struct {
	Place      string  // as --cuts takes it; empty for the head
	BuiltIn    string  // place in the built-in network that has the layers of an exported one
	Name       string  // the scope of its parameters; several units may share one
	Shape      []int64 // of the result for one sample: height, width, channels; of the head: classes
	Parameters int64
}

// ScopeBytes is the share of one scope, such as module0/conv1, in the peak.
type ScopeBytes struct {
	Scope string
	Bytes int64
}

// Kernel is the kernel that a device chose for one op of a step.
type Kernel struct {
	Op             int    // position in the step
	Kind           string // of the op
	Operands       string // shapes of the first two operands
	Name           string
	WorkspaceBytes int64
}

// Roofline is what a step would take on a GPU that reaches the rates of its data sheet: each op takes as long as its
// operations at the arithmetic's rate or as its bytes at the memory's, whichever is longer, and one op follows the other
// (Williams, Waterman, Patterson: Roofline, CACM 2009).
type Roofline struct {
	FLOPs, Bytes       int64
	Arithmetic, Memory float64 // seconds of all operations, and of all bytes
	Seconds            float64 // op by op
	Steps              int64   // of an epoch
}

// Totals are the bytes alive at each op of the training step.
func (p Plan) Totals() []int64 {
	var totals []int64
	for _, bytes := range p.Timeline {
		if totals == nil {
			totals = make([]int64, len(bytes))
		}
		for op, n := range bytes {
			totals[op] += n
		}
	}
	return totals
}

// Record is the plan as a record of a finished run without measurements.
func (p Plan) Record() Record {
	return Record{Spec: p.Spec, ID: SpecID(p.Spec), Status: StatusDone, Model: p.Model, Memory: p.Memory}
}

// Fit is the result of a search for the largest batch that fits into a limit. Sizes are bytes.
type Fit struct {
	Spec         Spec // with the batch that was found; where none fits, with the least one
	LocalModules int64
	Batch        int64  // 0: not even the least batch fits
	Least, Limit int64  // the smallest batch that can be trained on; the number of training samples
	Memory       Memory // planned or predicted for Batch
	NextBytes    *int64 // what one sample more takes; nil where the training samples ended the search
	// What the processes of probes took, if the search measured them.
	RunBytes, SweepBytes, ProcessBytes int64
	HeadroomBytes                      int64
	Probes                             int64
	// UnknownWorkspaces is the largest number of ops of a plan in the search whose workspace is not known.
	UnknownWorkspaces int64
}

// Finding is one breach of the isolation of local modules.
type Finding struct {
	Module int64
	Tensor string
	What   string
}

// Audit is the isolation of the local modules of one run.
type Audit struct {
	Spec         Spec
	LocalModules int64 // K, as in Plan
	Stages       int64 // modules that the network was cut into
	Findings     []Finding
}

// CategoryWorkspace is the category of the workspace of kernels, which is not known on every device.
const CategoryWorkspace = "workspace"

// Categories lists the categories of memory in the order of tables and figures, from what lives as long as the run to what
// lives for one op. Package core/graph has the same names.
func Categories() []string {
	return []string{"parameters", "auxiliary parameters", "buffers", "optimizer state", "gradients",
		"saved activations", "compressed activations", "transient activations", CategoryWorkspace, "input batch"}
}

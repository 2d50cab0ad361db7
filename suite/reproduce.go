package suite

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/published"
)

// Reproduction says how the cells of published tables are run.
type Reproduction struct {
	Scale   published.Scale
	Request Request // seeds, what is held out, what computes, and Quirks
}

// Check returns an error for a request that is invalid whatever the cell.
func (r Reproduction) Check() error {
	all := []published.Scale{published.ScaleFull, published.ScaleReduced, published.ScaleSmoke}
	if !slices.Contains(all, r.Scale) {
		return fmt.Errorf("--scale %q: must be %s, %s or %s", r.Scale, all[0], all[1], all[2])
	}
	if r.Request.Quirks == QuirksPaper && r.Request.ValFraction > 0 {
		return fmt.Errorf("--val-fraction %g and --quirks paper can't be combined: the published programs hold no samples out",
			r.Request.ValFraction)
	}
	_, err := r.Request.Expand()
	return err
}

// Specs turns a cell into specs, one for each seed.
func (r Reproduction) Specs(c published.Cell) ([]results.Spec, error) {
	request := Request{
		Methods:   []string{c.Method},
		Networks:  []string{c.Network},
		Datasets:  []string{c.Dataset},
		Seeds:     r.Request.Seeds,
		Modules:   []int{c.Modules},
		AuxDepths: []int{max(c.AuxDepth, 2)},
		Epochs:    c.Epochs,
		Selection: c.Options["selection"],
		NoPyramid: c.Options["pyramid"] == "no",
		Threads:   r.Request.Threads,
		Quirks:    r.Request.Quirks,
	}
	// No cell with fewer modules than units is of AugLocal's program, whose cuts are those of --quirks paper.
	request.Mode = c.Options["mode"]
	request.Cuts = cmp.Or(c.Options["cuts"], CutsPublished)
	if c.Batch > 0 {
		request.Batches = []int64{c.Batch}
	}
	if c.Accuracy() { // memory is a model's, of no device and of no run
		request.Backend, request.Precision, request.Device = r.Request.Backend, r.Request.Precision, r.Request.Device
		request.Store, request.FuseNorm, request.ValFraction = r.Request.Store, r.Request.FuseNorm, r.Request.ValFraction
		if r.Scale == published.ScaleSmoke {
			request.Epochs, request.TrainLimit, request.TestLimit = 1, 2048, 1024
		}
	}
	specs, err := request.Expand()
	if err != nil {
		return nil, err
	}
	if r.Scale == published.ScaleReduced {
		for i := range specs {
			specs[i].Epochs = max(1, specs[i].Epochs/10)
			if warmup := recipe(c.Dataset).Warmup; warmup > 0 { // in proportion, so that the peak of the rate is reached
				specs[i].WarmupEpochs = new(int64(warmup / 10))
			}
		}
	}
	return specs, nil
}

// Memories returns a function that is Memory, and plans every spec once.
func (r Reproduction) Memories() func(published.Cell) (float64, error) {
	known := map[string]float64{}
	return func(c published.Cell) (float64, error) { return r.Memory(c, known) }
}

// Memory is our figure of a cell of memory, the bytes of a step or their reduction below those of bp, as the eager model
// predicts it. known keeps the bytes of specs by id, so that a baseline is planned once.
func (r Reproduction) Memory(c published.Cell, known map[string]float64) (float64, error) {
	of := func(c published.Cell) (float64, error) {
		specs, err := r.Specs(c)
		if err != nil {
			return 0, err
		}
		return eagerMemory(specs[0], known)
	}
	own, err := of(c)
	if err != nil || c.Metric != published.MemoryReduction {
		return own, err
	}
	c.Method, c.Modules, c.AuxDepth, c.Options = "bp", 0, 0, nil
	bp, err := of(c)
	if err != nil {
		return 0, err
	}
	return 1 - own/bp, nil
}

// eagerMemory is what an eager framework would report of a step of a spec: with the quirks of the published programs, the
// peak of the first step, in which they search for algorithms.
func eagerMemory(s results.Spec, known map[string]float64) (float64, error) {
	id := results.SpecID(s)
	if bytes, ok := known[id]; ok {
		return bytes, nil
	}
	r, err := Build(s)
	if err != nil {
		return 0, err
	}
	p, ok, err := r.PredictEager()
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, fmt.Errorf("%s: there is no prediction for precision %s", id, s.Precision)
	}
	bytes := p.AllocatedBytes
	if s.Quirks == QuirksPaper {
		bytes = p.SearchedBytes
	}
	known[id] = float64(bytes)
	return known[id], nil
}

package suite

import (
	"errors"
	"fmt"

	"github.com/localbench/localbench/results/planbook"
)

// Roofline is what a step would take on a GPU that reaches the rates of its data sheet: each op
// takes as long as its operations at the arithmetic's rate, or as its bytes at the memory's, whichever is
// longer, and one op follows the other (Williams, Waterman, Patterson: Roofline, CACM 2009).
// Each operand is read once and each result written once. It is no prediction: kernels stay behind it, and
// what a cache keeps for the next op may beat it.
type Roofline struct {
	FLOPs, Bytes       int64
	Arithmetic, Memory float64 // seconds of all operations, and of all bytes
	Seconds            float64 // op by op
}

// Roofline is that of the planned step.
func (c *Compiled) Roofline(r planbook.Rates) (f Roofline, err error) {
	rate := r.FLOPs[c.Spec.Precision]
	if rate == 0 {
		return f, fmt.Errorf("rates: none for precision %s", c.Spec.Precision)
	}
	if c.Step.Graph.Lanes() > 1 {
		return f, errors.New("rates: with modules side by side ops do not follow each other")
	}
	for _, op := range c.Step.Graph.Ops {
		f.FLOPs += op.FLOPs()
		f.Bytes += op.Bytes()
		f.Seconds += max(float64(op.FLOPs())/rate, float64(op.Bytes())/r.Bytes)
	}
	f.Arithmetic, f.Memory = float64(f.FLOPs)/rate, float64(f.Bytes)/r.Bytes
	return f, nil
}

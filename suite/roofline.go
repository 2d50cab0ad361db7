package suite

import (
	"errors"
	"fmt"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/planbook"
)

// Roofline is that of the planned step, without the number of steps of an epoch. Each operand is read once and each result
// written once. It is no prediction: kernels stay below it, and what a cache keeps for the next op may be faster.
func (c *Compiled) Roofline(r planbook.Rates) (f results.Roofline, err error) {
	rate := r.FLOPs[c.Spec.Precision]
	if rate == 0 {
		return f, fmt.Errorf("rates: none for precision %s", c.Spec.Precision)
	}
	if c.Step.Graph.Streams() > 1 {
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

package methods

import (
	"fmt"
	"math"

	"github.com/localbench/localbench/core/model"
)

// checkpoint is back-propagation that keeps the output of every segment-th unit
// only and recomputes the activations between them (Chen, Xu, Zhang, Guestrin, 2016).
// Its results are bitwise equal to those of bp.
func checkpoint(n *model.Network, o Options) ([]model.Stage, error) {
	segment := o.Segment
	if segment == 0 {
		segment = int(math.Round(math.Sqrt(float64(len(n.Units)))))
	}
	if segment < 1 || segment > len(n.Units) {
		return nil, fmt.Errorf("checkpoint: --segment %d: must be 1 to %d: the network has %d units",
			segment, len(n.Units), len(n.Units))
	}
	return []model.Stage{{Units: n.Units, Losses: n.HeadLosses, Classifier: true, Segment: segment}}, nil
}

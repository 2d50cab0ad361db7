package methods

import "github.com/localbench/localbench/core/model"

// backPropagation trains the network as one module with its own head: the baseline
// that every local method is compared with.
func backPropagation(n *model.Network, _ Options) ([]model.Stage, error) {
	return []model.Stage{{Units: n.Units, Losses: n.HeadLosses, Classifier: true}}, nil
}

package methods

import "github.com/localbench/localbench/core/model"

// backPropagation is the network as one module with its own head: what every
// local method is held against.
func backPropagation(n *model.Network, _ Options) ([]model.Stage, error) {
	return []model.Stage{{Units: n.Units, Losses: n.HeadLosses, Classifier: true}}, nil
}

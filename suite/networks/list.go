// Package networks is the registry of architectures: a file a family, a line a
// network. A network is data (model.Network): units that write their own
// forward ops. Shapes follow the data set's images.
package networks

import (
	"fmt"
	"strings"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// Entry is one network that can be asked for by name.
type Entry struct {
	Name  string
	About string // one line for lists
	// New builds it for images of the shape [H W C] and a number of classes.
	New func(name string, image graph.Shape, classes int64) *model.Network
}

// List returns the networks in table order.
func List() []Entry {
	return []Entry{
		{"resnet20", "CIFAR ResNet, 10 units, 3 basic blocks a stage", cifarResNet(3)},
		{"resnet32", "CIFAR ResNet, 16 units, 5 basic blocks a stage", cifarResNet(5)},
		{"resnet56", "CIFAR ResNet, 28 units, 9 basic blocks a stage", cifarResNet(9)},
		{"resnet110", "CIFAR ResNet, 55 units, 18 basic blocks a stage", cifarResNet(18)},
	}
}

// New builds the network of that name. The error of an unknown name lists the
// known ones.
func New(name string, image graph.Shape, classes int64) (*model.Network, error) {
	var known []string
	for _, e := range List() {
		if e.Name == name {
			return e.New(name, image, classes), nil
		}
		known = append(known, e.Name)
	}
	return nil, fmt.Errorf("network: got %q, want one of %s", name, strings.Join(known, ", "))
}

package methods_test

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

// A method cuts a network into stages, which are data.
func ExampleFind() {
	n, err := networks.New("resnet20", graph.Shape{32, 32, 3}, 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := methods.Find("auglocal")
	if err != nil {
		fmt.Println(err)
		return
	}
	stages, err := m.Stages(n, methods.Options{AuxDepth: 2})
	fmt.Println(len(n.Units), "units,", len(stages), "modules", err)
	// Output: 10 units, 8 modules <nil>
}

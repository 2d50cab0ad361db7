package plan_test

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/plan"
)

// A graph goes in, an offset for every value comes out, before anything is allocated.
func ExampleNew() {
	b := graph.NewBuilder(false)
	x := b.Input("x", graph.Shape{1, 8, 8, 4}, graph.TypeF32) // 1024 bytes
	y := b.AdaptiveAveragePool(x, 4, 4)                       // 256 bytes
	b.Output(b.AdaptiveAveragePool(y, 1, 1))                  // 16 bytes
	g, err := b.Graph()
	if err != nil {
		fmt.Println(err)
		return
	}
	layout, err := plan.New(g, nil, plan.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("planned peak:", layout.PeakBytes, "bytes") // x and y, during the first op
	fmt.Println("checked:", layout.Check(g, nil) == nil)
	// Output:
	// planned peak: 1280 bytes
	// checked: true
}

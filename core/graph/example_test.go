package graph_test

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
)

// A builder keeps its first error and ignores what follows, so code that writes ops checks nothing.
func ExampleBuilder() {
	b := graph.NewBuilder(false)
	x := b.Input("x", graph.Shape{2, 8, 8, 3}, graph.TypeF32)
	y := b.Input("y", graph.Shape{2, 4, 4, 3}, graph.TypeF32)
	b.Output(b.ReLU(b.Add(x, y))) // shapes differ
	_, err := b.Graph()
	fmt.Println(err != nil)
	// Output: true
}

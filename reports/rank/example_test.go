package rank_test

import (
	"fmt"

	"github.com/localbench/localbench/reports/rank"
)

// A marks only what the test can tell apart: the first two methods share the best mark.
func ExampleBest() {
	accuracy := [][]float64{
		{0.931, 0.933, 0.930, 0.934, 0.932},
		{0.930, 0.932, 0.933, 0.931, 0.929},
		{0.912, 0.911, 0.913, 0.910, 0.914},
	}
	fmt.Println(rank.Best(accuracy, false))
	// Output: [true true false]
}

// Pairs that were measured in turns: the load of the machine changes both values of a pair and cancels.
func ExampleComparePairs() {
	old := []float64{1.00, 2.10, 1.45, 3.20, 1.10, 1.95, 2.60, 1.30, 1.75}
	slower := []float64{1.10, 2.32, 1.59, 3.53, 1.20, 2.15, 2.87, 1.42, 1.93}
	p := rank.ComparePairs(old, slower, true)
	low, high := p.Interval(rank.Alpha)
	fmt.Printf("%+.0f %%, between %+.0f and %+.0f %%, p %.3f\n", 100*p.Change(), 100*low, 100*high, p.P())
	// Output: +10 %, between +10 and +10 %, p 0.004
}

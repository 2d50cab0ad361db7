package meter_test

import (
	"fmt"

	"github.com/localbench/localbench/suite/meter"
)

func ExampleSteps() {
	var steps meter.Steps
	for _, seconds := range []float64{0.2, 0.1, 0.3} {
		steps.Add(seconds)
	}
	summary, ok := steps.Summary()
	fmt.Println(summary.N, summary.Median, ok)
	// Output: 3 0.2 true
}

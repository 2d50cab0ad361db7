package compare_test

import (
	"fmt"

	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/results"
)

// A byte more of planned memory is a regression.
func ExampleRun() {
	record := func(bytes int64) results.Record {
		return results.Record{Status: results.StatusDone, Spec: results.Spec{Method: "bp", Network: "resnet20",
			Dataset: "cifar10", Seed: 1}, Memory: results.Memory{PlannedPeakBytes: &bytes}}
	}
	c := compare.Run([]results.Record{record(1000)}, []results.Record{record(1001)}, compare.Defaults(), "planned_peak")
	fmt.Println(len(c.Worst(compare.Regression)))
	// Output: 1
}

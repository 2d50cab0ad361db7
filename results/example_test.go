package results_test

import (
	"fmt"
	"os"

	"github.com/localbench/localbench/results"
)

// A record is written beside its place and renamed, and is found by the hash of its spec.
func ExampleWrite() {
	dir, err := os.MkdirTemp("", "records")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	spec := results.Spec{Method: "bp", Network: "resnet20", Dataset: "cifar10", Batch: 128, Precision: "f32", Backend: "cpu",
		Seed: 1, Epochs: 1}
	if err := results.Write(dir, results.Record{Spec: spec, Status: results.StatusDone}); err != nil {
		fmt.Println(err)
		return
	}
	record, err := results.Read(results.Path(dir, results.SpecID(spec)))
	fmt.Println(record.Spec.Network, record.Status, err)
	// Output: resnet20 done <nil>
}

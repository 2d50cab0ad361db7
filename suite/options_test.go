package suite

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
)

// A stored option that cannot be read stops a run before anything is built.
func TestStoredOptionsAreChecked(t *testing.T) {
	s := results.Spec{Method: "bp", Network: "resnet20", Dataset: "synthetic", Batch: 4, Precision: "f32", Backend: "cpu", Epochs: 1,
		Options: map[string]string{"overlap": "x"}}
	_, compile := Compile(s)
	_, build := Build(s)
	for _, err := range []error{compile, build} {
		if err == nil || !strings.Contains(err.Error(), `option overlap: "x": must be a whole number of at least 1`) {
			t.Errorf("got %v", err)
		}
	}
}

// Two bad values give the same error each time.
func TestFirstOfTwoErrors(t *testing.T) {
	for range 20 {
		_, err := Request{Settings: results.Settings{Overlap: -1}, Epochs: -2, TrainLimit: -3, TestLimit: -4, Threads: -5,
			Device: -6}.Expand()
		if err == nil || !strings.HasPrefix(err.Error(), "--epochs") {
			t.Fatalf("got %v, want the first in the order of the flags: epochs", err)
		}
	}
}

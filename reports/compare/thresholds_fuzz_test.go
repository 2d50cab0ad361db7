package compare

import (
	"math"
	"testing"

	"github.com/localbench/localbench/yamlfile"
)

// FuzzThresholds reads files of thresholds: what is taken are numbers.
func FuzzThresholds(f *testing.F) {
	f.Add([]byte("memory: 0%\nstep_time: 5%\ntop1: -0.5pp\n"))
	f.Add([]byte("top1: 5%\n"))
	f.Add([]byte("step_time: NaN%\n"))
	f.Add([]byte("arena: 1e999%\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := yamlfile.Parse("f.yaml", text)
		thresholds := Defaults()
		if err == nil {
			err = thresholds.setAll("f.yaml", entries)
		}
		if err != nil {
			return // its text goes through printable.Line before it is shown
		}
		for metric, x := range thresholds {
			if math.IsNaN(x) || math.IsInf(x, 0) || x < 0 {
				t.Errorf("%s: got %g", metric, x)
			}
		}
	})
}

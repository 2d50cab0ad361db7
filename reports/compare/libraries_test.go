package compare

import (
	"maps"
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
)

// TestLibrariesApart: times of other versions of a library, of other instruction sets, and of records that do not name them
// are not compared, whichever repetition it is; what is exact is.
func TestLibrariesApart(t *testing.T) {
	side := func(backend string, change map[string]string, at uint64) (records []results.Record) {
		for seed := range uint64(6) {
			r := record("net", seed, 1000, 1+0.001*float64(seed))
			r.Spec.Backend = backend
			if backend == "cuda" {
				r.Environment.Libraries = map[string]string{"cuDNN": "9.19.1", "cuBLAS": "13.1.2", "device": "one"}
			}
			if seed == at {
				maps.Copy(r.Environment.Libraries, change)
				maps.DeleteFunc(r.Environment.Libraries, func(_, version string) bool { return version == "" })
			}
			records = append(records, r)
		}
		return records
	}
	for _, c := range []struct {
		name, backend string
		old, new      map[string]string
		want          string // empty: compared
	}{
		{"the same", "cpu", nil, nil, ""},
		{"another fact", "cpu", nil, map[string]string{"threads": "2"}, ""},
		{"another version", "cpu", nil, map[string]string{"oneDNN": "3.2.0"}, "oneDNN 2.6.3 and 3.2.0"},
		{"another instruction set", "cpu", nil, map[string]string{"oneDNN_isa": "avx512_core"},
			"oneDNN's instruction set avx2 and avx512_core"},
		{"own kernels of another one", "cpu", nil, map[string]string{"isa": "avx512f"},
			"instruction set of own kernels avx2 and avx512f"},
		{"the old side does not say", "cpu", map[string]string{"oneDNN": ""}, nil, "oneDNN is not recorded on both sides"},
		{"the new side does not say", "cpu", nil, map[string]string{"oneDNN": ""}, "oneDNN is not recorded on both sides"},
		{"neither says", "cpu", map[string]string{"isa": ""}, map[string]string{"isa": ""},
			"instruction set of own kernels is not recorded on both sides"},
		{"another cuDNN", "cuda", nil, map[string]string{"cuDNN": "9.20.0"}, "cuDNN 9.19.1 and 9.20.0"},
		{"one side without cuDNN", "cuda", nil, map[string]string{"cuDNN": ""}, "cuDNN is not recorded on both sides"},
		{"the reference has none", "reference", map[string]string{"oneDNN": ""}, nil, ""},
	} {
		for _, at := range []uint64{0, 5} { // the first repetition, the last one
			if c.want == "" && at > 0 {
				continue
			}
			got := Run(side(c.backend, c.old, at), side(c.backend, c.new, at), Defaults(), "step_time")
			if text := strings.Join(got.Apart, ""); (text == "") != (c.want == "") || !strings.Contains(text, c.want) {
				t.Errorf("%s, repetition %d: got %q, want %q", c.name, at, text, c.want)
			}
			exact := Run(side(c.backend, c.old, at), side(c.backend, c.new, at), Defaults(), "planned_peak")
			if len(exact.Apart) > 0 || exact.Cells[0].Verdict != Same {
				t.Errorf("%s: planned memory: got %v and %q, want it compared", c.name, exact.Apart, exact.Cells[0].Verdict)
			}
		}
	}
	old, new := side("cpu", nil, 0)[0], side("cpu", map[string]string{"oneDNN": "3.2.0"}, 0)[0]
	if err := Repeatable(new.Environment, []results.Record{old}, new); err == nil ||
		!strings.Contains(err.Error(), "not those of the old records: oneDNN 2.6.3 and 3.2.0") {
		t.Errorf("measured again with another library: got %v, want it refused", err)
	}
}

// TestLibrariesInHistory: times of another version of a library are a series of their own.
func TestLibrariesInHistory(t *testing.T) {
	var all []Revision
	for i, version := range []string{"2.6.3", "2.6.3", "3.2.0", "3.2.0"} {
		r := record("net", 1, 1, 1+float64(i))
		r.Environment.Libraries["oneDNN"] = version
		all = append(all, Revision{Commit: string(rune('a' + i)), Records: []results.Record{r}})
	}
	series := History(all, "step_time", "planned_peak")
	if len(series) != 3 || len(series[0].Points) != 4 || !strings.Contains(series[1].Run, "oneDNN 2.6.3") ||
		!strings.Contains(series[2].Run, "oneDNN 3.2.0") {
		t.Errorf("got %v, want planned memory once, and times twice", series)
	}
}

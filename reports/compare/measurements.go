package compare

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/localbench/localbench/results"
)

// measurements groups the finished records that differ in the seed only, in the order of
// the runs. A copy of a record counts once; copies is the number of omitted copies.
func measurements(records []results.Record) (groups map[string][]results.Record, copies int) {
	groups = map[string][]results.Record{}
	known := map[[sha256.Size]byte]bool{}
	for _, r := range records {
		if r.Status != results.StatusDone {
			continue
		}
		if id, ok := identity(r); ok {
			if known[id] {
				copies++
				continue
			}
			known[id] = true
		}
		groups[results.ExperimentID(r.Spec)] = append(groups[results.ExperimentID(r.Spec)], r)
	}
	for _, group := range groups {
		slices.SortStableFunc(group, func(a, b results.Record) int { return a.Started.Compare(b.Started) })
	}
	return groups, copies
}

// identity is the same for copies of one record: the same settings, started at the same time, with the
// same values. False: the record can't be identified.
func identity(r results.Record) (id [sha256.Size]byte, ok bool) {
	text, err := json.Marshal(struct {
		Spec              results.Spec
		Started, Finished time.Time
		Model             results.Model
		Memory            results.Memory
		Time              results.Time
		Accuracy          results.Accuracy
	}{r.Spec, r.Started, r.Finished, r.Model, r.Memory, r.Time, r.Accuracy})
	if err != nil { // such as a value that is no finite number, which no reader lets through
		return id, false
	}
	return sha256.Sum256(text), true
}

// Machine lists the known differences between the machines of two environments.
func Machine(x, y results.Environment) (differ []string) {
	for _, f := range []struct{ name, a, b string }{
		{"cpu", x.CPU, y.CPU}, {"os", x.OS, y.OS}, {"gpu", x.GPU, y.GPU}, {"driver", x.Driver, y.Driver},
	} {
		if f.a != f.b && f.a != "" && f.b != "" {
			differ = append(differ, fmt.Sprintf("%s %q and %q", f.name, f.a, f.b))
		}
	}
	if x.Threads != nil && y.Threads != nil && *x.Threads != *y.Threads {
		differ = append(differ, fmt.Sprintf("%d and %d threads", *x.Threads, *y.Threads))
	}
	return differ
}

// timedLibraries are the libraries, and the instruction sets, on which the times of a backend depend: their keys in
// Environment.Libraries, and what a sentence calls them.
func timedLibraries(backend string) []struct{ key, name string } {
	switch backend {
	case "cpu":
		return []struct{ key, name string }{{"oneDNN", "oneDNN"}, {"oneDNN_isa", "oneDNN's instruction set"},
			{"isa", "instruction set of own kernels"}}
	case "cuda":
		return []struct{ key, name string }{{"cuDNN", "cuDNN"}, {"cuBLAS", "cuBLAS"}}
	}
	return nil
}

// Timing lists what keeps the times of two records of one experiment from being compared: known differences of their machines,
// libraries of other versions, other instruction sets, and libraries that only one of them names. Every record of the cpu
// backend names its libraries, so one that does not can't be compared.
func Timing(x, y results.Record) (differ []string) {
	differ = Machine(x.Environment, y.Environment)
	for _, l := range timedLibraries(y.Spec.Backend) {
		a, b := x.Environment.Libraries[l.key], y.Environment.Libraries[l.key]
		switch {
		case a == "" && b == "" && y.Spec.Backend != "cpu": // a stand-in without libraries
		case a == "" || b == "":
			return append(differ, fmt.Sprintf("%s is not recorded on both sides", l.name))
		case a != b:
			differ = append(differ, fmt.Sprintf("%s %s and %s", l.name, a, b))
		}
	}
	return differ
}

// apart is Timing of the first pair of records that differ, among all of both sides.
func apart(old, new []results.Record) []string {
	for _, r := range slices.Concat(old, new) {
		if differ := Timing(old[0], r); len(differ) > 0 {
			return differ
		}
	}
	return nil
}

func sortedKeys(m map[string][]results.Record) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

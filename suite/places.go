package suite

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/results"
)

// Place is where one of several runs at a time runs.
type Place struct {
	CPUs []int // processors that no other run uses, as the kernel numbers them; empty: all that this process may use
	GPU  *int  // index of the device; nil: that of the spec
}

// CPU is one processor that this process may use. Processors of one core (hyperthreads) have the same package and core.
type CPU struct{ Number, Package, Core int }

// ShareCores are the places of runs that share the processors.
func ShareCores(jobs int) []Place { return make([]Place, jobs) }

// Places gives each of several runs at a time cores of its own, all hyperthreads of each: the same number to each run. threads is
// the largest number of threads that a run asks for.
func Places(cpus []CPU, jobs int, threads int64) ([]Place, error) {
	cores := map[[2]int][]int{}
	for _, c := range cpus {
		core := [2]int{c.Package, c.Core}
		cores[core] = append(cores[core], c.Number)
	}
	var order [][2]int
	for core, numbers := range cores {
		slices.Sort(numbers)
		order = append(order, core)
	}
	slices.SortFunc(order, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	each := len(order) / jobs
	if each == 0 {
		return nil, fmt.Errorf("%d runs at a time need as many cores, and this process may use %d; --share-cores lets runs share them",
			jobs, len(order))
	}
	places := make([]Place, jobs)
	for i := range places {
		for _, core := range order[i*each : (i+1)*each] {
			places[i].CPUs = append(places[i].CPUs, cores[core]...)
		}
		if n := len(places[i].CPUs); threads > int64(n) {
			return nil, fmt.Errorf("--threads %d: with %d runs at a time each has %s; --share-cores lets runs share them",
				threads, jobs, english.Plural(n, "processor", ""))
		}
	}
	return places, nil
}

// PlacesHere are the places on this machine of runs of specs: jobs at a time, or one for each of the GPUs.
func PlacesHere(specs []results.Spec, jobs int, gpus []int, share bool) ([]Place, error) {
	if len(gpus) > 0 {
		jobs = len(gpus)
		for i, gpu := range gpus {
			if slices.Contains(gpus[:i], gpu) {
				return nil, fmt.Errorf("--gpus: %d is listed twice", gpu)
			}
		}
		if slices.ContainsFunc(specs, func(s results.Spec) bool { return s.Backend != backendCUDA }) {
			return nil, errors.New("--gpus: needs --backend cuda")
		}
	}
	places := ShareCores(jobs)
	if jobs > 1 && !share {
		cpus, err := usableCPUs()
		if err != nil {
			return nil, fmt.Errorf("--jobs: the processors of this machine: %w; --share-cores does without", err)
		}
		threads := int64(0)
		for _, s := range specs {
			threads = max(threads, s.Threads)
		}
		if places, err = Places(cpus, jobs, threads); err != nil {
			return nil, fmt.Errorf("--jobs %d: %w", jobs, err)
		}
	}
	for i := range gpus {
		places[i].GPU = &gpus[i]
	}
	return places, nil
}

// of is the spec as it runs at a place. Which of several equal devices it uses is not part of its id.
func (p Place) of(s results.Spec) results.Spec {
	if p.GPU != nil {
		s.Device = ""
		if *p.GPU > 0 {
			s.Device = strconv.Itoa(*p.GPU)
		}
	}
	return s
}

package figure

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/reports/frontier"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// Bounds of what a figure shows: more could not be distinguished. The legend tells how many are omitted.
const (
	mostLines = 20
	mostBars  = 40
)

// fewer keeps the first elements of a list and returns the number of the others.
func fewer[T any](all []T, most int) (kept []T, more int) {
	if len(all) <= most {
		return all, 0
	}
	return all[:most], len(all) - most
}

// addMore notes in the legend how many elements are not shown, if any.
func (f *Figure) addMore(more int) {
	if more > 0 {
		f.Legend.Add(fmt.Sprintf("and %d more, not shown", more))
	}
}

// Named is a figure with the base of its file name.
type Named struct {
	Name string
	Figure
}

// All draws every figure for which there are records, separately for each network and data set (which then end
// the names), since accuracies and sizes of different ones are not comparable.
func All(records []results.Record) []Named {
	type task struct{ network, dataset string }
	of := map[task][]results.Record{}
	var order []task
	for _, r := range records {
		t := task{r.Spec.Network, r.Spec.Dataset}
		if of[t] == nil {
			order = append(order, t)
		}
		of[t] = append(of[t], r)
	}
	slices.SortFunc(order, func(a, b task) int {
		return cmp.Or(table.CompareNatural(a.network, b.network), table.CompareNatural(a.dataset, b.dataset))
	})
	var out []Named
	for _, t := range order {
		suffix := ""
		if len(order) > 1 {
			suffix = "-" + fileWord(t.network) + "-" + fileWord(t.dataset)
		}
		out = append(out, allOf(of[t], suffix)...)
	}
	return out
}

// fileWord is a name from a record, made safe as part of a file name.
func fileWord(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, name)
}

func allOf(records []results.Record, suffix string) (out []Named) {
	add := func(name string, f Figure, err error) {
		if err == nil {
			out = append(out, Named{name + suffix, f})
		}
	}
	f, err := AccuracyByEpoch(records)
	add("accuracy", f, err)
	f, err = PeakMemory(records)
	add("peak-memory", f, err)
	f, err = AccuracyAgainstMemory(records)
	add("accuracy-against-memory", f, err)
	f, err = StepTime(records)
	add("step-time", f, err)
	f, err = HeadAccuracy(records)
	add("heads", f, err)
	accuracy, memory, err := ByDepth(records)
	add("accuracy-by-depth", accuracy, err)
	add("memory-by-depth", memory, err)
	return out
}

// SaveAll saves all figures of records into a folder, and returns the files.
func SaveAll(records []results.Record, dir string) (files []string, err error) {
	if err := atomicfile.MakeFolder(dir); err != nil {
		return nil, err
	}
	_, _ = atomicfile.RemoveAbandoned(dir) // what processes left that were killed; the plots do not need it
	for _, f := range All(records) {
		saved, err := Save(f.Figure, filepath.Join(dir, f.Name))
		if err != nil {
			return files, err
		}
		files = append(files, saved...)
	}
	return files, nil
}

// SaveFrontiers saves the figure of each task into a folder, and returns the files.
func SaveFrontiers(tasks []frontier.Task, dir string) (files []string, err error) {
	if err := atomicfile.MakeFolder(dir); err != nil {
		return nil, err
	}
	for _, task := range tasks {
		f, err := Frontier(task)
		if err != nil {
			return files, err
		}
		saved, err := Save(f, filepath.Join(dir, "frontier-"+task.Name()))
		files = append(files, saved...)
		if err != nil {
			return files, err
		}
	}
	return files, nil
}

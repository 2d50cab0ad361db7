package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/datasets"
)

func planCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "plan",
		Short: "the memory of a training step, without running or allocating it",
		Long: "plan compiles the training step of every run and prints its memory: exact, and\n" +
			"nothing is allocated. With --fit it finds the largest batch whose arena fits.",
		Example: "  benchctl plan --methods bp,auglocal --networks resnet110 --batch 1024\n  benchctl plan --networks resnet110 --fit 8GiB",
		Args:    noArguments,
	}
	s := addShared(c)
	var budget int64
	define(c.Flags(), "fit", "size", "", "find the largest batch whose arena is at most this large: 512MiB, 8GiB", one(&budget, size))
	c.RunE = func(c *cobra.Command, _ []string) error {
		request, format, err := s.expand(c)
		if err != nil {
			return err
		}
		if budget > 0 && len(request.Batches) == 0 {
			request.Batches = []int64{1}
		}
		specs, err := request.Expand()
		if err != nil {
			return usage(err)
		}
		tables, err := onDevice(specs, func(d engine.Device) ([]table.Table, error) {
			if budget > 0 {
				return fitTable(d, specs, budget)
			}
			return planTables(d, specs)
		})
		if err != nil {
			return usage(err)
		}
		return env.emit(format, answer{tables: tables}, nil)
	}
	return c
}

// onDevice opens the device that all specs name.
func onDevice(specs []results.Spec, use func(engine.Device) ([]table.Table, error)) ([]table.Table, error) {
	d, err := suite.OpenDevice(specs[0])
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	defer d.Close()
	return use(d)
}

// planTables are the sizes of every spec, and what the peaks are made of.
func planTables(d engine.Device, specs []results.Spec) ([]table.Table, error) {
	all := make([]*suite.Compiled, len(specs))
	for i, s := range specs {
		var err error
		if all[i], err = suite.CompileOn(d, s); err != nil {
			return nil, fmt.Errorf("%s: %w", results.SpecID(s), err)
		}
	}
	sizes := table.Table{Title: "Memory of a training step", Columns: append(specColumns(),
		numberColumn("planned_peak_bytes", "planned peak"), numberColumn("arena_bytes", "arena"),
		numberColumn("lower_bound_bytes", "lower bound"), numberColumn("fragmentation_bytes", "fragmentation"), textColumn("peak_op", "peak at"))}
	related := false
	for _, c := range all {
		m, bp := c.Memory, baselineOf(all, c.Spec)
		related = related || bp.PlannedPeakBytes != nil
		sizes.Rows = append(sizes.Rows, append(specCells(c.Spec),
			over(bytesCell(m.PlannedPeakBytes), bp.PlannedPeakBytes), over(bytesCell(m.ArenaBytes), bp.ArenaBytes),
			bytesCell(m.LowerBoundBytes), bytesCell(fragmentation(m)), table.Text(m.PeakOp)))
	}
	if related {
		sizes.Notes = []string{"In brackets: relative to bp with the same network, data set and batch."}
	}
	return []table.Table{sizes, categoryTable(all)}, nil
}

// fragmentation is the part of the arena that is never in use at the peak.
func fragmentation(m results.Memory) *int64 {
	if m.ArenaBytes == nil || m.PlannedPeakBytes == nil {
		return nil
	}
	bytes := *m.ArenaBytes - *m.PlannedPeakBytes
	return &bytes
}

// baselineOf is the memory of bp for the same task; empty for bp itself and where there is none.
func baselineOf(all []*suite.Compiled, s results.Spec) results.Memory {
	for _, c := range all {
		if c.Spec.Method == "bp" && s.Method != "bp" && c.Spec.Network == s.Network && c.Spec.Dataset == s.Dataset && c.Spec.Batch == s.Batch {
			return c.Memory
		}
	}
	return results.Memory{}
}

// categoryTable has a column for each run and a row for each category.
func categoryTable(all []*suite.Compiled) table.Table {
	t := table.Table{Title: "Bytes alive at the peak, by category", Columns: []table.Column{textColumn("category", "category")}}
	names := map[string]int64{}
	for _, c := range all {
		label := c.Spec.Method
		if len(all) > 2 {
			label = strings.TrimSpace(strings.Join([]string{c.Spec.Network, c.Spec.Method, settings(c.Spec)}, " "))
		}
		key := strings.ReplaceAll(results.SpecID(c.Spec), "-", "_") + "_bytes"
		t.Columns = append(t.Columns, numberColumn(key, label))
		for name, bytes := range c.Memory.ByCategory {
			names[name] = max(names[name], bytes)
		}
	}
	byBytes := func(a, b string) int {
		if names[a] != names[b] {
			return cmp.Compare(names[b], names[a])
		}
		return strings.Compare(a, b)
	}
	for _, name := range slices.SortedFunc(maps.Keys(names), byBytes) {
		row := []table.Cell{table.Text(strings.ReplaceAll(name, "_", " "))}
		for _, c := range all {
			bytes := c.Memory.ByCategory[name]
			row = append(row, bytesCell(&bytes))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// settings tells the runs of one method apart.
func settings(s results.Spec) string {
	text := fmt.Sprintf("%s b%d", s.Dataset, s.Batch)
	if s.AuxDepth > 0 {
		text += fmt.Sprintf(" d%d", s.AuxDepth)
	}
	if s.Modules > 0 {
		text += fmt.Sprintf(" K%d", s.Modules)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Options)) {
		text += " " + s.Options[key]
	}
	return text
}

// fitTable finds the largest batch of every spec.
func fitTable(d engine.Device, specs []results.Spec, budget int64) ([]table.Table, error) {
	t := table.Table{Title: "Largest batch whose arena fits into " + table.Bytes(budget), Columns: append(specColumns(),
		numberColumn("planned_peak_bytes", "planned peak"), numberColumn("arena_bytes", "arena"), numberColumn("next_arena_bytes", "arena, one sample more"))}
	t.Notes = []string{"The arena holds the training step; the program, its libraries and the data set come on top."}
	for _, s := range slices.CompactFunc(specs, sameButBatch) {
		entry, err := datasets.Find(s.Dataset)
		if err != nil {
			return nil, err
		}
		found, next, err := fit(int64(entry.TrainSamples), budget, func(batch int64) (results.Memory, error) {
			s.Batch = batch
			c, err := suite.CompileOn(d, s)
			if err != nil {
				return results.Memory{}, fmt.Errorf("%s with batch %d: %w", s.Method, batch, err)
			}
			return c.Memory, nil
		})
		if err != nil {
			return nil, err
		}
		s.Batch = found.batch
		t.Rows = append(t.Rows, append(specCells(s), bytesCell(found.PlannedPeakBytes), bytesCell(found.ArenaBytes), bytesCell(next.ArenaBytes)))
		switch found.batch {
		case 0:
			t.Notes = append(t.Notes, fmt.Sprintf("%s on %s: not even one sample fits.", s.Method, s.Network))
		case int64(entry.TrainSamples):
			t.Notes = append(t.Notes, fmt.Sprintf("%s on %s: all %d training samples of %s fit.", s.Method, s.Network, entry.TrainSamples, s.Dataset))
		}
	}
	return []table.Table{t}, nil
}

func sameButBatch(a, b results.Spec) bool {
	a.Batch, b.Batch = 0, 0
	return results.SpecID(a) == results.SpecID(b)
}

// fitted is a batch and its memory.
type fitted struct {
	batch int64
	results.Memory
}

// fit doubles the batch until it does not fit, then halves the gap: about two
// plans for each binary digit of the answer. Found is the largest batch whose
// arena is within the budget (0: none), next the batch above it, empty if the
// limit of samples stopped the search.
func fit(limit, budget int64, measure func(batch int64) (results.Memory, error)) (found, next fitted, err error) {
	low, high := int64(0), int64(0) // low fits, high does not; 0: not known
	for high != low+1 && low < limit {
		batch := max(1, low*2)
		if high > 0 {
			batch = low + (high-low)/2
		}
		batch = min(batch, limit)
		m, err := measure(batch)
		if err != nil {
			return found, next, err
		}
		if *m.ArenaBytes <= budget {
			low, found = batch, fitted{batch, m}
		} else {
			high, next = batch, fitted{batch, m}
		}
	}
	return found, next, nil
}

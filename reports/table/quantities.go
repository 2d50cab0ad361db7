package table

import (
	"fmt"
	"math"
	"slices"

	"github.com/localbench/localbench/reports/rank"
	"github.com/localbench/localbench/results"
)

// quantity is one measured column of the summary.
type quantity struct {
	column  Column
	of      func(results.Record) *float64
	text    func(mean, sd float64) string // sd is 0 if there is no spread
	ordered int                           // 1: more is better; -1: less is better
	related bool                          // also relative to BP
	exact   bool                          // computed, not measured: the same in every repetition
}

func quantities() []quantity {
	size := func(key, name string, of func(results.Record) *int64) quantity {
		return quantity{Column{Key: key, Name: name, Align: AlignRight}, results.Bytes(of),
			sizeText, -1, true, false}
	}
	planned := func(key, name string, of func(results.Record) *int64) quantity {
		q := size(key, name, of)
		q.exact = true
		return q
	}
	return []quantity{
		{Column{Key: "best_top1", Name: "best top-1", Unit: "%", Align: AlignRight},
			func(r results.Record) *float64 { return r.Accuracy.BestTop1 }, percent, 1, false, false},
		{Column{Key: "last_top1", Name: "last top-1", Unit: "%", Align: AlignRight},
			func(r results.Record) *float64 { return r.Accuracy.LastTop1 }, percent, 1, false, false},
		{Column{Key: "selected_top1", Name: "selected top-1", Unit: "%", Align: AlignRight},
			func(r results.Record) *float64 { return r.Accuracy.SelectedTop1 }, percent, 1, false, false},
		{Column{Key: "best_top5", Name: "best top-5", Unit: "%", Align: AlignRight},
			func(r results.Record) *float64 { return r.Accuracy.BestTop5 }, percent, 1, false, false},
		{Column{Key: "last_top5", Name: "last top-5", Unit: "%", Align: AlignRight},
			func(r results.Record) *float64 { return r.Accuracy.LastTop5 }, percent, 1, false, false},
		planned("planned_peak_bytes", "planned peak", func(r results.Record) *int64 { return r.Memory.PlannedPeakBytes }),
		planned("step_arena_bytes", "step arena", func(r results.Record) *int64 { return r.Memory.StepArenaBytes }),
		planned("arena_bytes", "arena", func(r results.Record) *int64 { return r.Memory.ArenaBytes }),
		size("process_peak_bytes", "process peak", func(r results.Record) *int64 { return r.Memory.ProcessPeakBytes }),
		size("driver_peak_bytes", "driver peak", func(r results.Record) *int64 { return r.Memory.DriverPeakBytes }),
		{Column{Key: "step_seconds", Name: "median step", Unit: "ms", Align: AlignRight},
			medianStep, func(mean, sd float64) string { return number(mean*1e3, sd*1e3) }, -1, true, false},
		{Column{Key: "samples_per_second", Name: "throughput", Unit: "samples/s", Align: AlignRight},
			func(r results.Record) *float64 { return r.Time.SamplesPerSecond }, number, 1, true, false},
		{Column{Key: "epoch_energy_joules", Name: "energy per epoch", Unit: "J", Align: AlignRight}, epochEnergy, number, -1,
			true, false},
	}
}

// epochEnergy is the mean over the epochs with a known GPU energy, evaluation included.
func epochEnergy(r results.Record) *float64 {
	if len(r.GPU.Epochs) == 0 {
		return nil
	}
	sum := 0.0
	for _, e := range r.GPU.Epochs {
		sum += e.EnergyJoules
	}
	return new(sum / float64(len(r.GPU.Epochs)))
}

func medianStep(r results.Record) *float64 {
	if r.Time.StepSeconds == nil {
		return nil
	}
	return &r.Time.StepSeconds.Median
}

func sizeText(mean, sd float64) string {
	if sd == 0 {
		return Bytes(int64(mean + 0.5))
	}
	unit, bytes := ByteUnit(int64(mean + 0.5))
	places := decimals(mean / bytes)
	if unit == "B" {
		places = 0
	}
	return fmt.Sprintf("%.*f ± %.*f %s", places, mean/bytes, places, sd/bytes, unit)
}

func percent(mean, sd float64) string {
	if sd == 0 {
		return Percent(mean)
	}
	return Percent(mean) + " ± " + Percent(sd)
}

// number prints four digits, and the spread with as many decimals.
func number(mean, sd float64) string {
	places := decimals(mean)
	text := Count(int64(math.Round(mean)))
	if places > 0 {
		text = fmt.Sprintf("%.*f", places, mean)
	}
	if sd == 0 {
		return text
	}
	return text + fmt.Sprintf(" ± %.*f", places, sd)
}

// addQuantities adds a column for each quantity that any row has; it reports
// whether any cell has a ratio to BP, and whether any measured one is marked as best.
func addQuantities(t *Table, rows []summaryRow) (related, marked bool) {
	for _, q := range quantities() {
		cells := make([]Cell, len(rows))
		measured := false
		for i, r := range rows {
			cells[i] = q.cell(r)
			measured = measured || cells[i].Number != nil
			related = related || cells[i].Ratio != nil
		}
		if !measured {
			continue
		}
		marked = q.markBest(cells, rows) || marked
		t.Columns = append(t.Columns, q.column)
		if q.column.Key == "arena_bytes" {
			quietStepArena(t, cells)
		}
		for i := range rows {
			t.Rows[i] = append(t.Rows[i], cells[i])
		}
	}
	return related, marked
}

// quietStepArena hides the step arena in formats for people if it equals the arena of all runs.
func quietStepArena(t *Table, arenas []Cell) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Key == "step_arena_bytes" })
	if i < 0 {
		return
	}
	t.Columns[i].Quiet = true
	for row, arena := range arenas {
		if step := t.Rows[row][i]; step.Number != nil && (arena.Number == nil || *step.Number != *arena.Number) {
			t.Columns[i].Quiet = false
		}
	}
}

func (q quantity) cell(r summaryRow) Cell {
	e, ok := r.group.Estimate(q.of)
	if !ok {
		return Cell{}
	}
	c := Number(e.Mean, q.text(e.Mean, e.SD))
	if e.N > 1 {
		c.Spread = &e.SD
	}
	if missing := len(r.group.Records) - int(e.N); missing > 0 {
		c.Text += ", n=" + Count(e.N)
	}
	if r.baseline == nil || !q.related {
		return c
	}
	if base, ok := r.baseline.group.Estimate(q.of); ok && base.Mean > 0 {
		c.Ratio = new(e.Mean / base.Mean)
	}
	return c
}

// markBest marks the best of the finished rows that are comparable: of an exact quantity those with the best value,
// of a measured one all that are tied for the best by the test of package rank. If no row is worse, nothing is
// marked. Accuracies compete across machines. Measured reports whether a measured value was marked.
func (q quantity) markBest(cells []Cell, rows []summaryRow) (measured bool) {
	rivals := map[string][]int{}
	for i, r := range rows {
		if r.done() && cells[i].Number != nil {
			key := r.comparable()
			if !q.related {
				key = r.task()
			}
			rivals[key] = append(rivals[key], i)
		}
	}
	for _, group := range rivals {
		var samples [][]float64
		var means []float64
		for _, i := range group {
			samples = append(samples, rows[i].group.Values(q.of))
			means = append(means, *cells[i].Number)
		}
		if q.exact {
			low, high := slices.Min(means), slices.Max(means)
			best := high
			if q.ordered < 0 {
				best = low
			}
			for k, i := range group {
				cells[i].Best = low != high && means[k] == best
			}
			continue
		}
		for k, best := range rank.Best(samples, q.ordered < 0) {
			cells[group[k]].Best = best
			measured = measured || best
		}
	}
	return measured
}

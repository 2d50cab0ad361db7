// Package planned has the tables of plans and of profiles: sizes and what they are made of, what a budget or overlapping
// modules cost, what an eager framework would report, whether a run holds its plan, and the largest batch that fits.
//
// In go plain data (results.Plan, results.Profile, results.Fit), which package suite makes; out come tables. So the tables
// need no device, and neither the graph nor the network.
package planned

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// relatedNote explains the brackets of a table.
const relatedNote = "In brackets: relative to bp with the same network, data set and batch."

// runColumns are the columns that tell runs apart, followed by more.
func runColumns(more ...table.Column) []table.Column { return append(table.SpecColumns(), more...) }

// addRun adds the row of a plan: its cells for runColumns, followed by more.
func addRun(t *table.Table, p results.Plan, more ...table.Cell) {
	t.AddRow(append(table.SpecCells(p.Spec, p.LocalModules), more...)...)
}

// relative shows bytes, and in brackets what they are relative to those of another run.
func relative(bytes, baseline *int64) table.Cell { return table.Over(table.BytesCell(bytes), baseline) }

// Sizes are the sizes of every plan.
func Sizes(all []results.Plan) table.Table {
	title := "Memory of a training step" + shared(all, optimizer, precision, stored, fusedNorm)
	t := table.Table{ID: "memory", Title: title, Columns: runColumns(
		table.NumberColumn("planned_peak_bytes", "planned peak"),
		table.NumberColumn("step_arena_bytes", "step arena"),
		table.NumberColumn("arena_bytes", "arena"),
		table.NumberColumn("lower_bound_bytes", "lower bound"),
		table.NumberColumn("fragmentation_bytes", "fragmentation"),
		table.TextColumn("peak_op", "peak at"),
	)}
	unknown := slices.ContainsFunc(all, func(p results.Plan) bool { return p.UnknownWorkspaces > 0 })
	if unknown {
		t.Columns = append(t.Columns, table.NumberColumn("unknown_workspaces", "ops without workspace"))
		t.Notes = append(t.Notes, "The workspace of some ops is not known and in none of the figures, which are lower bounds "+
			"for that reason: see the last column.")
	}
	for _, c := range all {
		m, bp := c.Memory, baselineOf(all, c)
		if bp.PlannedPeakBytes != nil && !slices.Contains(t.Notes, relatedNote) {
			t.Notes = append(t.Notes, relatedNote)
		}
		cells := []table.Cell{relative(m.PlannedPeakBytes, bp.PlannedPeakBytes), relative(m.StepArenaBytes, bp.StepArenaBytes),
			relative(m.ArenaBytes, bp.ArenaBytes), table.BytesCell(m.LowerBoundBytes), table.BytesCell(&c.FragmentationBytes),
			table.Text(m.PeakOp)}
		if unknown {
			cells = append(cells, table.CountCell(&c.UnknownWorkspaces))
		}
		addRun(&t, c, cells...)
	}
	return tellApart(t, specsOf(all))
}

// Overlap compares runs whose modules overlap with the same runs with one module after the other; it has no rows where no
// modules overlap.
func Overlap(all []results.Plan) table.Table {
	return without(all, "overlap", table.Table{
		ID:    "overlap",
		Title: "What modules in flight cost",
		Columns: runColumns(
			table.NumberColumn("overlap", "in flight"),
			table.NumberColumn("planned_peak_bytes", "planned peak"),
			table.NumberColumn("step_arena_bytes", "step arena"),
			table.NumberColumn("alone_planned_peak_bytes", "planned peak of one"),
			table.NumberColumn("alone_step_arena_bytes", "step arena of one"),
		),
		Notes: []string{"In brackets: relative to one module after the other. The planned peak is the largest sum of what may be " +
			"alive at the same time."},
	}, func(s results.Settings) table.Cell { return table.PlainCell(int64(s.Overlap)) })
}

// Store compares runs that compress activations for the backward pass with the same runs without; it has no rows where no run
// does.
func Store(all []results.Plan) table.Table {
	return without(all, "store", table.Table{
		ID:    "store",
		Title: "What compressed activations save",
		Columns: runColumns(
			table.TextColumn("store", "stored in"),
			table.NumberColumn("planned_peak_bytes", "planned peak"),
			table.NumberColumn("step_arena_bytes", "step arena"),
			table.NumberColumn("exact_planned_peak_bytes", "planned peak without"),
			table.NumberColumn("exact_step_arena_bytes", "step arena without"),
		),
		Notes: []string{"In brackets: relative to the same run with activations stored as they are. The forward pass is the same to " +
			"the bit; gradients are not."},
	}, func(s results.Settings) table.Cell { return table.Text(s.Store) })
}

// overBudgetNote says why a table has no figures to compare with.
const overBudgetNote = "Where there are no figures without, the run without the option does not fit into its budget."

// without adds to t a row for each plan that has one without a setting: the setting's value, planned peak and step arena, and
// both without it, in bytes, empty where the run without it does not fit into its budget.
func without(all []results.Plan, setting string, t table.Table, value func(results.Settings) table.Cell) table.Table {
	var specs []results.Spec
	for _, p := range all {
		plain, compared := p.Without[setting]
		if !compared {
			continue
		}
		var base results.Memory
		if plain != nil {
			base = plain.Memory
		} else if !slices.Contains(t.Notes, overBudgetNote) {
			t.Notes = append(t.Notes, overBudgetNote)
		}
		m := p.Memory
		addRun(&t, p, value(p.Settings),
			relative(m.PlannedPeakBytes, base.PlannedPeakBytes), relative(m.StepArenaBytes, base.StepArenaBytes),
			table.BytesCell(base.PlannedPeakBytes), table.BytesCell(base.StepArenaBytes))
		specs = append(specs, p.Spec)
	}
	return tellApart(t, specs)
}

// Budget is what runs with a budget pay for it; it has no rows where there are none.
func Budget(all []results.Plan) table.Table {
	t := table.Table{
		ID:    "budget",
		Title: "What fitting into the budget costs",
		Columns: runColumns(
			table.NumberColumn("budget_bytes", "budget"),
			table.NumberColumn("arena_bytes", "arena"),
			table.NumberColumn("free_arena_bytes", "arena without"),
			table.NumberColumn("again", "recomputed"),
			table.NumberColumn("step_flops", "FLOPs of a sample"),
		),
		Notes: []string{
			"The budget bounds the arena: all that the run allocates. In brackets: relative to the same run without a budget.",
			"Recomputed: results of forward ops that the backward pass computes again. The results of the step are the same to " +
				"the bit, unless activations are compressed (--store): then the backward pass recomputes from those.",
		},
	}
	var specs []results.Spec
	for _, p := range all {
		free := p.Without["budget"]
		if free == nil {
			continue
		}
		addRun(&t, p, table.BytesCell(&p.Settings.Budget), relative(p.Memory.ArenaBytes, free.Memory.ArenaBytes),
			table.BytesCell(free.Memory.ArenaBytes), table.CountCell(&p.Recomputed),
			table.Over(table.CountCell(p.Model.FLOPsPerSample.Step), free.Model.FLOPsPerSample.Step))
		specs = append(specs, p.Spec)
	}
	return tellApart(t, specs)
}

// Details are what one plan is made of: the bytes alive at its peak by module and by scope, and the largest values; with
// sparkline also the bytes alive over the step, drawn in block characters.
func Details(p results.Plan, sparkline bool) []table.Table {
	tables := []table.Table{byModule(p), byScope(p), largest(p)}
	if sparkline {
		tables = append(tables, overStep(p))
	}
	return tables
}

// byModule says to which local modules the bytes at the peak belong.
func byModule(p results.Plan) table.Table {
	t := table.Table{
		ID:      "modules",
		Run:     results.SpecID(p.Spec),
		Title:   "Bytes alive at the peak, by local module: " + Label(p.Spec),
		Columns: []table.Column{table.TextColumn("module", "module"), table.NumberColumn("bytes", "bytes")},
	}
	for _, m := range p.Memory.ByModule {
		t.AddRow(table.Text(m.Name), table.BytesCell(&m.Bytes))
	}
	return t
}

// scopeCount is how many scopes a table has; the rest is summed.
const scopeCount = 15

// byScope says to which scopes the bytes at the peak belong.
func byScope(p results.Plan) table.Table {
	t := table.Table{ID: "scopes", Run: results.SpecID(p.Spec), Title: "Bytes alive at the peak, by scope: " + Label(p.Spec),
		Columns: []table.Column{table.TextColumn("scope", "scope"), table.NumberColumn("bytes", "bytes")}}
	rest := int64(0)
	for i, s := range p.ByScope {
		if i >= scopeCount {
			rest += s.Bytes
			continue
		}
		t.AddRow(table.Text(s.Scope), table.BytesCell(&s.Bytes))
	}
	if rest > 0 {
		t.AddRow(table.Text(fmt.Sprintf("%d others", len(p.ByScope)-scopeCount)), table.BytesCell(&rest))
	}
	return t
}

// largest are the largest values at the peak.
func largest(p results.Plan) table.Table {
	t := table.Table{
		ID:    "largest",
		Run:   results.SpecID(p.Spec),
		Title: "Largest values at the peak: " + Label(p.Spec),
		Columns: []table.Column{table.TextColumn("value", "value"),
			table.TextColumn("category", "category"), table.TextColumn("scope", "scope"), table.NumberColumn("bytes", "bytes")},
	}
	for _, v := range p.Memory.Top {
		t.AddRow(table.Text(v.Name), table.Text(v.Category), table.Text(v.Scope), table.BytesCell(&v.Bytes))
	}
	return t
}

// overStep draws the bytes alive over the step in a line of text.
func overStep(p results.Plan) table.Table {
	totals := p.Totals()
	highest := slices.Max(totals)
	t := table.Table{ID: "timeline", Run: results.SpecID(p.Spec), Title: "Bytes alive over the step: " + Label(p.Spec),
		Columns: []table.Column{
			table.TextColumn("timeline", "from the first op to the last"),
			table.NumberColumn("peak_bytes", "highest"),
		},
		Rows: [][]table.Cell{{table.Text(sparkline(totals, 72)), table.BytesCell(&highest)}}}
	if p.Without["overlap"] != nil {
		t.Notes = []string{"In the order of the program. Side by side modules keep more alive: the planned peak."}
	}
	return t
}

// sparkline draws values with the given number of characters; each shows the largest of its share,
// relative to the largest of all.
func sparkline(values []int64, width int) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	width = min(width, len(values))
	highest := slices.Max(values)
	var out []rune
	for i := range width {
		part := slices.Max(values[i*len(values)/width : (i+1)*len(values)/width])
		out = append(out, levels[int(float64(part)/float64(max(highest, 1))*float64(len(levels)-1)+0.5)])
	}
	return string(out)
}

// Categories has a row for each run and a column for each category. People who look at up to three runs, for which a
// terminal has the width, get a row for each category and a column for each run.
func Categories(all []results.Plan, forPeople bool) table.Table {
	t := table.Table{ID: "categories", Title: "Bytes alive at the peak, by category"}
	most := map[string]int64{}
	for _, c := range all {
		for name, bytes := range c.Memory.ByCategory {
			most[name] = max(most[name], bytes)
		}
	}
	key := func(name string) string { return strings.ReplaceAll(name, " ", "_") + "_bytes" }
	cell := func(p results.Plan, name string) table.Cell {
		if p.UnknownWorkspaces > 0 && name == results.CategoryWorkspace {
			return table.Text("not known")
		}
		return table.BytesCell(new(p.Memory.ByCategory[name]))
	}
	if slices.ContainsFunc(all, func(p results.Plan) bool { return p.UnknownWorkspaces > 0 }) {
		most[results.CategoryWorkspace] += 0 // the category is listed
	}
	names := results.Categories() // every category, in a fixed order: a script may count on a column
	if forPeople {
		names = slices.SortedFunc(maps.Keys(most), func(a, b string) int {
			return cmp.Or(cmp.Compare(most[b], most[a]), strings.Compare(a, b))
		})
	}
	if !forPeople || len(all) > 3 {
		t.Columns = table.SpecColumns()
		for _, name := range names {
			t.Columns = append(t.Columns, table.NumberColumn(key(name), name))
		}
		for _, c := range all {
			var cells []table.Cell
			for _, name := range names {
				cells = append(cells, cell(c, name))
			}
			addRun(&t, c, cells...)
		}
		return tellApart(t, specsOf(all))
	}
	t.Columns = []table.Column{table.TextColumn("category", "category")}
	for i, c := range all {
		label := c.Spec.Method
		if len(all) > 2 {
			label = strings.TrimSpace(strings.Join([]string{c.Spec.Network, c.Spec.Method, Settings(c.Spec)}, " "))
		}
		t.Columns = append(t.Columns, table.NumberColumn(fmt.Sprintf("run%d_bytes", i+1), label))
	}
	for _, name := range names {
		row := []table.Cell{table.Text(name)}
		for _, c := range all {
			row = append(row, cell(c, name))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// Settings tells the runs of one method apart.
func Settings(s results.Spec) string {
	text := fmt.Sprintf("%s b%d", s.Dataset, s.Batch)
	if s.AuxDepth > 0 {
		text += fmt.Sprintf(" d%d", s.AuxDepth)
	}
	if s.Modules > 0 {
		text += fmt.Sprintf(" K%d", s.Modules)
	}
	if s.Optimizer != "" {
		text += " " + s.Optimizer
	}
	for _, key := range slices.Sorted(maps.Keys(s.Options)) {
		if key == "network_digest" {
			continue // the name of the file is that of the network
		}
		if _, err := strconv.Atoi(s.Options[key]); err == nil {
			text += " " + key // a number alone says nothing
		}
		text += " " + s.Options[key]
	}
	return text
}

// Label names a run in titles.
func Label(s results.Spec) string { return s.Network + " " + s.Method + " " + Settings(s) }

package diff

import (
	"fmt"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// shownRows is how many modules and how many tensors people get to see.
const shownRows = 20

// Tables are the figures of all runs, and of each run the categories, modules and tensors at the peak that changed. For people
// only the largest changes are listed.
func Tables(all []Diff, forPeople bool) []table.Table {
	tables := []table.Table{figures(all)}
	for _, d := range all {
		about := d.Old.Label + " → " + d.New.Label
		id := results.SpecID(d.New.Plan.Spec)
		if len(d.Categories) > 0 {
			tables = append(tables, table.Table{ID: "against_categories", Run: id, Title: "Bytes at the peak by category: " + about,
				Columns: append([]table.Column{table.TextColumn("category", "category")}, sizeColumns()...),
				Rows:    rows(d.Categories, func(c Change) []table.Cell { return []table.Cell{table.Text(c.Category)} })})
		}
		if !d.Whole || forPeople && len(d.Tensors) == 0 {
			continue
		}
		modules := table.Table{ID: "against_modules", Run: id, Title: "Modules that changed at the peak: " + about,
			Columns: append([]table.Column{table.TextColumn("module", "module")}, sizeColumns()...)}
		tensors := table.Table{ID: "against_tensors", Run: id, Title: "Tensors that changed at the peak: " + about,
			Columns: append([]table.Column{table.TextColumn("tensor", "tensor"), table.TextColumn("category", "category"),
				table.TextColumn("module", "module")}, sizeColumns()...),
			Notes: []string{fmt.Sprintf("Changes of modules, and of tensors, sum to that of the %s. "+
				"The peaks of the two sides may be at different places of the step.", d.peak)}}
		modules.Rows = rows(shorten(d.Modules, forPeople), func(c Change) []table.Cell { return []table.Cell{moduleCell(c)} })
		tensors.Rows = rows(shorten(d.Tensors, forPeople), func(c Change) []table.Cell {
			return []table.Cell{table.Text(c.Name), table.Text(c.Category), moduleCell(c)}
		})
		tables = append(tables, modules, tensors)
	}
	return tables
}

func moduleCell(c Change) table.Cell {
	if c.Module == "" {
		return table.Text("(none)")
	}
	return table.Text(c.Module)
}

// shorten sums what people do not get to see in a last row.
func shorten(all []Change, forPeople bool) []Change {
	if !forPeople || len(all) <= shownRows+1 {
		return all
	}
	var before, after int64
	for _, c := range all[shownRows:] {
		before, after = before+*c.Old, after+*c.New
	}
	name := fmt.Sprintf("%d others", len(all)-shownRows)
	return append(all[:shownRows:shownRows], Change{Name: name, Module: name, Old: &before, New: &after})
}

func figures(all []Diff) table.Table {
	t := table.Table{ID: "against", Title: "Memory against " + all[0].Old.Label, Columns: append([]table.Column{
		table.TextColumn("from", "from"), table.TextColumn("to", "to"), table.TextColumn("figure", "figure")}, sizeColumns()...)}
	told := map[string]bool{}
	for _, d := range all {
		t.Rows = append(t.Rows, rows(d.Figures, func(c Change) []table.Cell {
			return []table.Cell{table.Text(d.Old.Label), table.Text(d.New.Label), table.Text(c.Name)}
		})...)
		if !d.Whole && !told[d.Old.Label] {
			told[d.Old.Label] = true
			t.Notes = append(t.Notes, d.Old.Label+" has totals, not what is alive at the peak: modules and tensors can't be compared.")
		}
		if a, b := d.Old.Plan.Memory.PeakOp, d.New.Plan.Memory.PeakOp; a != "" && b != "" && a != b {
			t.Notes = append(t.Notes, fmt.Sprintf("The planned peak of %s is at %s; of %s at %s.", d.Old.Label, a, d.New.Label, b))
		}
	}
	return t
}

func sizeColumns() []table.Column {
	return []table.Column{table.NumberColumn("old_bytes", "old"), table.NumberColumn("new_bytes", "new"),
		table.NumberColumn("change_bytes", "change"), table.NumberColumn("change_percent", "%")}
}

// rows are the changes with their names in the first cells.
func rows(all []Change, first func(Change) []table.Cell) (rows [][]table.Cell) {
	for _, c := range all {
		row := append(first(c), table.BytesCell(c.Old), table.BytesCell(c.New))
		if c.Old == nil || c.New == nil {
			rows = append(rows, append(row, table.Cell{}, table.Cell{}))
			continue
		}
		change, sign := c.Bytes(), ""
		if change > 0 {
			sign = "+"
		}
		relative := table.Text("new")
		if *c.Old > 0 {
			percent := 100 * float64(change) / float64(*c.Old)
			relative = table.Number(percent, fmt.Sprintf("%+.2f", percent))
		}
		rows = append(rows, append(row, table.Number(float64(change), sign+table.Bytes(change)), relative))
	}
	return rows
}

package planned

import (
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// Isolation is the result of audits: a row for each run, and what breaks the isolation where something does. broken is the
// number of runs that are not isolated.
func Isolation(audits []results.Audit) (tables []table.Table, broken int) {
	all := table.Table{ID: "isolation", Title: "Isolation of local modules", Columns: runColumns(
		table.NumberColumn("local_modules", "local modules"),
		table.NumberColumn("findings", "findings"),
		table.TextColumn("verdict", "verdict"),
	)}
	details := table.Table{
		ID:    "violations",
		Title: "What breaks it",
		Columns: []table.Column{table.TextColumn("run", "run"), table.NumberColumn("module", "module"),
			table.TextColumn("tensor", "tensor"), table.TextColumn("finding", "finding")},
	}
	for _, a := range audits {
		verdict := "isolated"
		if a.Stages == 1 {
			verdict = "one module: nothing to isolate"
		}
		if len(a.Findings) > 0 {
			verdict = "broken"
			broken++
		}
		count := int64(len(a.Findings))
		all.AddRow(append(table.SpecCells(a.Spec, a.LocalModules), table.CountCell(&a.Stages), table.CountCell(&count),
			table.Text(verdict))...)
		for _, f := range a.Findings {
			details.AddRow(table.Text(results.SpecID(a.Spec)), table.CountCell(&f.Module), table.Text(f.Tensor), table.Text(f.What))
		}
	}
	tables = []table.Table{all}
	if len(details.Rows) > 0 {
		tables = append(tables, details)
	}
	return tables, broken
}

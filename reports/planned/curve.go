package planned

import (
	"fmt"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// Curves is what runs cost at several memory budgets, one row a point. Ratios are to the run's own point without a budget.
func Curves(all []results.Curve) table.Table {
	t := table.Table{ID: "curve", Title: "Memory against computation, planned",
		Columns: append(table.SpecColumns(), table.NumberColumn("budget_bytes", "--budget"),
			table.NumberColumn("step_arena_bytes", "step arena"), share("step_arena_share", "of all saved"),
			table.Column{Key: "arena_bytes", Name: "arena", Align: table.AlignRight, Quiet: true},
			table.NumberColumn("lower_bound_bytes", "lower bound"),
			table.NumberColumn("step_flops_per_sample", "FLOPs per sample"), share("flops_share", "of all saved"),
			table.NumberColumn("step_bytes", "bytes moved"), share("step_bytes_share", "of all saved"),
			table.NumberColumn("recomputed", "recomputed"))}
	timed := false
	for _, c := range all {
		for _, p := range c.Points {
			timed = timed || p.Roofline != nil
		}
	}
	if timed {
		t.Columns = append(t.Columns,
			table.Column{Key: "roofline_seconds", Name: "step, at least", Unit: "ms", Align: table.AlignRight})
	}
	var specs []results.Spec
	exact := true
	for _, c := range all {
		first := c.Points[0]
		exact = exact && c.Spec.Options["store"] == ""
		for _, p := range c.Points {
			row := append(table.SpecCells(c.Spec, c.LocalModules), table.Cell{},
				table.BytesCell(&p.StepArenaBytes), shareCell(p.StepArenaBytes, first.StepArenaBytes), table.BytesCell(&p.ArenaBytes),
				table.BytesCell(&p.LowerBoundBytes), table.FLOPsCell(&p.FLOPsPerSample), shareCell(p.FLOPsPerSample, first.FLOPsPerSample),
				table.BytesCell(&p.StepBytes), shareCell(p.StepBytes, first.StepBytes), table.CountCell(&p.Recomputed))
			if p.BudgetBytes > 0 {
				row[len(table.SpecColumns())] = table.Number(float64(p.BudgetBytes), fmt.Sprint(p.BudgetBytes))
			}
			if timed {
				cell := table.Cell{}
				if p.Roofline != nil {
					cell = table.Number(p.Roofline.Seconds, fmt.Sprintf("%.4g", 1e3*p.Roofline.Seconds))
				}
				row = append(row, cell)
			}
			t.Rows, specs = append(t.Rows, row), append(specs, c.Spec)
		}
	}
	bits := "every budget can be given to run: the results have the same bits as without it"
	if !exact {
		bits += ", unless activations are compressed (--store): then the backward pass recomputes from those"
	}
	t.Notes = append(t.Notes,
		"without a budget everything is saved; the last row of each run has the smallest arena that was found; budgets that gave no "+
			"less memory are left out",
		bits,
		"lower bound: no layout of this training step can be smaller; bytes moved: operands and results of all ops",
		"of all saved: compared with the same run without a budget")
	if timed {
		t.Notes = append(t.Notes, "step, at least: the roofline of the GPU; kernels stay below its rates")
	}
	return tellApart(t, specs)
}

// share is a column of percentages of the run without a budget.
func share(key, name string) table.Column {
	return table.Column{Key: key, Name: name, Unit: "%", Align: table.AlignRight}
}

func shareCell(n, all int64) table.Cell {
	x := float64(n) / float64(all)
	return table.Number(x, table.Percent(x))
}

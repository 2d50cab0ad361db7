package progress

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/suite/sweepdir"
)

// mostRows bounds the rows of a table of cells.
const mostRows = 50

// StatusTables show a sweep: how many cells are in each state, those that run, and those that failed or were refused.
func StatusTables(all []sweepdir.Status) []table.Table {
	counts, running, failed := map[sweepdir.State]int{}, statusTable("running", "Running"), statusTable("failed", "Failed")
	running.Columns = append(running.Columns, table.TextColumn("host", "host"), table.TextColumn("epoch", "epoch"),
		table.NumberColumn("seconds_left", "time left"), table.NumberColumn("memory_bytes", "memory"),
		table.NumberColumn("age_seconds", "last sign"))
	failed.Columns = append(failed.Columns, table.TextColumn("state", "state"), table.TextColumn("reason", "reason"))
	left := 0.0
	for _, s := range all {
		counts[s.State]++
		row := []table.Cell{table.Text(s.Spec.Method), table.Text(s.Spec.Network), table.Text(s.Spec.Dataset),
			table.PlainCell(s.Spec.Batch),
			table.Number(float64(s.Spec.Seed), fmt.Sprint(s.Spec.Seed)), table.Text(s.ID)}
		switch s.State {
		case sweepdir.Running:
			left += s.Holder.SecondsLeft
			memory := s.MemoryBytes // that it asked for, until its process was seen
			if s.Holder.MemoryBytes > 0 {
				memory = s.Holder.MemoryBytes
			}
			running.Rows = append(running.Rows, append(row, table.Text(printable.Line(s.Holder.Host)),
				table.Text(fmt.Sprintf("%d of %d", s.Holder.Epoch, s.Holder.Epochs)),
				table.Number(s.Holder.SecondsLeft, (time.Duration(s.Holder.SecondsLeft)*time.Second).String()),
				table.BytesCell(&memory), table.Number(s.Age.Seconds(), s.Age.Round(time.Second).String()+" ago")))
		case sweepdir.Failed, sweepdir.Refused:
			failed.Rows = append(failed.Rows, append(row, table.Text(string(s.State)), table.Text(printable.Line(s.Reason))))
		case sweepdir.Waiting:
			left += s.Seconds
		}
	}
	t := table.Table{ID: "status", Title: english.Plural(len(all), "cell", "")}
	row := []table.Cell{}
	for _, state := range sweepdir.States() {
		t.Columns = append(t.Columns, table.NumberColumn(string(state), string(state)))
		row = append(row, table.Number(float64(counts[state]), fmt.Sprint(counts[state])))
	}
	t.Rows = [][]table.Cell{row}
	if n := counts[sweepdir.Running]; n > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("time left: at most %s, if %s run at a time",
			(time.Duration(left/float64(n))*time.Second).Round(time.Second), english.Plural(n, "cell", "")))
	}
	tables := []table.Table{t}
	for _, more := range []table.Table{running, failed} {
		if n := len(more.Rows); n > mostRows {
			more.Rows = more.Rows[:mostRows]
			more.Notes = append(more.Notes, fmt.Sprintf("and %d more; --all lists every cell", n-mostRows))
		}
		if len(more.Rows) > 0 {
			tables = append(tables, more)
		}
	}
	return tables
}

// AllCells lists every cell with its state.
func AllCells(all []sweepdir.Status) table.Table {
	t := statusTable("cells", "Cells")
	t.Columns = append(t.Columns, table.TextColumn("state", "state"), table.TextColumn("reason", "reason"))
	for _, s := range all {
		t.Rows = append(t.Rows, []table.Cell{table.Text(s.Spec.Method), table.Text(s.Spec.Network), table.Text(s.Spec.Dataset),
			table.PlainCell(s.Spec.Batch), table.Number(float64(s.Spec.Seed), fmt.Sprint(s.Spec.Seed)), table.Text(s.ID),
			table.Text(string(s.State)), table.Text(printable.Line(s.Reason))})
	}
	return t
}

func statusTable(id, title string) table.Table {
	return table.Table{ID: id, Title: title, Columns: []table.Column{table.TextColumn("method", "method"),
		table.TextColumn("network", "network"), table.TextColumn("dataset", "data set"), table.NumberColumn("batch", "batch"),
		table.NumberColumn("seed", "seed"), table.TextColumn("id", "id")}}
}

package page

import (
	"fmt"
	"slices"
	"strings"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// Run is the collapsed section of one run below a page's tables.
type Run struct {
	Label  string // method, network, data set, batch, seed, and the status of a run that did not finish
	ID     string // the record is ID.json
	Tables []table.Table
}

// maxRuns bounds the number of runs with a section, so that a page is small enough for mail.
const maxRuns = 200

// maxLargest is the number of largest values at the peak that a run lists.
const maxLargest = 10

// Runs describes each record: measured quantities, the memory at the peak by category and by module, the largest values
// there, and the accuracy by epoch. It describes the first maxRuns records and returns the number of the others.
func Runs(records []results.Record) (runs []Run, more int) {
	if len(records) > maxRuns {
		records, more = records[:maxRuns], len(records)-maxRuns
	}
	for _, r := range records {
		run := Run{ID: r.ID, Label: fmt.Sprintf("%s %s on %s, batch %d, seed %d",
			r.Spec.Network, r.Spec.Method, r.Spec.Dataset, r.Spec.Batch, r.Spec.Seed)}
		if r.Status != results.StatusDone {
			run.Label += ": " + string(r.Status)
		}
		for _, t := range []table.Table{table.Summary([]results.Record{r}), categories(r), modules(r), largest(r), epochs(r)} {
			if len(t.Rows) > 0 {
				run.Tables = append(run.Tables, t)
			}
		}
		runs = append(runs, run)
	}
	return runs, more
}

// sizes is a table of names and bytes.
func sizes(title, name string, count int, at func(i int) (string, int64)) table.Table {
	t := table.Table{Title: title, Columns: []table.Column{{Key: "name", Name: name},
		{Key: "bytes", Name: "bytes at the peak", Align: table.AlignRight}}}
	for i := range count {
		label, bytes := at(i)
		t.AddRow(table.Text(label), table.Number(float64(bytes), table.Bytes(bytes)))
	}
	return t
}

func categories(r results.Record) table.Table {
	var names []string
	for name, bytes := range r.Memory.ByCategory {
		if bytes > 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := r.Memory.ByCategory[b] - r.Memory.ByCategory[a]; d != 0 {
			return int(max(-1, min(1, d)))
		}
		return strings.Compare(a, b)
	})
	return sizes("Memory at the peak, by category", "category", len(names), func(i int) (string, int64) {
		return strings.ReplaceAll(names[i], "_", " "), r.Memory.ByCategory[names[i]]
	})
}

func modules(r results.Record) table.Table {
	return sizes("Memory at the peak, by local module", "module", len(r.Memory.ByModule), func(i int) (string, int64) {
		return r.Memory.ByModule[i].Name, r.Memory.ByModule[i].Bytes
	})
}

func largest(r results.Record) table.Table {
	return sizes("Largest values at the peak", "value", min(len(r.Memory.Top), maxLargest), func(i int) (string, int64) {
		return r.Memory.Top[i].Name, r.Memory.Top[i].Bytes
	})
}

func epochs(r results.Record) table.Table {
	right := func(key, name string) table.Column {
		return table.Column{Key: key, Name: name, Align: table.AlignRight}
	}
	t := table.Table{Title: "Accuracy by epoch", Columns: []table.Column{right("epoch", "epoch"),
		right("train_loss", "training loss"), right("test_loss", "test loss"), right("test_top1", "test top-1 [%]")}}
	number := func(x *float64, text func(float64) string) table.Cell {
		if x == nil {
			return table.Cell{}
		}
		return table.Number(*x, text(*x))
	}
	loss := func(x float64) string { return fmt.Sprintf("%.4f", x) }
	for _, e := range r.Accuracy.Epochs {
		t.AddRow(table.Number(float64(e.Epoch), fmt.Sprint(e.Epoch)), number(e.TrainLoss, loss), number(e.TestLoss, loss),
			number(e.TestTop1, table.Percent))
	}
	return t
}

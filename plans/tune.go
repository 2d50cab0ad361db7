package plans

import (
	"errors"
	"fmt"
	"os"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results/planbook"
	"github.com/localbench/localbench/suite"
)

// Tune times the convolution engines of runs on this machine's GPU, and stores the fastest in the tuning cache at path, after
// each run. The table counts the new entries.
func Tune(h suite.Host, runs []*suite.Run, path string) (table.Table, error) {
	t := table.Table{ID: "engines", Title: "Tuning cache " + path, Columns: []table.Column{
		table.TextColumn("run", "run"),
		table.TextColumn("gpu", "GPU"),
		table.NumberColumn("new", "new engines"),
	}}
	book, err := planbook.Read(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return t, err
	}
	for _, run := range runs {
		if run.Spec.Backend != "cuda" {
			return t, fmt.Errorf("--backend %s: must be cuda: only its kernels are selected on the device", run.Spec.Backend)
		}
		before := len(book.Entries)
		gpu, err := run.Tune(h, &book)
		if err != nil {
			return t, fmt.Errorf("%s: %w", run.ID(), err)
		}
		if err := book.Write(path); err != nil {
			return t, err
		}
		added := int64(len(book.Entries) - before)
		t.Rows = append(t.Rows, []table.Cell{table.Text(run.ID()), table.Text(gpu), table.CountCell(&added)})
	}
	return t, nil
}

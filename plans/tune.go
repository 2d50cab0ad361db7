package plans

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results/planbook"
	"github.com/localbench/localbench/suite"
)

// Tune times the convolution engines of runs on this machine's GPU, and stores those that it chose in the tuning cache at path,
// after each convolution. It begins none after the limit, unless that is 0. The table counts the new entries, and the
// convolutions that are left.
func Tune(h suite.Host, runs []*suite.Run, path string, limit time.Duration) (table.Table, error) {
	t := table.Table{ID: "engines", Title: "Tuning cache " + path, Columns: []table.Column{
		table.TextColumn("run", "run"),
		table.TextColumn("gpu", "GPU"),
		table.NumberColumn("new", "new engines"),
		table.NumberColumn("left", "left"),
	}}
	book, err := planbook.Read(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return t, err
	}
	if limit < 0 {
		return t, fmt.Errorf("--time-limit %v: must be at least 0", limit)
	}
	deadline := time.Time{}
	if limit > 0 {
		deadline = time.Now().Add(limit)
	}
	for _, run := range runs {
		if run.Spec.Backend != "cuda" {
			return t, fmt.Errorf("--backend %s: must be cuda: only its kernels are selected on the device", run.Spec.Backend)
		}
		tuned, err := run.Tune(h, &book, deadline, func() error { return book.Write(path) })
		if err != nil {
			return t, fmt.Errorf("%s: %w", run.ID(), err)
		}
		if err := book.Write(path); err != nil {
			return t, err
		}
		t.Rows = append(t.Rows, []table.Cell{
			table.Text(run.ID()), table.Text(tuned.GPU), table.CountCell(&tuned.Added), table.CountCell(&tuned.Left),
		})
	}
	return t, nil
}

// Package catalog has the tables of what there is: methods, networks, data sets, devices and baselines.
package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/localbench/localbench/gpu"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/baseline"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/datasets"
)

// Names is a list of names with one line each, and the flags that a method takes if any entry has some.
func Names(id, title string, entries []suite.Listed) table.Table {
	t := table.Table{ID: id, Title: title, Columns: []table.Column{
		table.TextColumn("name", "name"),
		table.TextColumn("about", "what it is"),
	}}
	flags := slices.ContainsFunc(entries, func(e suite.Listed) bool { return len(e.Flags) > 0 })
	if flags {
		t.Columns = append(t.Columns, table.TextColumn("flags", "its flags"))
	}
	for _, e := range entries {
		row := []table.Cell{table.Text(e.Name), table.Text(e.About)}
		if flags {
			row = append(row, table.Text(strings.Join(e.Flags, ", ")))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// Datasets are the data sets with their sizes, licences and origins.
func Datasets() table.Table {
	t := table.Table{ID: "datasets", Title: "Data sets", Columns: []table.Column{
		table.TextColumn("dataset", "data set"),
		table.NumberColumn("classes", "classes"),
		table.TextColumn("image", "image"),
		table.NumberColumn("train_samples", "train"),
		table.NumberColumn("test_samples", "test"),
		table.NumberColumn("archive_bytes", "download"),
		table.TextColumn("licence", "licence"),
		table.TextColumn("origin", "origin"),
	}}
	for _, e := range datasets.List() {
		classes, train, test := int64(e.Classes), int64(e.TrainSamples), int64(e.TestSamples)
		archive := table.Cell{}
		if e.Archive != nil && len(e.Archive.Downloads) > 0 {
			bytes := e.Archive.Bytes()
			archive = table.BytesCell(&bytes)
		}
		t.Rows = append(t.Rows, []table.Cell{
			table.Text(e.Name),
			table.CountCell(&classes),
			table.Text(fmt.Sprintf("%dx%dx%d", e.Height, e.Width, e.Channels)),
			table.CountCell(&train),
			table.CountCell(&test),
			archive,
			table.Text(e.Licence),
			table.Text(e.Origin),
		})
	}
	return t
}

// Devices are the processor, the GPUs of an inventory, and the backends.
func Devices(h suite.Host, found gpu.Inventory) (table.Table, error) {
	t := table.Table{ID: "devices", Title: "Devices", Columns: []table.Column{
		table.TextColumn("device", "device"),
		table.TextColumn("fact", "fact"),
		table.TextColumn("value", "value"),
	}}
	if found.Why != "" {
		t.Notes = append(t.Notes, "GPUs: "+printable.Line(found.Why)+".")
	}
	if len(found.Cards) > 0 {
		t.Notes = append(t.Notes, "GPUs have the driver's numbers, those of nvidia-smi.")
	}
	facts, err := suite.Devices(h, found)
	if err != nil {
		return table.Table{}, fmt.Errorf("backend: %w", err)
	}
	for _, f := range facts {
		value := table.Text(printable.Line(f.Text))
		switch {
		case f.Bytes != nil:
			value = table.BytesCell(f.Bytes)
		case f.Count != nil:
			value = table.CountCell(f.Count)
		}
		t.Rows = append(t.Rows, []table.Cell{table.Text(f.Device), table.Text(f.Name), value})
	}
	return t, nil
}

// Baselines are the baselines in files. Cells name all networks and methods if whole is set, else the first ones. One that
// can't be read has an error instead of a row.
func Baselines(files []string, whole bool) (t table.Table, broken []error) {
	t = table.Table{ID: "baselines", Columns: []table.Column{
		table.TextColumn("name", "baseline"),
		table.NumberColumn("records", "records"),
		table.TextColumn("kind", "kind"),
		table.TextColumn("networks", "networks"),
		table.TextColumn("methods", "methods"),
	}}
	for _, path := range files {
		records, flags, err := baseline.Read(path)
		if err != nil {
			broken = append(broken, err)
			continue
		}
		kind := "measured"
		if _, builtIn := baseline.GPU(path); builtIn || flags != nil {
			kind = "planned"
		}
		name, _ := baseline.Name(path)
		count := int64(len(records))
		t.Rows = append(t.Rows, []table.Cell{
			table.Text(name),
			table.CountCell(&count),
			table.Text(kind),
			distinct(records, whole, func(s results.Spec) string { return s.Network }),
			distinct(records, whole, func(s results.Spec) string { return s.Method }),
		})
	}
	return t, broken
}

// shownNames is how many names a cell has for people.
const shownNames = 2

// distinct is a cell of the distinct values of the records, if not whole only of the first ones.
func distinct(records []results.Record, whole bool, of func(results.Spec) string) table.Cell {
	var all []string
	for _, r := range records {
		all = append(all, of(r.Spec))
	}
	slices.SortFunc(all, table.CompareNatural)
	all = slices.Compact(all)
	if rest := len(all) - shownNames; rest > 0 && !whole {
		return table.Text(fmt.Sprintf("%s and %d more", strings.Join(all[:shownNames], ", "), rest))
	}
	return table.Text(strings.Join(all, ", "))
}

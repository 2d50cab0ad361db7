package table

import (
	"slices"

	"github.com/localbench/localbench/names"
)

// Select returns the tables whose ID is the given one (all if it is empty), with the columns of the given keys in the given
// order (all if keys is empty). A table without any of the columns is omitted. An unknown ID or key is a
// *names.UnknownError.
func Select(tables []Table, id string, keys []string) ([]Table, error) {
	var chosen []Table
	var ids []string
	for _, t := range tables {
		if !slices.Contains(ids, t.ID) {
			ids = append(ids, t.ID)
		}
		if id == "" || t.ID == id {
			chosen = append(chosen, t)
		}
	}
	if len(chosen) == 0 && id != "" {
		return nil, &names.UnknownError{Kind: "table", Name: id, Known: ids}
	}
	if len(keys) == 0 {
		return chosen, nil
	}
	var known []string
	for _, t := range chosen {
		for _, c := range t.Columns {
			if !slices.Contains(known, c.Key) {
				known = append(known, c.Key)
			}
		}
	}
	for _, key := range keys {
		if !slices.Contains(known, key) {
			return nil, &names.UnknownError{Kind: "column", Name: key, Known: known}
		}
	}
	var out []Table
	for _, t := range chosen {
		if narrow := t.withColumns(keys); len(narrow.Columns) > 0 {
			out = append(out, narrow)
		}
	}
	return out, nil
}

// Known divides keys into those of columns of the table and the others.
func (t Table) Known(keys []string) (known, missing []string) {
	for _, key := range keys {
		if t.columnIndex(key) >= 0 {
			known = append(known, key)
		} else {
			missing = append(missing, key)
		}
	}
	return known, missing
}

// withColumns is the table with those of the given columns that it has. A requested column is never quiet.
func (t Table) withColumns(keys []string) Table {
	var columns []int
	for _, key := range keys {
		if i := t.columnIndex(key); i >= 0 {
			columns = append(columns, i)
		}
	}
	out := t.project(columns)
	for i := range out.Columns {
		out.Columns[i].Quiet = false
	}
	return out
}

// columnIndex is the place of the column of a key, or -1.
func (t Table) columnIndex(key string) int {
	return slices.IndexFunc(t.Columns, func(c Column) bool { return c.Key == key })
}

// project is the table with these columns in this order. Columns and rows are copies; cells are shared.
func (t Table) project(columns []int) Table {
	out := t
	out.Columns, out.Rows = nil, make([][]Cell, len(t.Rows))
	for _, i := range columns {
		out.Columns = append(out.Columns, t.Columns[i])
		for j, row := range t.Rows {
			out.Rows[j] = append(out.Rows[j], row[i])
		}
	}
	return out
}

// Single makes one table of an output, for formats that hold one: the first table and, if it describes one run, the tables with
// its ID for the other runs below it, with the run in a column. It also returns the IDs of the omitted tables.
func Single(tables []Table) (one Table, others []string) {
	if len(tables) == 0 {
		return Table{}, nil
	}
	var parts []Table
	for _, t := range tables {
		switch {
		case t.ID == tables[0].ID && sameColumns(t, tables[0]):
			parts = append(parts, t)
		case !slices.Contains(others, t.ID):
			others = append(others, t.ID)
		}
	}
	if len(parts) == 1 {
		return parts[0], others
	}
	one = Table{ID: parts[0].ID, Title: parts[0].Title, Columns: append([]Column{{Key: "run", Name: "run"}}, parts[0].Columns...)}
	for _, t := range parts {
		for _, row := range t.Rows {
			one.Rows = append(one.Rows, append([]Cell{Text(t.Run)}, row...))
		}
		one.Notes = append(one.Notes, t.Notes...)
	}
	return one, others
}

func sameColumns(a, b Table) bool {
	return slices.EqualFunc(a.Columns, b.Columns, func(a, b Column) bool { return a.Key == b.Key })
}

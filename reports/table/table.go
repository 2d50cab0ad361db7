// Package table is one model of a table and a writer for each format.
//
// In goes a Table: columns that know their unit, cells that know the number
// behind their text. Out comes text for a terminal, Markdown, LaTeX, CSV or JSON.
// summary.go makes such a table of the records of runs.
//
// Opinions:
//   - Formats for people (text, Markdown, LaTeX) print a cell's text, formats for
//     programs (CSV, JSON) its number in base units, whose unit stands in the
//     column's key. So nobody parses "43.21 MiB" back into bytes.
//   - Sizes are printed by one function (Bytes): 1024-based, suffix spelled.
//   - Not measured is an empty cell, never 0.
//   - What a reader must know to trust a number is a note below the table, in
//     every format that can hold one.
//
// The list of formats behind one small interface follows hyperfine's exporters.
package table

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// Table is an ID, a title, columns, rows of as many cells, and notes.
type Table struct {
	// ID names the kind of table for programs: lower case, the same in every release. An answer has several tables of
	// one ID where each describes one run: they differ in Run.
	ID string
	// Run is the id of the run that the table describes; empty for a table of several runs.
	Run     string
	Title   string
	Columns []Column
	Rows    [][]Cell
	Notes   []string
}

// Column is what the cells below it have in common.
type Column struct {
	Key   string // for programs: unique, snake case, ends in the base unit (peak_bytes)
	Name  string // for people
	Unit  string // of the cells' text; empty if each cell spells its own, or there is none
	Align Align
	Quiet bool // left out by formats for people, because the title says it
}

// Align says to which side a column's cells are set.
type Align int

// The alignments. Numbers go right, all else left.
const (
	AlignLeft Align = iota
	AlignRight
)

// Cell is one entry. The zero value is an empty cell: not measured.
type Cell struct {
	Text   string   // for people, without the ratio
	Number *float64 // in the base unit of the column's key; nil if there is none
	Spread *float64 // standard deviation of Number over seeds; nil if it is of one run
	Ratio  *float64 // Number over the baseline's number; nil without a baseline
	Best   bool     // the best of those it competes with
}

// Text is a cell without a number.
func Text(s string) Cell { return Cell{Text: s} }

// Number is a cell with a number that text prints.
func Number(x float64, text string) Cell { return Cell{Text: text, Number: &x} }

// String is the cell for people: text, then the ratio in brackets.
func (c Cell) String() string {
	if c.Ratio == nil {
		return c.Text
	}
	return c.Text + " (" + Ratio(*c.Ratio) + ")"
}

// heading is the column's name for people, with its unit.
func (c Column) heading() string {
	if c.Unit == "" {
		return c.Name
	}
	return c.Name + " [" + c.Unit + "]"
}

// check refuses a table whose rows and columns do not fit; every writer calls it
// before its first byte.
func check(tables []Table) error {
	for _, t := range tables {
		keys := map[string]bool{}
		for _, c := range t.Columns {
			if c.Key == "" || keys[c.Key] {
				return fmt.Errorf("table %q: column %q: got key %q, want a key that no other column has", t.Title, c.Name, c.Key)
			}
			keys[c.Key] = true
		}
		for i, row := range t.Rows {
			if len(row) != len(t.Columns) {
				return fmt.Errorf("table %q: row %d: got %d cells, want %d", t.Title, i, len(row), len(t.Columns))
			}
		}
	}
	return nil
}

// ForPeople is the table without its quiet columns.
func (t Table) ForPeople() Table {
	out := Table{ID: t.ID, Run: t.Run, Title: t.Title, Notes: t.Notes, Rows: make([][]Cell, len(t.Rows))}
	for i, c := range t.Columns {
		if c.Quiet {
			continue
		}
		out.Columns = append(out.Columns, c)
		for j, row := range t.Rows {
			out.Rows[j] = append(out.Rows[j], row[i])
		}
	}
	return out
}

// texts makes the headings and the cells of a table for people.
func (t Table) texts(escape func(string) string, cell func(Cell) string) (headings []string, rows [][]string) {
	for _, c := range t.Columns {
		headings = append(headings, escape(c.heading()))
	}
	for _, row := range t.Rows {
		var out []string
		for _, c := range row {
			out = append(out, cell(c))
		}
		rows = append(rows, out)
	}
	return headings, rows
}

// part is one column of a format for programs: a number, its spread or its ratio.
type part struct {
	key    string
	column int
	value  func(Cell) string
}

// parts splits each column into what its cells hold, so that a file for programs
// has one number a field.
func (t Table) parts() []part {
	var out []part
	for i, c := range t.Columns {
		out = append(out, part{c.Key, i, func(c Cell) string {
			if c.Number == nil {
				return c.Text
			}
			return formatNumber(c.Number)
		}})
		for _, extra := range []struct {
			suffix string
			number func(Cell) *float64
		}{
			{"_sd", func(c Cell) *float64 { return c.Spread }},
			{"_vs_bp", func(c Cell) *float64 { return c.Ratio }},
		} {
			for _, row := range t.Rows {
				if extra.number(row[i]) != nil {
					out = append(out, part{c.Key + extra.suffix, i, func(c Cell) string { return formatNumber(extra.number(c)) }})
					break
				}
			}
		}
	}
	return out
}

// formatNumber is the shortest decimal text that reads back as the same number,
// without an exponent for whole numbers (bytes).
func formatNumber(x *float64) string {
	switch {
	case finite(x) == nil:
		return ""
	case *x == float64(int64(*x)):
		return strconv.FormatInt(int64(*x), 10)
	}
	return strconv.FormatFloat(*x, 'g', -1, 64)
}

// writeAll writes the tables to a buffer first, so that a fault in the third
// leaves nothing of the first.
func writeAll(w io.Writer, tables []Table, one func(*bytes.Buffer, Table) error) error {
	if err := check(tables); err != nil {
		return err
	}
	var b bytes.Buffer
	for i, t := range tables {
		if i > 0 {
			b.WriteByte('\n')
		}
		if err := one(&b, t.Printable()); err != nil {
			return err
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// MarshalJSON writes the table as the json format does, so that it can be a part
// of a larger answer.
func (t Table) MarshalJSON() ([]byte, error) { return json.Marshal(jsonTable(t)) }

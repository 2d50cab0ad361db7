// Package table is one model of a table and a writer for each format.
//
// The input is a Table: columns with their units, cells with their text and their
// number. The output is text for a terminal, Markdown, LaTeX, CSV or JSON.
// summary.go makes such a table of the records of runs.
//
// Rules:
//   - Formats for people (text, Markdown, LaTeX) print a cell's text, formats for
//     programs (CSV, JSON) its number in base units; the unit is in the
//     column's key. So programs need not parse "43.21 MiB".
//   - Sizes are printed by one function (Bytes): 1024-based, with the unit.
//   - A value that was not measured is an empty cell, never 0.
//   - Notes below the table, in every format that supports them, explain the
//     limits of its numbers.
//
// One small interface for all formats follows hyperfine's exporters.
package table

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Table has an ID, a title, columns, rows with one cell per column, and notes.
type Table struct {
	// ID names the kind of table for programs: lower case, the same in every release. An output has several tables with
	// the same ID if each describes one run: they differ in Run.
	ID string
	// Run is the id of the run that the table describes; empty for a table of several runs.
	Run     string
	Title   string
	Columns []Column
	Rows    [][]Cell
	Notes   []string
}

// AddRow adds a row: a cell for each column.
func (t *Table) AddRow(cells ...Cell) { t.Rows = append(t.Rows, cells) }

// Only returns the table with the columns of these keys, in their order in t.
func (t Table) Only(keys ...string) Table {
	columns, rows := t.Columns, t.Rows
	t.Columns, t.Rows = nil, make([][]Cell, len(rows))
	for i, c := range columns {
		if !slices.Contains(keys, c.Key) {
			continue
		}
		t.Columns = append(t.Columns, c)
		for k, row := range rows {
			t.Rows[k] = append(t.Rows[k], row[i])
		}
	}
	return t
}

// Column describes the cells of a column.
type Column struct {
	Key   string // for programs: unique, snake case, ends in the base unit (peak_bytes)
	Name  string // for people
	Unit  string // of the cells' text; empty if the text contains it, or without a unit
	Align Align
	Quiet bool // left out by formats for people, because the title says it
}

// Align is the side to which a column's cells are aligned.
type Align int

// The alignments: numbers right, all else left.
const (
	AlignLeft Align = iota
	AlignRight
)

// Cell is one entry. The zero value is an empty cell: not measured.
type Cell struct {
	Text   string   // for people, without the ratio
	Number *float64 // in the base unit of the column's key; nil for text
	Spread *float64 // standard deviation of Number over seeds; nil if it is of one run
	Ratio  *float64 // Number over the baseline's number; nil without a baseline
	Best   bool     // the best of those it competes with
}

// Text is a cell without a number.
func Text(s string) Cell { return Cell{Text: s} }

// Number is a cell with a number and its text.
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

// check returns an error if rows and columns do not match; every writer calls it
// before it writes.
func check(tables []Table) error {
	for _, t := range tables {
		keys := map[string]bool{}
		for _, c := range t.Columns {
			if c.Key == "" || keys[c.Key] {
				return fmt.Errorf("table %q: column %q: its key %q is also that of another column", t.Title, c.Name, c.Key)
			}
			keys[c.Key] = true
		}
		for i, row := range t.Rows {
			if len(row) != len(t.Columns) {
				return fmt.Errorf("table %q: row %d: %d cells for %d columns", t.Title, i, len(row), len(t.Columns))
			}
		}
	}
	return nil
}

// ForPeople is the table without its quiet columns.
func (t Table) ForPeople() Table {
	var columns []int
	for i, c := range t.Columns {
		if !c.Quiet {
			columns = append(columns, i)
		}
	}
	return t.project(columns)
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

// parts splits each column into number, spread and ratio, so that a file for programs
// has one number per field.
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

// writeAll writes the tables to a buffer first, so that an error in one
// leaves no partial output.
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

// MarshalJSON writes the table as the json format does, so that it can be part
// of a larger document.
func (t Table) MarshalJSON() ([]byte, error) { return json.Marshal(jsonTable(t)) }

package table

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// text is for terminals. The best cells are marked with a star.
type text struct {
	columns int // of the terminal; 0: no limit
}

// ForTerminal is the format table for a terminal of the given width. A wider table with few
// rows is printed transposed: one line per column, with as many rows next to each other as
// fit.
func ForTerminal(columns int) Format { return text{columns} }

// Bounds of a transposed table.
const (
	maxOnSide = 8  // rows; more are easier to read as lines that wrap
	sideWrap  = 30 // columns from which on a cell goes on in the next line, at a blank
)

func (text) Name() string      { return "table" }
func (text) Extension() string { return ".txt" }

func (f text) Write(w io.Writer, tables ...Table) error {
	return writeAll(w, tables, func(b *bytes.Buffer, t Table) error {
		t = t.ForPeople()
		if t.Title != "" {
			fmt.Fprintln(b, f.wrap(t.Title))
		}
		marked := false
		headings, rows := t.texts(func(s string) string { return s }, func(c Cell) string {
			if c.Best {
				marked = true
				return c.String() + " *"
			}
			return c.String()
		})
		if err := f.draw(b, t.Columns, headings, rows); err != nil {
			return fmt.Errorf("table %q: %w", t.Title, err)
		}
		if marked {
			fmt.Fprintln(b, "* best of its group")
		}
		for _, note := range t.Notes {
			fmt.Fprintln(b, f.wrap(note))
		}
		return nil
	})
}

// wrap breaks a line of text at the terminal's width.
func (f text) wrap(line string) string {
	if f.columns == 0 {
		return line
	}
	return Wrap(line, f.columns)
}

// draw writes the table, transposed if the terminal is too narrow.
func (f text) draw(b *bytes.Buffer, columns []Column, headings []string, rows [][]string) error {
	var drawn bytes.Buffer
	if err := drawText(&drawn, columns, headings, rows); err != nil {
		return err
	}
	width := widest(drawn.String())
	if f.columns == 0 || width <= f.columns || len(rows) == 0 || len(rows) > maxOnSide ||
		sideWidth(onSide(headings, rows[:1])) >= width {
		_, err := drawn.WriteTo(b)
		return err
	}
	for from := 0; from < len(rows); {
		side := onSide(headings, rows[from:from+1])
		n := 1
		for from+n < len(rows) && sideWidth(onSide(headings, rows[from:from+n+1])) <= f.columns {
			n++
			side = onSide(headings, rows[from:from+n])
		}
		if from > 0 {
			b.WriteByte('\n')
		}
		if err := drawText(b, make([]Column, n+1), side[0], side[1:]); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// onSide transposes: a line for each column that is not empty, and a column for each row.
func onSide(headings []string, rows [][]string) (side [][]string) {
	for i, heading := range headings {
		line := []string{heading}
		for _, row := range rows {
			line = append(line, Wrap(row[i], sideWrap))
		}
		if i == 0 || strings.Join(line[1:], "") != "" {
			side = append(side, line)
		}
	}
	return side
}

// Wrap breaks a text at blanks into lines of at most that many columns of a terminal. A longer word is a line
// by itself.
func Wrap(s string, columns int) string {
	var b strings.Builder
	length := 0
	for i, word := range strings.Fields(s) {
		n := Width(word)
		switch {
		case i == 0:
		case length+1+n > columns:
			b.WriteByte('\n')
			length = 0
		default:
			b.WriteByte(' ')
			length++
		}
		b.WriteString(word)
		length += n
	}
	return b.String()
}

// Width is the number of columns that a text takes on a terminal: two for each wide character, such as Chinese ones, and
// 0 for combining characters.
func Width(s string) int { return twwidth.Width(s) }

// sideWidth is the width that drawText gives to cells: a blank on either side.
func sideWidth(lines [][]string) (width int) {
	for i := range lines[0] {
		most := 0
		for _, line := range lines {
			most = max(most, widest(line[i]))
		}
		width += most + 2
	}
	return width
}

// widest is the width of the widest line.
func widest(s string) (most int) {
	for line := range strings.Lines(s) {
		most = max(most, Width(strings.TrimRight(line, "\n")))
	}
	return most
}

// drawText draws a rule below the head only, so that lines can be copied.
func drawText(w *bytes.Buffer, columns []Column, headings []string, rows [][]string) error {
	var align tw.Alignment
	for _, c := range columns {
		align = append(align, map[Align]tw.Align{AlignLeft: tw.AlignLeft, AlignRight: tw.AlignRight}[c.Align])
	}
	var drawn bytes.Buffer
	writer := tablewriter.NewTable(&drawn,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders: tw.BorderNone,
			Symbols: tw.NewSymbols(tw.StyleLight),
			Settings: tw.Settings{
				Separators: tw.Separators{BetweenColumns: tw.Off, BetweenRows: tw.Off},
				Lines:      tw.Lines{ShowHeaderLine: tw.On},
			},
		})),
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAutoWrap(tw.WrapNone),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithAlignment(align),
	)
	writer.Header(headings)
	if err := writer.Bulk(rows); err != nil {
		return err
	}
	if err := writer.Render(); err != nil {
		return err
	}
	for line := range strings.Lines(drawn.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
	return nil
}

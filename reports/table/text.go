package table

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// text is for terminals. The best cells carry a star.
type text struct{}

func (text) Name() string      { return "table" }
func (text) Extension() string { return ".txt" }

func (text) Write(w io.Writer, tables ...Table) error {
	return writeAll(w, tables, func(b *bytes.Buffer, t Table) error {
		t = t.ForPeople()
		if t.Title != "" {
			fmt.Fprintln(b, t.Title)
		}
		marked := false
		headings, rows := t.texts(func(s string) string { return s }, func(c Cell) string {
			if c.Best {
				marked = true
				return c.String() + " *"
			}
			return c.String()
		})
		if err := drawText(b, t.Columns, headings, rows); err != nil {
			return fmt.Errorf("table %q: %w", t.Title, err)
		}
		if marked {
			fmt.Fprintln(b, "* best of its group")
		}
		for _, note := range t.Notes {
			fmt.Fprintln(b, note)
		}
		return nil
	})
}

// drawText rules the head off and nothing else, so that a line can be copied.
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

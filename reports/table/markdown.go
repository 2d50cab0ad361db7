package table

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// markdown is GitHub's dialect, padded so that the source is readable too.
// The best cells are bold.
type markdown struct{}

func (markdown) Name() string      { return "markdown" }
func (markdown) Extension() string { return ".md" }

func (markdown) Write(w io.Writer, tables ...Table) error {
	return writeAll(w, tables, func(b *bytes.Buffer, t Table) error {
		t = t.ForPeople()
		if t.Title != "" {
			fmt.Fprintf(b, "### %s\n\n", escapeMarkdown(t.Title))
		}
		headings, rows := t.texts(escapeMarkdown, func(c Cell) string {
			s := escapeMarkdown(c.String())
			if c.Best && s != "" {
				return "**" + s + "**"
			}
			return s
		})
		drawMarkdown(b, t.Columns, headings, rows)
		for _, note := range t.Notes {
			fmt.Fprintf(b, "\n%s\n", escapeMarkdown(note))
		}
		return nil
	})
}

func drawMarkdown(b *bytes.Buffer, columns []Column, headings []string, rows [][]string) {
	widths := make([]int, len(columns))
	for _, row := range append([][]string{headings}, rows...) {
		for i, s := range row {
			widths[i] = max(widths[i], 3, Width(s))
		}
	}
	line := func(cells []string) {
		for i, s := range cells {
			pad := strings.Repeat(" ", widths[i]-Width(s))
			if columns[i].Align == AlignRight {
				s = pad + s
			} else {
				s += pad
			}
			b.WriteString("| " + s + " ")
		}
		b.WriteString("|\n")
	}
	line(headings)
	for i, c := range columns {
		rule := strings.Repeat("-", widths[i])
		if c.Align == AlignRight {
			rule = rule[1:] + ":"
		}
		b.WriteString("| " + rule + " ")
	}
	b.WriteString("|\n")
	for _, row := range rows {
		line(row)
	}
}

// escapeMarkdown escapes characters with a meaning in Markdown.
// Underscores within words need no escape in GitHub's dialect.
func escapeMarkdown(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "*", `\*`, "`", "\\`", "<", "&lt;", "&", "&amp;",
		"[", `\[`, "\r\n", "<br>", "\n", "<br>", "\r", "<br>").Replace(s)
}

package table

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
)

// csvFormat is RFC 4180 with line feeds: keys in the first line, numbers in base
// units, spreads and ratios in separate columns (`_sd`, `_vs_bp`). Titles and
// notes are omitted, since readers of CSV do not expect them; an empty line
// separates tables.
type csvFormat struct{}

func (csvFormat) Name() string      { return "csv" }
func (csvFormat) Extension() string { return ".csv" }

func (csvFormat) Write(w io.Writer, tables ...Table) error {
	return writeAll(w, tables, func(b *bytes.Buffer, t Table) error {
		out := csv.NewWriter(b)
		parts := t.parts()
		line := make([]string, len(parts))
		for i, p := range parts {
			line[i] = p.key
		}
		lines := [][]string{line}
		for _, row := range t.Rows {
			line := make([]string, len(parts))
			for i, p := range parts {
				line[i] = p.value(row[p.column])
				if row[p.column].Number == nil {
					line[i] = notFormula(line[i])
				}
			}
			lines = append(lines, line)
		}
		if err := out.WriteAll(lines); err != nil {
			return fmt.Errorf("table %q: %w", t.Title, err)
		}
		return nil
	})
}

package table

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/localbench/localbench/printable"
)

// Printable is printable.Text.
func Printable(s string) string { return printable.Text(s) }

// JSON writes a value as an indented document. It differs from encoding/json in that "<" is written as it is,
// and that unprintable characters (see Printable) are written as escapes, which decode to the same text.
func JSON(w io.Writer, value any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	// The encoder has replaced what is not UTF-8; the remaining ones are within strings.
	var out strings.Builder
	for _, r := range b.String() {
		if printable.Steers(r) && r < 1<<16 {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// Printable is the table with all its texts printable.
func (t Table) Printable() Table {
	out := Table{ID: t.ID, Run: t.Run, Title: Printable(t.Title), Columns: append([]Column{}, t.Columns...),
		Rows: make([][]Cell, len(t.Rows))}
	for i := range out.Columns {
		c := &out.Columns[i]
		c.Key, c.Name, c.Unit = Printable(c.Key), Printable(c.Name), Printable(c.Unit)
	}
	for i, row := range t.Rows {
		for _, c := range row {
			c.Text = Printable(c.Text)
			out.Rows[i] = append(out.Rows[i], c)
		}
	}
	for _, note := range t.Notes {
		out.Notes = append(out.Notes, Printable(note))
	}
	return out
}

// formulaStarts are the characters with which spreadsheets begin a formula (OWASP: CSV injection), in both
// widths.
const formulaStarts = "=+-@\t\r＝＋－＠"

// notFormula is a text cell that no spreadsheet interprets as a formula: a leading apostrophe is added to text
// that begins like one. A number in text, such as -0.5, stays.
func notFormula(s string) string {
	if s == "" || !strings.ContainsAny(string([]rune(s)[:1]), formulaStarts) {
		return s
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return s
	}
	return "'" + s
}

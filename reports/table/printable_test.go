package table_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"github.com/localbench/localbench/reports/table"
)

func TestPrintable(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain, é, 中文, ±, 👍🏽", "plain, é, 中文, ±, 👍🏽"},
		{"two\nlines", "two\nlines"},
		{"a\tb", "a b"},
		{"\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		{"\x1b]0;title\x07", `\x1b]0;title\x07`},
		{"over\rwritten\b\x7f\x00", `over\x0dwritten\x08\x7f\x00`},
		{"one-byte CSI: \u009b31m", `one-byte CSI: \u009b31m`},
		{"\u202egnp.exe", `\u202egnp.exe`},
		{"not UTF-8: \xff\xc3", `not UTF-8: \xff\xc3`},
		{"replaced: \ufffd", `replaced: \ufffd`},
	} {
		if got := table.Printable(c.in); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

// TestHostileTexts writes a table whose every text is hostile: no format lets an escape sequence out, and no
// field of CSV begins a formula, while numbers stay as they are.
func TestHostileTexts(t *testing.T) {
	const evil = "\x1b[2J\u202e"
	hostile := table.Table{Title: evil, Notes: []string{"=" + evil}, Columns: []table.Column{{Key: "method", Name: evil},
		{Key: "bytes", Name: "b", Unit: evil}}, Rows: [][]table.Cell{{table.Text("=cmd|' /C calc'!A0" + evil), table.Number(-5, "-5")}}}
	for _, start := range []string{"+1+1", "-cmd", "@SUM(1)", "\t=1", "\r=1", "＝1", "-0.5", "+3", "plain"} {
		hostile.Rows = append(hostile.Rows, []table.Cell{table.Text(start), table.Number(-0.25, "-0.25")})
	}
	for _, f := range table.Formats() {
		var b bytes.Buffer
		if err := f.Write(&b, hostile); err != nil {
			t.Fatalf("%s: %v", f.Name(), err)
		}
		for _, r := range b.String() {
			if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
				t.Errorf("%s: the character %U reached the output", f.Name(), r)
			}
		}
		if f.Name() == "csv" {
			want := strings.Join([]string{"method,bytes", `'=cmd|' /C calc'!A0\x1b[2J\u202e,-5`, "'+1+1,-0.25", "'-cmd,-0.25",
				"'@SUM(1),-0.25", `" =1",-0.25`, `\x0d=1,-0.25`, "'＝1,-0.25", "-0.5,-0.25", "+3,-0.25", "plain,-0.25", ""}, "\n")
			if b.String() != want {
				t.Errorf("csv: got\n%q\nwant\n%q", b.String(), want)
			}
		}
	}
}

package table_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/localbench/localbench/reports/table"
)

// TestWideCharacters: columns stay in line beside characters that take two columns of a terminal (Unicode's East Asian
// Width), and those that take none. The lines that are wanted were counted by hand.
func TestWideCharacters(t *testing.T) {
	for s, want := range map[string]int{"plain": 5, "中文": 4, "e\u0301": 1} {
		if got := table.Width(s); got != want {
			t.Errorf("%q: got %d columns, want %d", s, got, want)
		}
	}
	wide := table.Table{Columns: []table.Column{{Key: "a", Name: "名"}, {Key: "b", Name: "b"}}}
	for _, s := range []string{"plain", "中文", "e\u0301e\u0301"} {
		wide.Rows = append(wide.Rows, []table.Cell{table.Text(s), table.Text("x")})
	}
	for name, want := range map[string]string{
		"table":    " 名     b\n──────────\n plain  x\n 中文   x\n e\u0301e\u0301     x\n",
		"markdown": "| 名    | b   |\n| ----- | --- |\n| plain | x   |\n| 中文  | x   |\n| e\u0301e\u0301    | x   |\n",
	} {
		f, err := table.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := f.Write(&b, wide); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("%s: got\n%swant\n%s", name, b.String(), want)
		}
	}
}

// TestNotesWrap: on a terminal no line of a title or note is wider than it, unless a word is; elsewhere a note is a line.
func TestNotesWrap(t *testing.T) {
	note := "a note of some words, 中文中文 中文, and a/very/long/path/that/has/no/blank/in/it at the end"
	noted := table.Table{Title: "a title that is long", Columns: []table.Column{{Key: "a", Name: "a"}},
		Rows: [][]table.Cell{{table.Text("1")}}, Notes: []string{note}}
	var terminal, pipe strings.Builder
	if err := errors.Join(table.ForTerminal(20).Write(&terminal, noted), table.ForTerminal(0).Write(&pipe, noted)); err != nil {
		t.Fatal(err)
	}
	want := "a note of some\nwords, 中文中文\n中文, and\na/very/long/path/that/has/no/blank/in/it\nat the end\n"
	if !strings.HasSuffix(terminal.String(), want) {
		t.Errorf("got %q, want it to end with %q", terminal.String(), want)
	}
	if !strings.Contains(pipe.String(), note) {
		t.Errorf("in a pipe: got %q, want the note as one line", pipe.String())
	}
}

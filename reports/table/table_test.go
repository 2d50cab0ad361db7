package table

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// awkward has every character that some format gives a meaning to.
func awkward() Table {
	return Table{
		Title: `100% of <A|B> & "C" $x_1^2$ #{~} \ *bold* [link]`,
		Columns: []Column{
			{Key: "name", Name: "name|of_it"},
			{Key: "peak_bytes", Name: "peak", Align: AlignRight},
			{Key: "seconds", Name: "time", Unit: "ms", Align: AlignRight},
		},
		Rows: [][]Cell{
			{Text("[a] & b_c, \"d\""), {Text: "43.21 MiB", Number: new(45309000.0), Spread: new(0.0), Ratio: new(0.43), Best: true},
				Number(0.0123, "12.3")},
			{Text("two\nlines | *x* `y` \\"), {}, {Text: "1 ± 0.1", Number: new(0.001), Spread: new(0.0001)}},
			{Text("größer"), Number(8e18, "big"), Number(math.NaN(), "?")},
		},
		Notes: []string{"50 % of a_b & c", "second note"},
	}
}

func TestFormatsGolden(t *testing.T) {
	small := Table{Title: "another", Columns: []Column{{Key: "a", Name: "a"}}, Rows: [][]Cell{{Text("1")}}}
	golden(t, "awkward", awkward(), small)
	golden(t, "empty", Table{Title: "nothing", Columns: []Column{{Key: "a", Name: "a"}, {Key: "b", Name: "b", Align: AlignRight}}})
}

func TestCSVReadsBackAsOneNumberAField(t *testing.T) {
	var b bytes.Buffer
	if err := (csvFormat{}).Write(&b, awkward()); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(lines[0], " "), "name peak_bytes peak_bytes_sd peak_bytes_vs_bp seconds seconds_sd"; got != want {
		t.Errorf("got header %s, want %s", got, want)
	}
	if got, want := strings.Join(lines[1][1:], " "), "45309000 0 0.43 0.0123 "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if lines[2][1] != "" || lines[3][1] != "8000000000000000000" {
		t.Errorf("got %q and %q, want empty for not measured and all digits of a size", lines[2][1], lines[3][1])
	}
}

func TestJSONIsOneDocumentAndEmptyCellsAreAbsent(t *testing.T) {
	var b bytes.Buffer
	if err := (jsonFormat{}).Write(&b, awkward(), awkward()); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Tables []struct {
			Rows []map[string]map[string]any
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Tables) != 2 || got.Tables[0].Rows[0]["peak_bytes"]["value"] != 45309000.0 {
		t.Errorf("got %v", got)
	}
	if _, there := got.Tables[0].Rows[1]["peak_bytes"]; there {
		t.Error("a cell that was not measured is in the document")
	}
	if _, there := got.Tables[0].Rows[2]["seconds"]["value"]; there {
		t.Error("a number that is not finite is in the document")
	}
}

func TestWritersRefuseTablesThatDoNotFit(t *testing.T) {
	short, twice := awkward(), awkward()
	short.Rows[1] = short.Rows[1][:2]
	twice.Columns[1].Key = "name"
	for _, f := range Formats() {
		for want, bad := range map[string]Table{"row 1: 2 cells for 3 columns": short, `its key "name"`: twice} {
			var b bytes.Buffer
			if err := f.Write(&b, awkward(), bad); err == nil || !strings.Contains(err.Error(), want) || b.Len() > 0 {
				t.Errorf("%s: got %v and %d bytes, want an error with %q and nothing written", f.Name(), err, b.Len(), want)
			}
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestWritersReportTheStream(t *testing.T) {
	for _, f := range Formats() {
		if err := f.Write(brokenPipe{}, awkward()); err == nil {
			t.Errorf("%s: got no error of a stream that fails", f.Name())
		}
	}
}

func TestLookup(t *testing.T) {
	for _, name := range strings.Split("table,markdown,csv,latex,json", ",") {
		if f, err := Lookup(name); err != nil || f.Name() != name || !strings.HasPrefix(f.Extension(), ".") {
			t.Errorf("%s: got %v, %v", name, f, err)
		}
	}
	if _, err := Lookup("xml"); err == nil ||
		!strings.Contains(err.Error(), `unknown format "xml": Known: table, markdown, csv, latex, json`) {
		t.Errorf("got %v, want what would be right", err)
	}
}

// A table that is wider than the terminal is transposed: as many rows next to each other as there is
// room for, long texts in several lines, and no line of which all cells are empty.
func TestNarrowTerminal(t *testing.T) {
	t1 := Table{Title: "wide", Notes: []string{"a note"}, Columns: []Column{{Key: "m", Name: "method"}, {Key: "d", Name: "d"},
		{Key: "b", Name: "arena", Align: AlignRight}, {Key: "p", Name: "peak at"}}}
	for _, m := range []string{"bp", "dgl", "auglocal"} {
		depth := Cell{}
		if m == "auglocal" {
			depth = Number(2, "2")
		}
		t1.Rows = append(t1.Rows, []Cell{Text(m), depth, {Text: "7 KiB", Best: m == "dgl"},
			Text("an op at a place that has a long name (forward)")})
	}
	write := func(columns int) string {
		var b bytes.Buffer
		if err := ForTerminal(columns).Write(&b, t1); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	want := `wide
 method   bp                           dgl
───────────────────────────────────────────────────────────────────
 arena    7 KiB                        7 KiB *
 peak at  an op at a place that has a  an op at a place that has a
          long name (forward)          long name (forward)

 method   auglocal
──────────────────────────────────────
 d        2
 arena    7 KiB
 peak at  an op at a place that has a
          long name (forward)
* best of its group
a note
`
	for _, columns := range []int{67, 70} {
		if got := write(columns); got != want {
			t.Errorf("%d columns: got\n%s\nwant\n%s", columns, got, want)
		}
	}
	plain := write(0)
	if got := write(71); got != plain {
		t.Errorf("71 columns: got\n%s\nwant it as it is", got)
	}
	for line := range strings.Lines(write(40)) {
		if n := utf8.RuneCountInString(strings.TrimSpace(line)); n > 40 {
			t.Errorf("40 columns: got a line of %d: %s", n, line)
		}
	}
	for range maxOnSide {
		t1.Rows = append(t1.Rows, t1.Rows[0])
	}
	if got := write(60); !strings.Contains(got, "method    d") {
		t.Errorf("many rows: got\n%s\nwant them as lines", got)
	}
}

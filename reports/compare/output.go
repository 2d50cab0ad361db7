package compare

import (
	"bufio"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// mostNamed is the number of measurements that a note names.
const mostNamed = 5

// Tables are the cells that changed, are missing or inconclusive, and a count of the rest;
// with all, every cell.
func (c Comparison) Tables(all bool) []table.Table {
	left := func(key, name string) table.Column { return table.Column{Key: key, Name: name} }
	right := func(key, name string) table.Column {
		return table.Column{Key: key, Name: name, Align: table.AlignRight}
	}
	t := table.Table{ID: "comparison", Title: "New compared with old", Columns: []table.Column{
		left("run", "run"), left("metric", "metric"), right("old", "old"), right("new", "new"),
		right("change", "change"), right("interval", "95 % interval"), right("p", "corrected p"), right("runs", "repetitions"),
		right("smallest", "detectable change"), right("threshold", "threshold"), left("verdict", "verdict"), left("reason", "reason")}}
	counts := map[Verdict]int{}
	for _, cell := range c.Cells {
		counts[cell.Verdict]++
		if cell.Verdict != Same || cell.First != "" || all {
			t.Rows = append(t.Rows, cell.row())
		}
		if cell.Verdict == Regression {
			for _, why := range cell.Why {
				t.Notes = append(t.Notes, cell.Run+": "+why+".")
			}
		}
	}
	summary := english.Plural(len(c.Cells), "cell", "") + ": " + english.Plural(counts[Regression], "regression", "")
	for _, v := range []Verdict{Missing, Inconclusive, Better, Same, Removed} {
		if counts[v] > 0 || v != Removed {
			summary += fmt.Sprintf(", %d %s", counts[v], v)
		}
	}
	t.Notes = append(t.Notes, summary+".")
	for _, f := range c.Fewer {
		t.Notes = append(t.Notes, "Fewer repetitions: "+f+".")
	}
	if c.Copies > 0 {
		t.Notes = append(t.Notes, english.Plural(c.Copies, "copy", "copies")+" of records left out: the same run counts once.")
	}
	if len(c.OnlyNew) > 0 {
		named := strings.Join(c.OnlyNew[:min(len(c.OnlyNew), mostNamed)], ", ")
		if more := len(c.OnlyNew) - mostNamed; more > 0 {
			named += fmt.Sprintf(" and %d more", more)
		}
		t.Notes = append(t.Notes, "Only in new: "+named+".")
	}
	return []table.Table{t}
}

func (c Cell) row() []table.Cell {
	value := func(x float64) table.Cell {
		if c.Unit == "bytes" {
			return table.Number(x, table.Bytes(int64(x)))
		}
		return table.Number(x, strings.TrimSpace(number(x)+" "+c.Unit))
	}
	verdict := string(c.Verdict)
	if c.First != "" {
		verdict += fmt.Sprintf(" (measured again, was: %s)", c.First)
	}
	row := []table.Cell{table.Text(c.Run), table.Text(c.Metric)}
	if c.NewN == 0 { // missing
		old := table.Cell{}
		if c.Metric != Whole {
			old = value(c.Old)
		}
		none := table.Cell{}
		return append(row, old, none, none, none, none, table.Text(fmt.Sprintf("%d, 0", c.OldN)), none, none,
			table.Text(verdict), table.Text(c.reason()))
	}
	interval, p, smallest := table.Text("exact"), table.Cell{}, table.Text("exact")
	if !c.Exact {
		interval = table.Text(c.interval())
		p = table.Number(c.P, fmt.Sprintf("%.3g", c.P))
		smallest = table.Text("none")
		if !math.IsInf(c.Smallest, 0) {
			smallest = table.Number(c.Smallest, c.Percent(c.Smallest))
		}
	}
	return append(row, value(c.Old), value(c.New), table.Number(c.Change, c.Percent(c.Change)), interval, p,
		table.Text(c.repetitions()), smallest, table.Number(c.Threshold, c.Percent(c.Threshold)),
		table.Text(verdict), table.Text(c.reason()))
}

// interval writes the ends of a noisy cell's interval.
func (c Cell) interval() string {
	switch low, high := math.IsInf(c.Low, 0), math.IsInf(c.High, 0); {
	case low && high:
		return "not known"
	case high:
		return "above " + c.Percent(c.Low)
	case low:
		return "below " + c.Percent(c.High)
	}
	return fmt.Sprintf("%s to %s", c.Percent(c.Low), c.Percent(c.High))
}

// repetitions are the numbers of repetitions of both sides, or of pairs.
func (c Cell) repetitions() string {
	if c.Pairs > 0 {
		return english.Plural(c.Pairs, "pair", "")
	}
	return fmt.Sprintf("%d, %d", c.OldN, c.NewN)
}

// Annotations writes a line for each regression and for each missing or inconclusive cell, and a warning where
// repetitions are fewer, in the format of GitHub Actions annotations. Level is that of
// inconclusive cells: error or warning.
func (c Comparison) Annotations(w io.Writer, inconclusive string) error {
	escape := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	line := func(level, text string) error {
		_, err := fmt.Fprintf(w, "::%s title=benchctl compare::%s\n", level, escape.Replace(table.Printable(text)))
		return err
	}
	for _, v := range []struct {
		verdict Verdict
		level   string
	}{{Regression, "error"}, {Missing, "error"}, {Inconclusive, inconclusive}} {
		for _, cell := range c.Worst(v.verdict) {
			if err := line(v.level, cell.sentence()); err != nil {
				return err
			}
		}
	}
	for _, f := range c.Fewer {
		if err := line("warning", "fewer repetitions: "+f); err != nil {
			return err
		}
	}
	return nil
}

type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Failure *junitMessage `xml:"failure"`
		Skipped *junitMessage `xml:"skipped"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the cells as a test suite: a regression and a missing cell are failures, and so is an inconclusive one
// unless tolerant, which skips it; a cell that was removed on purpose is skipped.
func (c Comparison) JUnit(w io.Writer, tolerant bool) error {
	s := junitSuite{Name: "benchctl compare", Tests: len(c.Cells)}
	for _, cell := range c.Cells {
		one := junitCase{Class: cell.Run, Name: cell.Metric}
		message := &junitMessage{Message: cell.sentence()}
		if cell.Verdict == Regression {
			message.Text = strings.Join(cell.Why, "\n")
		}
		switch {
		case cell.Verdict == Regression, cell.Verdict == Missing, cell.Verdict == Inconclusive && !tolerant:
			one.Failure = message
			s.Failures++
		case cell.Verdict == Inconclusive, cell.Verdict == Removed:
			one.Skipped = message
			s.Skipped++
		}
		s.Cases = append(s.Cases, one)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// benchmarkUnits are the quantities of a benchmark line. Planned bytes are exact: one repetition
// is enough.
func benchmarkUnits() []struct {
	unit, about string
	of          func(results.Record) *float64
} {
	bytes := func(of func(results.Record) *int64) func(results.Record) *float64 {
		return func(r results.Record) *float64 { return size(of(r)) }
	}
	return []struct {
		unit, about string
		of          func(results.Record) *float64
	}{
		{"planned-B", "better=lower assume=exact", bytes(func(r results.Record) *int64 { return r.Memory.PlannedPeakBytes })},
		{"step-arena-B", "better=lower assume=exact", bytes(func(r results.Record) *int64 { return r.Memory.StepArenaBytes })},
		{"arena-B", "better=lower assume=exact", bytes(func(r results.Record) *int64 { return r.Memory.ArenaBytes })},
		{"process-B", "better=lower assume=nothing", bytes(func(r results.Record) *int64 { return r.Memory.ProcessPeakBytes })},
		{"top1-%", "better=higher assume=nothing", func(r results.Record) *float64 {
			if r.Accuracy.LastTop1 == nil {
				return nil
			}
			return new(100 * *r.Accuracy.LastTop1)
		}},
	}
}

// Benchmarks writes records in the format of Go's benchmarks, a line a record, so that
// benchstat reads them. The name of a benchmark has the settings that differ between records, except the seed, so
// that only seeds count as repetitions; common settings and the machine are the
// configuration: benchstat does not compare other settings or machines with each other.
func Benchmarks(w io.Writer, records []results.Record) error {
	b := bufio.NewWriter(w)
	for _, u := range benchmarkUnits() {
		fmt.Fprintf(b, "Unit %s %s\n", u.unit, u.about)
	}
	records = slices.DeleteFunc(slices.Clone(records), func(r results.Record) bool { return r.Status != results.StatusDone })
	varying, before := results.Varying(records), map[string]string{}
	for _, r := range records {
		name, configuration := benchmarkSettings(r, varying)
		for _, c := range configuration {
			if before[c.Name] != c.Text {
				before[c.Name] = c.Text
				fmt.Fprintf(b, "%s: %s\n", c.Name, table.Printable(strings.Join(strings.Fields(c.Text), " ")))
			}
		}
		steps := int64(1)
		if r.Time.StepSeconds != nil {
			steps = max(r.Time.StepSeconds.N, 1)
		}
		fmt.Fprintf(b, "%s %d", table.Printable(name), steps)
		if r.Time.StepSeconds != nil {
			fmt.Fprintf(b, " %.0f ns/op", 1e9*r.Time.StepSeconds.Median)
		}
		for _, u := range benchmarkUnits() {
			if x := u.of(r); x != nil {
				fmt.Fprintf(b, " %s %s", strconv.FormatFloat(*x, 'f', -1, 64), u.unit)
			}
		}
		fmt.Fprintln(b)
	}
	return b.Flush()
}

// benchmarkSettings are the name of a record's benchmark, and its configuration.
func benchmarkSettings(r results.Record, varying []string) (name string, configuration []results.Field) {
	s := r.Spec
	name = fmt.Sprintf("BenchmarkStep/network=%s/method=%s/dataset=%s/batch=%d", s.Network, s.Method, s.Dataset, s.Batch)
	short := map[string]string{"aux_depth": "d", "modules": "k", "environment.os": "goos"}
	for _, f := range results.Fields(r) {
		key := cmp.Or(short[f.Name], strings.TrimPrefix(strings.TrimPrefix(f.Name, "options."), "environment."))
		switch place, inEnvironment := f.Name, strings.HasPrefix(f.Name, "environment."); {
		case slices.Contains([]string{"network", "method", "dataset", "batch", "seed", "device"}, place):
		case inEnvironment && !slices.Contains([]string{"environment.os", "environment.cpu", "environment.gpu"}, place):
		case inEnvironment || !results.MethodField(place) && !strings.HasPrefix(place, "options.") && !slices.Contains(varying, place):
			configuration = append(configuration, results.Field{Name: key, Text: f.Text})
		case f.Text != "":
			name += "/" + key + "=" + strings.NewReplacer(" ", "+", "/", "_").Replace(f.Text)
		}
	}
	return name, configuration
}

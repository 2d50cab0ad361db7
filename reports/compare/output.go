package compare

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// mostNamed is how many measurements a note names.
const mostNamed = 5

// Tables are the cells that changed or could not be told, and a count of the rest;
// with all, every cell.
func (c Comparison) Tables(all bool) []table.Table {
	right := func(key, name string) table.Column {
		return table.Column{Key: key, Name: name, Align: table.AlignRight}
	}
	t := table.Table{Title: "New against old", Columns: []table.Column{{Key: "run", Name: "run"}, {Key: "metric", Name: "metric"},
		right("old", "old"), right("new", "new"), right("change", "change"), right("interval", "95 % interval"), right("p", "p, corrected"),
		right("runs", "repetitions"), right("smallest", "could have found"), {Key: "verdict", Name: "verdict"}}}
	counts := map[Verdict]int{}
	for _, cell := range c.Cells {
		counts[cell.Verdict]++
		if cell.Verdict != Same || cell.First != "" || all {
			t.Rows = append(t.Rows, cell.row())
		}
		for _, why := range cell.Why {
			t.Notes = append(t.Notes, cell.Run+": "+why+".")
		}
	}
	t.Notes = append(t.Notes, fmt.Sprintf("%d cells: %d regressions, %d that cannot be told, %d better, %d the same.",
		len(c.Cells), counts[Regression], counts[Undecided], counts[Better], counts[Same]))
	for _, one := range []struct {
		where string
		keys  []string
	}{{"old", c.OnlyOld}, {"new", c.OnlyNew}} {
		if len(one.keys) > 0 {
			named := strings.Join(one.keys[:min(len(one.keys), mostNamed)], ", ")
			if more := len(one.keys) - mostNamed; more > 0 {
				named += fmt.Sprintf(" and %d more", more)
			}
			t.Notes = append(t.Notes, fmt.Sprintf("Only in %s: %s.", one.where, named))
		}
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
	interval, p, smallest := table.Text("exact"), table.Cell{}, table.Cell{}
	if !c.Exact {
		interval = table.Text(fmt.Sprintf("%s to %s", c.Percent(c.Low), c.Percent(c.High)))
		if math.IsInf(c.Low, 0) || math.IsInf(c.High, 0) { // of too few repetitions
			interval = table.Text("not known")
		}
		p = table.Number(c.P, fmt.Sprintf("%.3g", c.P))
		smallest = table.Text(c.Percent(c.Smallest))
	}
	verdict := string(c.Verdict)
	if c.Need > 0 {
		verdict = fmt.Sprintf("%s: want %d repetitions each", c.Verdict, c.Need)
	}
	if c.First != "" {
		verdict += fmt.Sprintf(" (measured again, was: %s)", c.First)
	}
	return []table.Cell{table.Text(c.Run), table.Text(c.Metric), value(c.Old), value(c.New), table.Number(c.Change, c.Percent(c.Change)),
		interval, p, table.Text(fmt.Sprintf("%d, %d", c.OldN, c.NewN)), smallest, table.Text(verdict)}
}

// Annotations writes a line for each regression and each cell that cannot be told, in
// the form that GitHub Actions shows beside a change.
func (c Comparison) Annotations(w io.Writer) error {
	escape := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	for _, v := range []struct {
		verdict Verdict
		level   string
	}{{Regression, "error"}, {Undecided, "warning"}} {
		for _, cell := range c.Worst(v.verdict) {
			text := fmt.Sprintf("%s of %s: %s, was %s (%s)%s", cell.Metric, cell.Run, number(cell.New), number(cell.Old), cell.Percent(cell.Change), cell.since())
			if cell.Need > 0 {
				text = fmt.Sprintf("cannot tell whether %s of %s changed: want %d repetitions each", cell.Metric, cell.Run, cell.Need)
			}
			if _, err := fmt.Fprintf(w, "::%s title=benchctl compare::%s\n", v.level, escape.Replace(text)); err != nil {
				return err
			}
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

// JUnit writes the cells as a test suite: a regression is a failure, a cell that cannot
// be told is skipped.
func (c Comparison) JUnit(w io.Writer) error {
	s := junitSuite{Name: "benchctl compare", Tests: len(c.Cells)}
	for _, cell := range c.Cells {
		one := junitCase{Class: cell.Run, Name: cell.Metric}
		text := &junitMessage{Message: fmt.Sprintf("%s, was %s: %s%s", number(cell.New), number(cell.Old), cell.Percent(cell.Change), cell.since()), Text: strings.Join(cell.Why, "\n")}
		switch cell.Verdict {
		case Regression:
			one.Failure = text
			s.Failures++
		case Undecided:
			text.Message = fmt.Sprintf("cannot tell: %d and %d repetitions, want %d each", cell.OldN, cell.NewN, cell.Need)
			one.Skipped = text
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

// Benchmarks writes records in the format of Go's benchmarks, a line a record, so that
// benchstat reads them.
func Benchmarks(w io.Writer, records []results.Record) error {
	for _, r := range records {
		if r.Status != results.StatusDone {
			continue
		}
		s := r.Spec
		name := fmt.Sprintf("BenchmarkStep/network=%s/method=%s/dataset=%s/batch=%d", s.Network, s.Method, s.Dataset, s.Batch)
		if s.AuxDepth > 0 {
			name += fmt.Sprintf("/d=%d", s.AuxDepth)
		}
		if s.Modules > 0 {
			name += fmt.Sprintf("/k=%d", s.Modules)
		}
		steps := int64(1)
		if r.Time.StepSeconds != nil {
			steps = max(r.Time.StepSeconds.N, 1)
		}
		line := fmt.Sprintf("%s %d", name, steps)
		if r.Time.StepSeconds != nil {
			line += fmt.Sprintf(" %.0f ns/op", 1e9*r.Time.StepSeconds.Median)
		}
		for _, one := range []struct {
			unit  string
			bytes *int64
		}{{"planned-B", r.Memory.PlannedPeakBytes}, {"arena-B", r.Memory.ArenaBytes}, {"process-B", r.Memory.ProcessPeakBytes}} {
			if one.bytes != nil {
				line += fmt.Sprintf(" %d %s", *one.bytes, one.unit)
			}
		}
		if r.Accuracy.LastTop1 != nil {
			line += fmt.Sprintf(" %.4f top1", *r.Accuracy.LastTop1)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

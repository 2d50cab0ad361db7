package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/names"
	"github.com/localbench/localbench/plans"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/table"
)

// answerSchema is the version of the JSON that commands print (docs/output.md). Fields, tables and columns are added without a
// new version; it rises when one of them is removed or changes its meaning.
const answerSchema = 1

// answer is what a command prints on standard output.
type answer struct {
	tables []table.Table
	plots  []string // files that were drawn
	// sentence is the verdict in JSON if there is no error; empty for "ok".
	sentence string
	// What the numbers were computed for: in JSON only, and omitted if empty. One value each, because a command
	// line has one backend and one precision.
	backend, precision, gpu string
}

// output defines how a command prints its results: the format, the tables and the columns.
type output struct {
	table.Format
	name    string
	table   string
	columns []string
}

// addOutput defines the flags of an output. Those of commands that print one table have no --table.
func addOutput(f *pflag.FlagSet, tables ...string) *output {
	o := &output{name: "table"}
	cli.Define(f, "format", "name", o.name, "of the results: table, markdown, csv, latex or json", cli.Word(&o.name))
	if len(tables) > 1 {
		cli.Define(f, "table", "name", "", "print this table only: "+strings.Join(tables, ", "), func(s string) error {
			_, err := names.Find("table", s, tables, func(s string) string { return s })
			o.table = s
			return err
		})
	}
	cli.Define(f, "columns", "keys", "",
		"print these columns only, comma separated, by the keys that --format csv has in its first line", cli.Words(&o.columns))
	return o
}

// metricNames parses the names of columns of the summary.
func metricNames(p *[]string) func(string) error {
	return cli.List(p, func(s string) (string, error) {
		return names.Find("metric", s, table.Metrics(), func(s string) string { return s })
	})
}

// open looks up the format.
func (o *output) open() (err error) {
	o.Format, err = table.Lookup(o.name)
	return usage(err)
}

// answerOf is the answer of plans.
func answerOf(a plans.Answer) answer {
	return answer{tables: a.Tables, plots: a.Plots, backend: a.Backend, precision: a.Precision, gpu: a.GPU}
}

// emit prints the results. As JSON they contain the verdict, so that it is not lost
// with the exit code. CSV has one table; a line on standard error names the others.
func (e Env) emit(o *output, a answer, verdict error) error {
	var err error
	if a.tables, err = table.Select(a.tables, o.table, o.columns); err != nil {
		return usage(err)
	}
	f := o.Format
	switch f.Name() {
	case "table":
		f = table.ForTerminal(e.Columns)
	case "csv":
		one, others := table.Single(a.tables)
		if len(others) > 0 {
			fmt.Fprintf(e.Stderr, "csv: this is the table %s; --table prints another: %s\n", one.ID, strings.Join(others, ", "))
		}
		a.tables = []table.Table{one}
	}
	if f.Name() != "json" {
		return f.Write(e.Stdout, a.tables...)
	}
	out := struct {
		Schema    int           `json:"schema"`
		Version   string        `json:"version"` // of benchctl
		Backend   string        `json:"backend,omitzero"`
		Precision string        `json:"precision,omitzero"`
		GPU       string        `json:"gpu,omitzero"`
		ExitCode  exitCode      `json:"exit_code"`
		Verdict   string        `json:"verdict"`
		Tables    []table.Table `json:"tables"`
		Plots     []string      `json:"plots,omitempty"`
	}{answerSchema, version(), a.backend, a.precision, a.gpu, codeOf(verdict), cmp.Or(a.sentence, "ok"), a.tables, a.plots}
	if verdict != nil {
		out.Verdict = printable.Line(verdict.Error())
	}
	return table.JSON(e.Stdout, out)
}

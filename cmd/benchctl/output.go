package main

import (
	"github.com/localbench/localbench/reports/table"
)

// answerSchema is the version of the JSON that commands print (docs/output.md). Fields, tables and columns are added without a
// new version; it rises when one of them is removed or changes its meaning.
const answerSchema = 1

// answer is what a command prints on standard output.
type answer struct {
	tables []table.Table
	plots  []string // files that were drawn
	// What the figures were computed for: in JSON only, and left out where empty. One value each, because a command
	// line has one backend and one precision.
	backend, precision, gpu string
}

// emit prints an answer. As JSON it also holds the verdict, so that no wrapper
// can swallow the exit code.
func (e Env) emit(f table.Format, a answer, verdict error) error {
	if f.Name() == "table" {
		f = table.ForTerminal(e.Columns)
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
	}{answerSchema, version(), a.backend, a.precision, a.gpu, codeOf(verdict), "all well", a.tables, a.plots}
	if verdict != nil {
		out.Verdict = oneLine(verdict.Error())
	}
	return table.JSON(e.Stdout, out)
}

// textColumn and numberColumn are columns of names and of quantities.
func textColumn(key, name string) table.Column { return table.Column{Key: key, Name: name} }
func numberColumn(key, name string) table.Column {
	return table.Column{Key: key, Name: name, Align: table.AlignRight}
}

// bytesCell is a size; empty where it is not known.
func bytesCell(n *int64) table.Cell {
	if n == nil {
		return table.Cell{}
	}
	return table.Number(float64(*n), table.Bytes(*n))
}

// over relates a cell to a baseline.
func over(c table.Cell, baseline *int64) table.Cell {
	if c.Number != nil && baseline != nil && *baseline > 0 {
		ratio := *c.Number / float64(*baseline)
		c.Ratio = &ratio
	}
	return c
}

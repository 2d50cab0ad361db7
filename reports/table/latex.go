package table

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// latex is a floating table in the style of the package booktabs, which the document must load. Its label is tab:<table's
// ID>. The best cells are bold.
type latex struct{}

func (latex) Name() string      { return "latex" }
func (latex) Extension() string { return ".tex" }

func (latex) Write(w io.Writer, tables ...Table) error {
	return writeAll(w, tables, func(b *bytes.Buffer, t Table) error {
		if b.Len() == 0 {
			b.WriteString("% \\usepackage{booktabs}\n")
		}
		t = t.ForPeople()
		headings, rows := t.texts(escapeLaTeX, func(c Cell) string {
			s := escapeLaTeX(c.Text)
			if c.Ratio != nil {
				s += " ($" + strings.TrimSuffix(Ratio(*c.Ratio), "x") + `\times$)`
			}
			if c.Best && s != "" {
				return `\textbf{` + s + "}"
			}
			return s
		})
		sides := ""
		for _, c := range t.Columns {
			sides += string("lr"[c.Align])
		}
		fmt.Fprintf(b, "\\begin{table}\n  \\centering\n")
		if t.Title != "" {
			fmt.Fprintf(b, "  \\caption{%s}\n", escapeLaTeX(t.Title))
		}
		if t.ID != "" {
			fmt.Fprintf(b, "  \\label{tab:%s}\n", t.ID)
		}
		fmt.Fprintf(b, "  \\begin{tabular}{%s}\n    \\toprule\n    %s \\\\\n    \\midrule\n",
			sides, guardStart(strings.Join(headings, " & ")))
		for _, row := range rows {
			fmt.Fprintf(b, "    %s \\\\\n", guardStart(strings.Join(row, " & ")))
		}
		fmt.Fprintf(b, "    \\bottomrule\n  \\end{tabular}\n")
		for _, note := range t.Notes {
			fmt.Fprintf(b, "  \\par\\footnotesize %s\n", escapeLaTeX(note))
		}
		fmt.Fprintf(b, "\\end{table}\n")
		return nil
	})
}

// guardStart keeps a row that begins with a bracket or a star from being taken
// for an argument of the `\\` or the rule before it.
func guardStart(row string) string {
	if strings.HasPrefix(row, "[") || strings.HasPrefix(row, "*") {
		return "{}" + row
	}
	return row
}

func escapeLaTeX(s string) string {
	return strings.NewReplacer(`\`, `\textbackslash{}`, "&", `\&`, "%", `\%`, "$", `\$`, "#", `\#`, "_", `\_`,
		"{", `\{`, "}", `\}`, "~", `\textasciitilde{}`, "^", `\textasciicircum{}`, "<", `\textless{}`, ">", `\textgreater{}`,
		"±", `$\pm$`, "µ", `$\mu$`, "×", `$\times$`, "\n", " ", "\r", " ").Replace(s)
}

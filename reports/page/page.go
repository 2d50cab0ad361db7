// Package page writes a report as one HTML file that needs nothing else: figures are
// inline SVG, the tables sort by a click, and it reads on a phone, by day and by
// night. A person sends it to a colleague.
package page

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"strings"

	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/table"
)

//go:embed page.html
var source string

// page is the template; html/template escapes what records say.
var page = template.Must(template.New("page").Parse(source))

// Report is what the page shows.
type Report struct {
	Title   string
	About   []string // lines below the title: how many records, from where
	Tables  []table.Table
	Figures []figure.Named
}

// view is a report in the template's terms.
type view struct {
	Title   string
	About   []string
	Tables  []tableView
	Figures []figureView
}

type tableView struct {
	Title   string
	Columns []columnView
	Rows    [][]cellView
	Notes   []string
}

type columnView struct {
	Name  string
	Right bool
}

type cellView struct {
	Text  string
	Sort  string // the number, or the text
	Right bool
	Best  bool
}

type figureView struct {
	Name string
	SVG  template.HTML // ours, drawn from numbers and escaped labels
}

// Write writes the report.
func Write(w io.Writer, r Report) error {
	v := view{Title: r.Title, About: r.About}
	for _, t := range r.Tables {
		v.Tables = append(v.Tables, viewOf(t))
	}
	for _, f := range r.Figures {
		var svg bytes.Buffer
		if err := f.SVG(&svg); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		v.Figures = append(v.Figures, figureView{f.Name, inline(svg.String())})
	}
	return page.Execute(w, v)
}

func viewOf(t table.Table) tableView {
	v := tableView{Title: t.Title, Notes: t.Notes}
	for _, c := range t.Columns {
		name := c.Name
		if c.Unit != "" {
			name += " [" + c.Unit + "]"
		}
		v.Columns = append(v.Columns, columnView{name, c.Align == table.AlignRight})
	}
	for _, row := range t.Rows {
		var cells []cellView
		for i, c := range row {
			cell := cellView{Text: c.String(), Sort: c.Text, Right: t.Columns[i].Align == table.AlignRight, Best: c.Best}
			if c.Number != nil {
				cell.Sort = fmt.Sprintf("%.17g", *c.Number)
			}
			cells = append(cells, cell)
		}
		v.Rows = append(v.Rows, cells)
	}
	return v
}

// sized is the opening tag of a drawing with its size.
var sized = regexp.MustCompile(`<svg width="([0-9.]+)pt" height="([0-9.]+)pt"`)

// inline takes the drawing out of its document and lets it shrink with the page.
func inline(svg string) template.HTML {
	if i := strings.Index(svg, "<svg"); i > 0 {
		svg = svg[i:]
	}
	svg = sized.ReplaceAllString(svg, `<svg style="width:100%;max-width:${1}pt;height:auto" role="img"`)
	return template.HTML(svg) //nolint:gosec // drawn by package figure, whose labels the SVG writer escapes
}

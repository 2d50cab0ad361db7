// Package page writes a report as one self-contained HTML file: figures are
// inline SVG, tables can be sorted, and it adapts to phones and to light and dark
// colour schemes.
package page

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"strings"

	"gonum.org/v1/plot/vg"

	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/table"
)

//go:embed page.html
var source string

// page is the template; html/template escapes what records say.
var page = template.Must(template.New("page").Parse(source))

// Report is the content of a page.
type Report struct {
	Title    string
	About    []string // lines below the title: how many records, from where
	Tables   []table.Table
	Figures  []figure.Named
	Runs     []Run      // each folded in below the figures
	MoreRuns int        // runs that are not described
	Files    []Download // data that the reader can save
}

// Download is a file inside the page.
type Download struct {
	Name string // to save it as
	Type string // media type: text/csv
	Text []byte
}

// view is a report in the template's terms.
type view struct {
	Title   string
	About   []string
	Tables  []tableView
	Figures []figureView
	Runs    []runView
	More    int
	Files   []fileView
}

type runView struct {
	Label, ID string
	Tables    []tableView
}

type fileView struct {
	Name string
	Link template.URL
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
	Exact string // shown by a pointer that rests on the cell: the number in base units, with its spread
	Sort  string // the number, or the text
	Right bool
	Best  bool
}

type figureView struct {
	Name, Title  string
	Wide, Narrow template.HTML // ours, drawn from numbers and escaped labels
}

// phone is the width of a narrow figure: a phone's page without margins, 344 pixels.
const phone = 258 * vg.Length(1)

// Write writes the report.
func Write(w io.Writer, r Report) error {
	v := view{Title: table.Printable(r.Title)}
	for _, line := range r.About {
		v.About = append(v.About, table.Printable(line))
	}
	for _, t := range r.Tables {
		v.Tables = append(v.Tables, viewOf(t.Printable()))
	}
	for _, f := range r.Figures {
		var wide, narrow bytes.Buffer
		plain := f.Untitled()
		if err := errors.Join(plain.SVG(&wide), plain.Narrow(phone).SVG(&narrow)); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		v.Figures = append(v.Figures, figureView{f.Name, table.Printable(f.Title()), inline(wide.String()), inline(narrow.String())})
	}
	for _, r := range r.Runs {
		run := runView{Label: table.Printable(r.Label), ID: table.Printable(r.ID)}
		for _, t := range r.Tables {
			run.Tables = append(run.Tables, viewOf(t.Printable()))
		}
		v.Runs = append(v.Runs, run)
	}
	v.More = r.MoreRuns
	for _, f := range r.Files {
		text := base64.StdEncoding.EncodeToString(f.Text)
		v.Files = append(v.Files, fileView{f.Name, template.URL("data:" + f.Type + ";base64," + text)}) //nolint:gosec // base64
	}
	return page.Execute(w, v)
}

func viewOf(t table.Table) tableView {
	v := tableView{Title: t.Title, Notes: t.Notes}
	t = t.ForPeople()
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
				cell.Exact = fmt.Sprintf("%s: %.12g", t.Columns[i].Key, *c.Number)
				if c.Spread != nil {
					cell.Exact += fmt.Sprintf(", standard deviation %.4g", *c.Spread)
				}
			}
			cells = append(cells, cell)
		}
		v.Rows = append(v.Rows, cells)
	}
	return v
}

// colour is a colour in a style; labels may contain a # too.
var colour = regexp.MustCompile(`(fill|stroke):#[0-9A-F]{6}`)

// sized is the opening tag of a drawing with its size.
var sized = regexp.MustCompile(`<svg width="([0-9.]+)pt" height="([0-9.]+)pt"`)

// themed are the colours of drawings that follow the page's light or dark scheme: paper, text, lines, and
// colours that are too dark for the dark scheme. Black is the colour of bp and of text.
var themed = strings.NewReplacer("#FFFFFF", "var(--paper)", "#000000", "var(--ink)", "#333333", "var(--ink)", "#999999",
	"var(--soft)", "#DDDDDD", "var(--rule)", "#332288", "var(--indigo)", "#882255", "var(--wine)", "#117733", "var(--green)")

// inline extracts the drawing from its document, scales it with the page and uses the
// page's colours.
func inline(svg string) template.HTML {
	if i := strings.Index(svg, "<svg"); i > 0 {
		svg = svg[i:]
	}
	svg = colour.ReplaceAllStringFunc(svg, themed.Replace)
	svg = sized.ReplaceAllString(svg, `<svg style="width:100%;max-width:${1}pt;height:auto" role="img"`)
	return template.HTML(svg) //nolint:gosec // drawn by package figure, whose labels the SVG writer escapes
}

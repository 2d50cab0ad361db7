// Package figure draws the records of runs: accuracy by epoch and peak memory by
// method.
//
// The input is records, the output a Figure, which is a value: a gonum plot, the legend
// beside it and a size. Save renders it as PNG, SVG and PDF; callers can change the
// plot's fields first.
//
// Rules:
//   - A method has the same colour in every figure (style.go), from a palette
//     for colour-blind readers.
//   - Every axis names its quantity and unit. Sizes are in KiB, MiB, GiB.
//   - The legend is beside the plot and never covers a line.
//   - Seeds are averaged (results.Groups), nothing else; the band around a line is
//     one standard deviation.
//   - The same records give the same bytes: no clock, no random number, no order
//     of a map.
package figure

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"io"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgpdf"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/reports/table"
)

// pixelsPerInch of a PNG: sharp on a page and on a dense screen.
const pixelsPerInch = 192

// Figure is a plot with its legend beside it.
type Figure struct {
	Plot          *plot.Plot
	Legend        plot.Legend // drawn to the right of the plot, or below; may be empty
	Width, Height vg.Length   // of the whole
	below         bool        // the legend stands below
}

// Title is the title of the figure.
func (f Figure) Title() string { return f.Plot.Title.Text }

// Untitled is the figure without its title.
func (f Figure) Untitled() Figure {
	p := *f.Plot
	p.Title.Text = ""
	f.Plot = &p
	return f
}

// Narrow is the figure for a narrow page, such as a phone's: with the same height and text size, and the
// legend below the plot.
func (f Figure) Narrow(width vg.Length) Figure {
	f.below, f.Width = true, width
	f.Height += f.legendSize().Y
	return f
}

// legendSize is the size of the legend with its margin; 0 if it is empty.
func (f Figure) legendSize() vg.Point {
	size := f.Legend.Rectangle(draw.Canvas{Rectangle: vg.Rectangle{Max: vg.Point{X: f.Width, Y: f.Height}}}).Size()
	if size.X <= 0 {
		return vg.Point{}
	}
	return vg.Point{X: size.X + 2*margin, Y: size.Y + margin}
}

// margin is the empty border of a figure, in points.
const margin = 8 * vg.Length(1)

// newFigure is an empty figure in our style.
func newFigure(title string, width, height vg.Length) Figure {
	p := plot.New()
	p.Title.Text = title
	p.Title.TextStyle.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 12}
	p.Title.Padding = vg.Points(8)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 11}
		axis.Label.Padding = vg.Points(4)
		axis.Tick.Label.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 10}
		axis.LineStyle.Color, axis.Tick.LineStyle.Color = axisColor, axisColor
	}
	legend := plot.NewLegend()
	legend.Top, legend.Left = true, true
	legend.Padding = vg.Points(3)
	legend.YPosition = draw.PosBottom
	legend.TextStyle.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 10}
	return Figure{Plot: p, Legend: legend, Width: width, Height: height}
}

// Draw draws the figure on a canvas of any size.
func (f Figure) Draw(c draw.Canvas) {
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	c = draw.Crop(c, margin, -margin, margin, -margin)
	legend := f.legendSize()
	switch {
	case legend.X == 0:
		f.Plot.Draw(c)
	case f.below:
		f.Legend.Draw(draw.Crop(c, 0, 0, 0, legend.Y-c.Size().Y))
		f.Plot.Draw(draw.Crop(c, 0, 0, legend.Y, 0))
	default:
		top := f.Plot.Title.TextStyle.FontExtents().Height + f.Plot.Title.Padding
		if f.Plot.Title.Text == "" {
			top = 0
		}
		f.Legend.Draw(draw.Crop(c, c.Size().X-legend.X+2*margin, 0, 0, -top))
		f.Plot.Draw(draw.Crop(c, 0, -legend.X, 0, 0))
	}
}

// PNG writes the figure as a PNG of 192 pixels an inch.
func (f Figure) PNG(w io.Writer) error {
	canvas := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(f.Width, f.Height), vgimg.UseDPI(pixelsPerInch))}
	return f.render(canvas, w)
}

// SVG writes the figure as SVG. Text stays text, in Liberation Sans or the viewer's
// replacement. The library escapes markup in labels; control characters, which XML does not
// allow, are written as escapes.
func (f Figure) SVG(w io.Writer) error {
	var b bytes.Buffer
	if err := f.render(vgsvg.New(f.Width, f.Height), &b); err != nil {
		return err
	}
	parts := strings.Split(b.String(), "\t") // the library's own
	for i := range parts {
		parts[i] = table.Printable(parts[i])
	}
	_, err := io.WriteString(w, strings.Join(parts, "\t"))
	return err
}

// PDF writes the figure as PDF.
func (f Figure) PDF(w io.Writer) error { return f.render(vgpdf.New(f.Width, f.Height), w) }

// render turns a panic of the plot library, by which it rejects an axis without
// extent, into an error.
func (f Figure) render(canvas vg.CanvasWriterTo, w io.Writer) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("figure %q: %v", f.Plot.Title.Text, fault)
		}
	}()
	f.Draw(draw.NewCanvas(canvas, f.Width, f.Height))
	_, err = canvas.WriteTo(w)
	return err
}

// Save writes `<base>.png`, `<base>.svg` and `<base>.pdf`, and names them. All are rendered first; each
// file is written atomically, so that a failure keeps the old
// figure.
func Save(f Figure, base string) (files []string, err error) {
	var png, svg, pdf bytes.Buffer
	if err := errors.Join(f.PNG(&png), f.SVG(&svg), f.PDF(&pdf)); err != nil {
		return nil, err
	}
	for _, one := range []struct {
		extension string
		content   []byte
	}{{".png", png.Bytes()}, {".svg", svg.Bytes()}, {".pdf", pdf.Bytes()}} {
		if err := write(base+one.extension, one.content); err != nil {
			return files, err
		}
		files = append(files, base+one.extension)
	}
	return files, nil
}

func write(path string, content []byte) error {
	if err := atomicfile.WriteBytes(path, content, 0o666); err != nil {
		return err
	}
	return nil
}

package figure

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// unattributed is the part of a bar for which a record has no category.
const unattributed = "not attributed"

// PeakMemory draws the planned peak as a bar for each set of runs that differ in
// the seed only, in the order of the methods, with the size beside it. If
// records have the categories of the peak, bars are stacked by category; a bar whose
// categories do not sum to its peak is drawn as one grey block. Without categories, bars
// have the colours of their methods. It is an error if no record has a planned peak.
func PeakMemory(records []results.Record) (Figure, error) {
	bars := peakBars(records)
	if len(bars) == 0 {
		return Figure{}, errors.New("peak memory: no record has a planned peak")
	}
	largest, split := 0.0, false
	for _, b := range bars {
		largest = max(largest, b.peak)
		split = split || b.parts[unattributed] != b.peak
	}
	unit, scale := table.ByteUnit(int64(largest))
	bars, more := fewer(bars, mostBars)
	height := vg.Length(len(bars))*barPitch + 3*vg.Centimeter
	f := newFigure(title("Peak memory of a training step", records), 21*vg.Centimeter, max(height, 6*vg.Centimeter))
	f.Plot.X.Label.Text = fmt.Sprintf("planned peak [%s]", unit)
	f.Plot.X.Tick.Marker = roundTicks{}
	f.Plot.Add(grid(false))
	add := addPlain
	if split {
		add = addStacked
	}
	if err := add(&f, bars, scale); err != nil {
		return Figure{}, err
	}
	var ends []end
	for i, b := range bars {
		ends = append(ends, end{float64(len(bars) - 1 - i), b.peak / scale, table.Bytes(int64(math.Round(b.peak)))})
	}
	f.addEnds(ends)
	f.addMore(more)
	f.Plot.X.Min, f.Plot.X.Max = 0, max(largest/scale, 1)
	f.Plot.Y.Min, f.Plot.Y.Max = -0.6, float64(len(bars))-0.4
	f.Plot.Y.Padding, f.Plot.X.Padding = 0, 0
	names := make([]string, len(bars))
	for i, b := range bars {
		names[len(bars)-1-i] = b.label
	}
	f.Plot.NominalY(names...)
	return f, nil
}

const (
	barWidth = 16 * vg.Length(1) // points
	barPitch = 25 * vg.Length(1)
)

// bar is one planned peak in bytes and its categories.
type bar struct {
	label, method string
	peak          float64
	parts         map[string]float64 // sums to peak
}

// peakBars lists the bars from the top of the figure to the bottom. Bars with the same
// label and size, such as of two seeds that both diverged, are merged.
func peakBars(records []results.Record) []bar {
	var bars []bar
	for _, g := range labels(records) {
		peak, ok := g.Estimate(results.Bytes(func(r results.Record) *int64 { return r.Memory.PlannedPeakBytes }))
		if !ok {
			continue
		}
		b := bar{g.label, g.First().Spec.Method, peak.Mean, peakParts(g.Group, peak.Mean)}
		same := func(other bar) bool { return other.label == b.label && other.peak == b.peak }
		if !slices.ContainsFunc(bars, same) {
			bars = append(bars, b)
		}
	}
	return bars
}

// peakParts is the mean of each category over the seeds, if they sum to the peak.
func peakParts(g results.Group, peak float64) map[string]float64 {
	parts := map[string]float64{}
	sum := 0.0
	for _, r := range g.Records {
		for name, size := range r.Memory.ByCategory {
			name = strings.ReplaceAll(name, "_", " ")
			if !slices.Contains(Categories(), name) {
				name = unattributed
			}
			parts[name] += float64(size) / float64(len(g.Records))
			sum += float64(size) / float64(len(g.Records))
		}
	}
	if math.Abs(sum-peak) >= 1 { // less than a byte is rounding of the mean
		return map[string]float64{unattributed: peak}
	}
	return parts
}

func addPlain(f *Figure, bars []bar, scale float64) error {
	for i, b := range bars {
		chart, err := plotter.NewBarChart(plotter.Values{b.peak / scale}, barWidth)
		if err != nil {
			return err
		}
		chart.Horizontal, chart.XMin = true, float64(len(bars)-1-i)
		chart.Color, chart.LineStyle.Width = MethodColor(b.method), 0
		f.Plot.Add(chart)
	}
	return nil
}

func addStacked(f *Figure, bars []bar, scale float64) error {
	var below *plotter.BarChart
	for _, category := range append(Categories(), unattributed) {
		lengths, present := make(plotter.Values, len(bars)), false
		for i, b := range bars {
			lengths[len(bars)-1-i] = b.parts[category] / scale
			present = present || b.parts[category] > 0
		}
		if !present {
			continue
		}
		chart, err := plotter.NewBarChart(lengths, barWidth)
		if err != nil {
			return err
		}
		chart.Horizontal, chart.Color = true, CategoryColor(category)
		chart.LineStyle.Width = 0
		if below != nil {
			chart.StackOn(below)
		}
		below = chart
		f.Plot.Add(chart)
		f.Legend.Add(category, chart)
	}
	return nil
}

// end is the end of a horizontal bar and its text.
type end struct {
	at, length float64
	text       string
}

// addEnds writes the text of each bar beside its end, on white, so that no grid line crosses
// it.
func (f *Figure) addEnds(ends []end) {
	style := f.Plot.X.Tick.Label
	style.XAlign, style.YAlign, style.Color = draw.XLeft, draw.YBottom, axisColor
	f.Plot.Add(endTexts{ends, style})
}

type endTexts struct {
	ends  []end
	style text.Style
}

// endGap is between a bar and its text, in points.
const endGap = 4 * vg.Length(1)

// GlyphBoxes implements plot.GlyphBoxer: the plot reserves space for the texts at any width.
func (e endTexts) GlyphBoxes(p *plot.Plot) (boxes []plot.GlyphBox) {
	for _, one := range e.ends {
		size := e.style.Rectangle(one.text).Size()
		boxes = append(boxes, plot.GlyphBox{X: p.X.Norm(one.length), Y: p.Y.Norm(one.at),
			Rectangle: vg.Rectangle{Min: vg.Point{Y: -size.Y / 2}, Max: vg.Point{X: size.X + 2*endGap, Y: size.Y / 2}}})
	}
	return boxes
}

// Plot implements plot.Plotter.
func (e endTexts) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, one := range e.ends {
		box := e.style.Rectangle(one.text)
		at := vg.Point{X: x(one.length) + endGap, Y: y(one.at) - box.Size().Y/2 + e.style.FontExtents().Descent/2}
		c.SetColor(color.White)
		c.Fill(box.Add(at).Path())
		c.FillText(e.style, at, one.text)
	}
}

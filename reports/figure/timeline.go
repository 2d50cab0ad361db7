package figure

import (
	"errors"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// Timeline is the live memory over one training step.
type Timeline struct {
	Label string
	// Bytes are the live bytes at each op, for each category of Categories.
	Bytes [][]float64
}

// PlanTimeline is the timeline of a plan.
func PlanTimeline(label string, p results.Plan) Timeline {
	t := Timeline{Label: label}
	for _, name := range Categories() {
		var line []float64
		for _, bytes := range p.Timeline[name] {
			line = append(line, float64(bytes))
		}
		t.Bytes = append(t.Bytes, line)
	}
	return t
}

// peak is the largest sum over the categories.
func (t Timeline) peak() (largest float64) {
	for op := range t.Bytes[0] {
		sum := 0.0
		for _, category := range t.Bytes {
			sum += category[op]
		}
		largest = max(largest, sum)
	}
	return largest
}

// mostColumns is the number of points of an outline: more than a page can show.
const mostColumns = 600

// thinned returns the timeline with at most the given number of ops: of neighbours the one with the
// largest sum, so that peaks are kept and all categories are of the same op.
func (t Timeline) thinned(most int) Timeline {
	ops := len(t.Bytes[0])
	if ops <= most {
		return t
	}
	out := Timeline{Label: t.Label, Bytes: make([][]float64, len(t.Bytes))}
	for column := range most {
		best, largest := 0, -1.0
		for op := column * ops / most; op < (column+1)*ops/most; op++ {
			sum := 0.0
			for _, category := range t.Bytes {
				sum += category[op]
			}
			if sum > largest {
				best, largest = op, sum
			}
		}
		for c := range t.Bytes {
			out.Bytes[c] = append(out.Bytes[c], t.Bytes[c][best])
		}
	}
	return out
}

// MemoryOverStep draws for each timeline the live bytes at each op as areas stacked
// by category, all on the same axes: the position in the step, from 0 to 100 %,
// and bytes up to the largest peak of them all.
func MemoryOverStep(timelines []Timeline) ([]Figure, error) {
	largest := 0.0
	for _, t := range timelines {
		if len(t.Bytes) != len(Categories()) || len(t.Bytes[0]) == 0 {
			return nil, errors.New("memory over a step: a timeline must have ops, and one row per category")
		}
		largest = max(largest, t.peak())
	}
	unit, scale := table.ByteUnit(int64(largest))
	var figures []Figure
	for _, t := range timelines {
		f := newFigure("Memory over a training step: "+t.Label, 24*vg.Centimeter, 11*vg.Centimeter)
		f.Plot.X.Label.Text, f.Plot.Y.Label.Text = "position in the step [% of ops]", "live bytes ["+unit+"]"
		f.Plot.Add(grid(true))
		if err := f.addAreas(t.thinned(mostColumns), scale); err != nil {
			return nil, err
		}
		f.Plot.X.Min, f.Plot.X.Max, f.Plot.Y.Min, f.Plot.Y.Max = 0, 100, 0, max(largest/scale*1.03, 1e-9)
		f.Plot.X.Padding, f.Plot.Y.Padding = 0, 0
		f.Plot.Y.Tick.Marker = roundTicks{}
		figures = append(figures, f)
	}
	return figures, nil
}

// addAreas adds a polygon per category, each on top of the one before.
func (f *Figure) addAreas(t Timeline, scale float64) error {
	ops := len(t.Bytes[0])
	below := make([]float64, ops)
	for i, name := range Categories() {
		var outline plotter.XYs
		left := func(op int) float64 { return 100 * float64(op) / float64(ops) }
		for op := range ops { // steps: a value is alive for the whole op
			outline = append(outline, plotter.XY{X: left(op), Y: below[op] / scale}, plotter.XY{X: left(op + 1), Y: below[op] / scale})
		}
		any := false
		for op := ops - 1; op >= 0; op-- {
			any = any || t.Bytes[i][op] > 0
			below[op] += t.Bytes[i][op]
			outline = append(outline, plotter.XY{X: left(op + 1), Y: below[op] / scale}, plotter.XY{X: left(op), Y: below[op] / scale})
		}
		if !any {
			continue
		}
		area, err := plotter.NewPolygon(outline)
		if err != nil {
			return err
		}
		area.Color, area.LineStyle.Width = CategoryColor(name), 0
		f.Plot.Add(area)
		f.Legend.Add(name, area)
	}
	return nil
}

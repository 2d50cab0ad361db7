package figure

import (
	"errors"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/localbench/localbench/results"
)

// fewEpochs is the largest number of points that are marked on a line, so that a line of one
// point is visible.
const fewEpochs = 20

// AccuracyByEpoch draws the test accuracy in percent after each epoch: a line for
// each set of runs that differ in the seed only, their mean, within a band of one
// standard deviation. Runs that did not finish are drawn up to their last epoch. It is an
// error if no record has an accuracy.
func AccuracyByEpoch(records []results.Record) (Figure, error) {
	var lines []curve
	drawn := map[string]int{} // lines of each method
	for _, g := range labels(records) {
		if points := average(g.Group); len(points) > 0 {
			method := g.First().Spec.Method
			lines = append(lines, curve{g.label, MethodColor(method), drawn[method], points})
			drawn[method]++
		}
	}
	if len(lines) == 0 {
		return Figure{}, errors.New("accuracy by epoch: no record has a test accuracy")
	}
	f := newFigure(title("Test accuracy", records), 20*vg.Centimeter, 11*vg.Centimeter)
	f.Plot.X.Label.Text = "epoch"
	f.Plot.Y.Label.Text = "test top-1 accuracy [%]"
	f.Plot.X.Tick.Marker, f.Plot.Y.Tick.Marker = roundTicks{whole: true}, roundTicks{}
	f.Plot.Add(grid(true))
	if err := f.addCurves(lines); err != nil {
		return Figure{}, err
	}
	roundTicks{}.snap(&f.Plot.Y, 0, 100)
	if f.Plot.X.Min == f.Plot.X.Max {
		f.Plot.X.Min, f.Plot.X.Max = f.Plot.X.Min-1, f.Plot.X.Max+1
	}
	return f, nil
}

// point is the accuracy after one epoch, in percent.
type point struct{ epoch, mean, sd float64 }

// curve is one line of the figure.
type curve struct {
	label  string
	color  color.RGBA
	nth    int // of its method
	points []point
}

// average is the mean over the group's seeds for each epoch that all of them reached.
func average(g results.Group) []point {
	var points []point
	for _, e := range g.First().Accuracy.Epochs {
		estimate, ok := g.Estimate(func(r results.Record) *float64 {
			for _, other := range r.Accuracy.Epochs {
				if other.Epoch == e.Epoch {
					return other.TestTop1
				}
			}
			return nil
		})
		if ok && estimate.N == int64(len(g.Records)) {
			points = append(points, point{float64(e.Epoch), estimate.Mean * 100, estimate.SD * 100})
		}
	}
	return points
}

// addCurves adds lines, at most as many as can be distinguished, with their bands below all of them.
func (f *Figure) addCurves(lines []curve) error {
	lines, more := fewer(lines, mostLines)
	for _, l := range lines {
		if err := l.addBand(f.Plot); err != nil {
			return err
		}
	}
	for _, l := range lines {
		if err := l.addLine(f); err != nil {
			return err
		}
	}
	f.addMore(more)
	return nil
}

func (l curve) addBand(p *plot.Plot) error {
	var outline plotter.XYs
	spread := false
	for _, pt := range l.points {
		outline = append(outline, plotter.XY{X: pt.epoch, Y: pt.mean + pt.sd})
		spread = spread || pt.sd > 0
	}
	if !spread || len(l.points) < 2 {
		return nil
	}
	for i := len(l.points) - 1; i >= 0; i-- {
		outline = append(outline, plotter.XY{X: l.points[i].epoch, Y: l.points[i].mean - l.points[i].sd})
	}
	band, err := plotter.NewPolygon(outline)
	if err != nil {
		return err
	}
	band.LineStyle.Width = 0
	band.Color = color.NRGBA{l.color.R, l.color.G, l.color.B, 0x33}
	p.Add(band)
	return nil
}

func (l curve) addLine(f *Figure) error {
	var points plotter.XYs
	for _, pt := range l.points {
		points = append(points, plotter.XY{X: pt.epoch, Y: pt.mean})
	}
	line, marks, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	line.LineStyle = draw.LineStyle{Color: l.color, Width: vg.Points(1.6), Dashes: dashes(l.nth)}
	marks.GlyphStyle = draw.GlyphStyle{Color: l.color, Radius: vg.Points(2.2), Shape: draw.CircleGlyph{}}
	f.Plot.Add(line)
	if len(points) > fewEpochs {
		f.Legend.Add(l.label, line)
		return nil
	}
	f.Plot.Add(marks)
	f.Legend.Add(l.label, line, marks)
	return nil
}

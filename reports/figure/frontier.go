package figure

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/localbench/localbench/reports/frontier"
	"github.com/localbench/localbench/reports/table"
)

// Frontier draws the points of a task: accuracy over the memory of a step, with the area of a circle proportional to the time
// of a step, and a bar of one standard deviation over the seeds. Points that another one beats are rings; a dashed line joins the
// others as far as more memory gives more accuracy. It is an error if the task has no points.
func Frontier(t frontier.Task) (Figure, error) {
	if len(t.Points) == 0 {
		return Figure{}, errors.New("frontier: no points")
	}
	largest, slowest := int64(0), 0.0
	for _, p := range t.Points {
		largest = max(largest, p.StepArenaBytes)
		if p.StepSeconds != nil {
			slowest = max(slowest, *p.StepSeconds)
		}
	}
	unit, bytes := table.ByteUnit(largest)
	f := newFigure("Memory, time and accuracy: "+t.Title(), 20*vg.Centimeter, 12*vg.Centimeter)
	f.Plot.X.Label.Text, f.Plot.Y.Label.Text = "arena of a training step ["+unit+"]", "test top-1 accuracy after the last epoch [%]"
	f.Plot.X.Tick.Marker, f.Plot.Y.Tick.Marker = roundTicks{}, roundTicks{}
	f.Plot.Add(grid(true))
	points, more := fewer(t.Points, mostLines)
	var front plotter.XYs
	for _, p := range t.Points {
		y := 100 * stat.Mean(p.Top1, nil)
		if p.Verdict != frontier.Dominated && (len(front) == 0 || y > front[len(front)-1].Y) {
			front = append(front, plotter.XY{X: float64(p.StepArenaBytes) / bytes, Y: y})
		}
	}
	if len(front) > 1 {
		line, err := plotter.NewLine(front)
		if err != nil {
			return Figure{}, err
		}
		line.LineStyle = draw.LineStyle{Color: gray(0x99), Width: vg.Points(1), Dashes: dashes(1)}
		f.Plot.Add(line)
	}
	for _, p := range points {
		x, y := float64(p.StepArenaBytes)/bytes, 100*stat.Mean(p.Top1, nil)
		style := draw.GlyphStyle{Color: MethodColor(p.Spec.Method), Radius: vg.Points(4), Shape: draw.CircleGlyph{}}
		if p.StepSeconds != nil && slowest > 0 {
			style.Radius = vg.Points(max(2, 9*math.Sqrt(*p.StepSeconds/slowest)))
		}
		if p.Verdict == frontier.Dominated {
			style.Shape = draw.RingGlyph{}
		}
		marks, err := plotter.NewScatter(plotter.XYs{{X: x, Y: y}})
		if err != nil {
			return Figure{}, err
		}
		marks.GlyphStyle = style
		if len(p.Top1) > 1 {
			sd := 100 * stat.StdDev(p.Top1, nil)
			bar, err := plotter.NewLine(plotter.XYs{{X: x, Y: y - sd}, {X: x, Y: y + sd}})
			if err != nil {
				return Figure{}, err
			}
			bar.LineStyle = draw.LineStyle{Color: style.Color, Width: vg.Points(1)}
			f.Plot.Add(bar)
		}
		f.Plot.Add(marks)
		small := *marks
		small.Radius = vg.Points(4)
		f.Legend.Add(p.Label+", "+stepText(p.StepSeconds), &small)
	}
	f.addMore(more)
	f.Plot.X.Min, f.Plot.X.Max = 0, float64(largest)/bytes*1.06
	roundTicks{}.snap(&f.Plot.Y, 0, 100)
	return f, nil
}

// stepText is the time of a step in a legend.
func stepText(seconds *float64) string {
	if seconds == nil {
		return "not timed"
	}
	return milliseconds(*seconds) + " per step"
}

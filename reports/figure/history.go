package figure

import (
	"errors"
	"fmt"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// HistoryLine is a metric of one measurement over commits.
type HistoryLine struct {
	Label  string
	Points []HistoryPoint // in the order of the commits
	Steps  []int          // commits at which it changed
}

// HistoryPoint is the measurement at a commit: a value, or the median over repetitions.
type HistoryPoint struct {
	At    int // the commit's place
	Value float64
}

// mostHistory bounds the lines of a figure; the legend tells how many are omitted.
const mostHistory = 12

// History draws a metric over commits, each line relative to its first value in percent, with
// a ring where it changed. Identical lines are drawn as one. It is an error if there is
// no line.
func History(metric string, commits []string, lines []HistoryLine) (Figure, error) {
	if len(lines) == 0 {
		return Figure{}, errors.New("history: there is no line")
	}
	lines = merged(lines)
	f := newFigure(metric+" over commits", 24*vg.Centimeter, 11*vg.Centimeter)
	f.Plot.X.Label.Text = "commit"
	f.Plot.Y.Label.Text = "relative to the first [%]"
	f.Plot.X.Tick.Marker = commitTicks(commits)
	f.Plot.Y.Tick.Marker = roundTicks{}
	f.Plot.X.Tick.Label.Rotation = 0.8
	f.Plot.X.Tick.Label.XAlign, f.Plot.X.Tick.Label.YAlign = draw.XRight, draw.YTop
	f.Plot.Add(grid(true))
	for i, l := range lines[:min(len(lines), mostHistory)] {
		if err := l.add(&f, i); err != nil {
			return Figure{}, err
		}
	}
	roundTicks{}.snap(&f.Plot.Y, 0, 1e9)
	if f.Plot.X.Min == f.Plot.X.Max {
		f.Plot.X.Min, f.Plot.X.Max = f.Plot.X.Min-1, f.Plot.X.Max+1
	}
	if more := len(lines) - mostHistory; more > 0 {
		f.Legend.Add(fmt.Sprintf("and %d more", more))
	}
	return f, nil
}

// merged joins identical lines: the label tells how many they are.
func merged(lines []HistoryLine) (out []HistoryLine) {
	place, alike := map[string]int{}, map[int]int{}
	for _, l := range lines {
		key := fmt.Sprint(l.Steps)
		for _, p := range l.relative() {
			key += fmt.Sprintf(" %.0f:%.6g", p.X, p.Y)
		}
		at, seen := place[key]
		if !seen {
			place[key] = len(out)
			out = append(out, l)
			continue
		}
		alike[at]++
	}
	for at, n := range alike {
		out[at].Label += fmt.Sprintf(", and %d identical", n)
	}
	return out
}

// relative are the points in percent of the first.
func (l HistoryLine) relative() (points plotter.XYs) {
	first := l.Points[0].Value
	for _, p := range l.Points {
		xy := plotter.XY{X: float64(p.At), Y: 100}
		if first != 0 {
			xy.Y = 100 * p.Value / first
		}
		points = append(points, xy)
	}
	return points
}

func (l HistoryLine) add(f *Figure, nth int) error {
	points := l.relative()
	var steps plotter.XYs
	for _, p := range points {
		if slices.Contains(l.Steps, int(p.X)) {
			steps = append(steps, p)
		}
	}
	colour := CategoryColor(Categories()[nth%len(Categories())])
	line, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	line.LineStyle = draw.LineStyle{Color: colour, Width: vg.Points(1.4), Dashes: dashes(nth / len(Categories()))}
	line.StepStyle = plotter.PostStep
	f.Plot.Add(line)
	f.Legend.Add(l.Label, line)
	if len(steps) == 0 {
		return nil
	}
	rings, err := plotter.NewScatter(steps)
	if err != nil {
		return err
	}
	rings.GlyphStyle = draw.GlyphStyle{Color: colour, Radius: vg.Points(3.5), Shape: draw.RingGlyph{}}
	f.Plot.Add(rings)
	return nil
}

// commitTicks labels positions with commits: all of them, or every n-th.
func commitTicks(commits []string) plot.ConstantTicks {
	const most = 16
	var ticks plot.ConstantTicks
	step := (len(commits) + most - 1) / most
	for i := 0; i < len(commits); i += max(step, 1) {
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: commits[i]})
	}
	return ticks
}

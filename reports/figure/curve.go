package figure

import (
	"errors"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// MemoryAgainstFLOPs draws planned curves: the arena of the training step over its operations for a sample, a line for each run.
// A thin line below each is the lower bound of any layout. It is an error if there are no points.
func MemoryAgainstFLOPs(curves []results.Curve) (Figure, error) {
	var records []results.Record
	largest, most := int64(0), int64(0)
	for _, c := range curves {
		records = append(records, results.Record{Status: results.StatusDone, Spec: c.Spec})
		for _, p := range c.Points {
			largest, most = max(largest, p.StepArenaBytes), max(most, p.FLOPsPerSample)
		}
	}
	if largest == 0 || most == 0 {
		return Figure{}, errors.New("memory against FLOPs: no points")
	}
	names := table.LabelsOf(records)
	unit, bytes := table.ByteUnit(largest)
	f := newFigure(title("Memory against computation", records), 20*vg.Centimeter, 12*vg.Centimeter)
	f.Plot.X.Label.Text = "operations of a training step [GFLOP per sample]"
	f.Plot.Y.Label.Text = "arena of the training step [" + unit + "]"
	f.Plot.X.Tick.Marker, f.Plot.Y.Tick.Marker = roundTicks{}, roundTicks{}
	f.Plot.Add(grid(true))
	kept, more := fewer(curves, mostLines)
	drawn := map[string]int{}
	for i, c := range kept {
		var arena, bound plotter.XYs
		for _, p := range c.Points {
			x := float64(p.FLOPsPerSample) / 1e9
			arena = append(arena, plotter.XY{X: x, Y: float64(p.StepArenaBytes) / bytes})
			bound = append(bound, plotter.XY{X: x, Y: float64(p.LowerBoundBytes) / bytes})
		}
		line, marks, err := plotter.NewLinePoints(arena)
		if err != nil {
			return Figure{}, err
		}
		below, err := plotter.NewLine(bound)
		if err != nil {
			return Figure{}, err
		}
		color := MethodColor(c.Spec.Method)
		line.LineStyle = draw.LineStyle{Color: color, Width: vg.Points(1.6), Dashes: dashes(drawn[c.Spec.Method])}
		marks.GlyphStyle = draw.GlyphStyle{Color: color, Radius: vg.Points(2.2), Shape: draw.CircleGlyph{}}
		below.LineStyle = draw.LineStyle{Color: color, Width: vg.Points(0.5)}
		drawn[c.Spec.Method]++
		f.Plot.Add(below, line, marks)
		f.Legend.Add(names.Of(records[i]), line, marks)
	}
	f.addMore(more)
	bound, err := plotter.NewLine(plotter.XYs{{}, {}})
	if err != nil {
		return Figure{}, err
	}
	bound.LineStyle = draw.LineStyle{Color: gray(0x88), Width: vg.Points(0.5)}
	f.Legend.Add("lower bound of any layout", bound)
	f.Plot.Y.Min = 0
	roundTicks{}.snap(&f.Plot.X, 0, 2*float64(most)/1e9)
	roundTicks{}.snap(&f.Plot.Y, 0, 2*float64(largest)/bytes)
	return f, nil
}

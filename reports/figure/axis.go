package figure

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// roundTicks sets ticks at multiples of 1, 2 or 5 times a power of ten.
type roundTicks struct {
	whole bool // no step below 1: there is no epoch 2.5
}

// step is the distance of ticks that gives four to ten of them.
func (r roundTicks) step(low, high float64) float64 {
	rough := (high - low) / 6
	if !(rough > 0) || math.IsInf(rough, 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	step := 10 * power
	for _, m := range []float64{1, 2, 5} {
		if rough <= m*power*1.01 {
			step = m * power
			break
		}
	}
	if r.whole {
		return max(step, 1)
	}
	return step
}

// Ticks implements plot.Ticker.
func (r roundTicks) Ticks(low, high float64) []plot.Tick {
	var out []plot.Tick
	step := r.step(low, high)
	places := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	// Adding 0 turns the -0 of Ceil into 0.
	for i := math.Ceil(low/step-1e-9) + 0; i*step <= high+step*1e-9 && len(out) < 100; i++ {
		out = append(out, plot.Tick{Value: i * step, Label: strconv.FormatFloat(i*step, 'f', places, 64)})
	}
	return out
}

// snap moves the ends of an axis outwards to ticks, within limits.
func (r roundTicks) snap(axis *plot.Axis, lowest, highest float64) {
	if axis.Min == axis.Max { // one value, or the same everywhere
		axis.Min, axis.Max = axis.Min-1, axis.Max+1
	}
	step := r.step(axis.Min, axis.Max)
	axis.Min = max(lowest, math.Floor(axis.Min/step)*step)
	axis.Max = min(highest, math.Ceil(axis.Max/step)*step)
}

// grid is faint, with lines for one axis only.
func grid(horizontal bool) *plotter.Grid {
	g := plotter.NewGrid()
	g.Horizontal.Color, g.Vertical.Color = nil, nil
	faint := draw.LineStyle{Color: gridColor, Width: vg.Points(0.5)}
	if horizontal {
		g.Horizontal = faint
	} else {
		g.Vertical = faint
	}
	return g
}

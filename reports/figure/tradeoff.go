package figure

import (
	"errors"
	"image/color"
	"slices"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// lastTop1 and plannedPeak are the quantities of the figures about trading.
func lastTop1(r results.Record) *float64 { return r.Accuracy.LastTop1 }

func plannedPeak(r results.Record) *float64 {
	return results.Bytes(func(r results.Record) *int64 { return r.Memory.PlannedPeakBytes })(r)
}

// place is a group with both quantities.
type place struct {
	labelled
	memory float64 // bytes
	top1   results.Estimate
}

// places lists the finished groups that have a planned peak and an accuracy.
func places(records []results.Record) (out []place, largest float64) {
	for _, g := range labels(records) {
		if g.First().Status != results.StatusDone {
			continue
		}
		memory, ok := g.Estimate(plannedPeak)
		top1, also := g.Estimate(lastTop1)
		if ok && also {
			out = append(out, place{g, memory.Mean, top1})
			largest = max(largest, memory.Mean)
		}
	}
	return out, largest
}

// AccuracyAgainstMemory draws each set of runs that differ in the seed only as a point:
// planned peak against test accuracy after the last epoch, with one standard deviation
// over the seeds. A line joins those that no other beats in both (the Pareto front).
func AccuracyAgainstMemory(records []results.Record) (Figure, error) {
	all, largest := places(records)
	if len(all) == 0 {
		return Figure{}, errors.New("figure: accuracy against memory: got no finished record with a planned peak and an accuracy")
	}
	unit, scale := table.ByteUnit(int64(largest))
	f := newFigure(title("Accuracy against memory", records), 20*vg.Centimeter, 12*vg.Centimeter)
	f.Plot.X.Label.Text, f.Plot.Y.Label.Text = "planned peak ["+unit+"]", "test top-1 accuracy after the last epoch [%]"
	f.Plot.X.Tick.Marker, f.Plot.Y.Tick.Marker = roundTicks{}, roundTicks{}
	f.Plot.Add(grid(true))
	if err := f.addFront(all, scale); err != nil {
		return Figure{}, err
	}
	drawn := map[string]int{}
	for _, p := range all {
		method := p.First().Spec.Method
		shapes := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.TriangleGlyph{}, draw.PyramidGlyph{}, draw.RingGlyph{}, draw.SquareGlyph{}}
		style := draw.GlyphStyle{Color: MethodColor(method), Radius: vg.Points(4), Shape: shapes[drawn[method]%len(shapes)]}
		drawn[method]++
		points, err := plotter.NewScatter(plotter.XYs{{X: p.memory / scale, Y: 100 * p.top1.Mean}})
		if err != nil {
			return Figure{}, err
		}
		points.GlyphStyle = style
		if p.top1.SD > 0 {
			bar, err := plotter.NewLine(plotter.XYs{{X: p.memory / scale, Y: 100 * (p.top1.Mean - p.top1.SD)}, {X: p.memory / scale, Y: 100 * (p.top1.Mean + p.top1.SD)}})
			if err != nil {
				return Figure{}, err
			}
			bar.LineStyle = draw.LineStyle{Color: style.Color, Width: vg.Points(1)}
			f.Plot.Add(bar)
		}
		f.Plot.Add(points)
		f.Legend.Add(p.label, points)
	}
	f.Plot.X.Min, f.Plot.X.Max = 0, largest/scale*1.06
	roundTicks{}.snap(&f.Plot.Y, 0, 100)
	return f, nil
}

// addFront joins what is not beaten, from the smallest memory up.
func (f *Figure) addFront(all []place, scale float64) error {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b place) int {
		if a.memory != b.memory {
			return int(min(max(a.memory-b.memory, -1), 1))
		}
		return int(min(max(1e9*(b.top1.Mean-a.top1.Mean), -1), 1))
	})
	var front plotter.XYs
	best := -1.0
	for _, p := range sorted {
		if p.top1.Mean > best {
			best = p.top1.Mean
			front = append(front, plotter.XY{X: p.memory / scale, Y: 100 * best})
		}
	}
	if len(front) < 2 {
		return nil
	}
	line, err := plotter.NewLine(front)
	if err != nil {
		return err
	}
	line.LineStyle = draw.LineStyle{Color: gray(0x99), Width: vg.Points(1), Dashes: dashes(1)}
	f.Plot.Add(line)
	f.Legend.Add("Pareto front", line)
	return nil
}

// ByDepth draws accuracy and planned peak against the auxiliary depth, a figure each: a
// line for each set of runs that agree in all else. An error if no setting has two
// depths.
func ByDepth(records []results.Record) (accuracy, memory Figure, err error) {
	all, largest := places(slices.DeleteFunc(slices.Clone(records), func(r results.Record) bool { return r.Spec.AuxDepth == 0 }))
	lines := map[string][]place{}
	var order []string
	for _, p := range all {
		r := p.First()
		r.Spec.AuxDepth, r.Spec.Seed, r.ID = 0, 0, ""
		key := results.SpecID(r.Spec)
		if lines[key] == nil {
			order = append(order, key)
		}
		lines[key] = append(lines[key], p)
	}
	order = slices.DeleteFunc(order, func(k string) bool { return len(lines[k]) < 2 })
	if len(order) == 0 {
		return Figure{}, Figure{}, errors.New("figure: by auxiliary depth: got no setting with two depths")
	}
	unit, scale := table.ByteUnit(int64(largest))
	accuracy = newFigure(title("Accuracy by auxiliary depth", records), 16*vg.Centimeter, 10*vg.Centimeter)
	memory = newFigure(title("Peak memory by auxiliary depth", records), 16*vg.Centimeter, 10*vg.Centimeter)
	accuracy.Plot.Y.Label.Text, memory.Plot.Y.Label.Text = "test top-1 accuracy after the last epoch [%]", "planned peak ["+unit+"]"
	for _, f := range []*Figure{&accuracy, &memory} {
		f.Plot.X.Label.Text = "auxiliary depth d [units]"
		f.Plot.X.Tick.Marker, f.Plot.Y.Tick.Marker = roundTicks{whole: true}, roundTicks{}
		f.Plot.Add(grid(true))
	}
	for i, key := range order {
		slices.SortFunc(lines[key], func(a, b place) int { return int(a.First().Spec.AuxDepth - b.First().Spec.AuxDepth) })
		first := lines[key][0].First().Spec
		name := first.Method + " " + first.Network + " " + first.Dataset
		top1 := curve{label: name, color: MethodColor(first.Method), nth: i}
		peak := top1
		for _, p := range lines[key] {
			d := float64(p.First().Spec.AuxDepth)
			top1.points = append(top1.points, point{d, 100 * p.top1.Mean, 100 * p.top1.SD})
			peak.points = append(peak.points, point{d, p.memory / scale, 0})
		}
		if err := errors.Join(top1.addBand(accuracy.Plot), top1.addLine(&accuracy), peak.addLine(&memory)); err != nil {
			return Figure{}, Figure{}, err
		}
	}
	roundTicks{}.snap(&accuracy.Plot.Y, 0, 100)
	memory.Plot.Y.Min = 0
	return accuracy, memory, nil
}

// Phases are the parts of a step in the order of its time.
func Phases() []string { return []string{"data", "forward", "auxiliary", "backward", "update"} }

func phaseColor(i int) color.RGBA {
	return hex([]uint32{0xbbbbbb, 0x4477aa, 0xccbb44, 0xee6677, 0x228833}[i])
}

// StepTime draws the time of a step as a bar for each set of runs, stacked by phase.
// An error if no record has phases.
func StepTime(records []results.Record) (Figure, error) {
	var groups []labelled
	largest := 0.0
	for _, g := range labels(records) {
		sum := 0.0
		for _, phase := range Phases() {
			if e, ok := g.Estimate(seconds(phase)); ok {
				sum += e.Mean
			}
		}
		if sum > 0 {
			groups = append(groups, g)
			largest = max(largest, sum)
		}
	}
	if len(groups) == 0 {
		return Figure{}, errors.New("figure: step time: got no record with the times of phases")
	}
	height := vg.Length(len(groups))*barPitch + 3*vg.Centimeter
	f := newFigure(title("Time of a training step", records), 21*vg.Centimeter, max(height, 6*vg.Centimeter))
	f.Plot.X.Label.Text = "mean time of a step [ms]"
	f.Plot.X.Tick.Marker = roundTicks{}
	f.Plot.Add(grid(false))
	var below *plotter.BarChart
	for i, phase := range Phases() {
		lengths := make(plotter.Values, len(groups))
		for j, g := range groups {
			if e, ok := g.Estimate(seconds(phase)); ok {
				lengths[len(groups)-1-j] = 1e3 * e.Mean
			}
		}
		chart, err := plotter.NewBarChart(lengths, barWidth)
		if err != nil {
			return Figure{}, err
		}
		chart.Horizontal, chart.Color, chart.LineStyle.Width = true, phaseColor(i), 0
		if below != nil {
			chart.StackOn(below)
		}
		below = chart
		f.Plot.Add(chart)
		f.Legend.Add(phase, chart)
	}
	names := make([]string, len(groups))
	for i, g := range groups {
		names[len(groups)-1-i] = g.label
	}
	f.Plot.X.Min, f.Plot.X.Max = 0, 1e3*largest*1.05
	f.Plot.Y.Min, f.Plot.Y.Max = -0.6, float64(len(groups))-0.4
	f.Plot.NominalY(names...)
	return f, nil
}

func seconds(phase string) func(results.Record) *float64 {
	return func(r results.Record) *float64 {
		if s, ok := r.Time.PhaseSeconds[phase]; ok {
			return &s
		}
		return nil
	}
}

// HeadAccuracy draws the test accuracy of every module's own classifier after the last
// epoch, from the first module to the last: what each layer has learned so far. An error
// if no record has any (benchctl run --eval-heads).
func HeadAccuracy(records []results.Record) (Figure, error) {
	f := newFigure(title("Accuracy of the modules' own classifiers", records), 20*vg.Centimeter, 11*vg.Centimeter)
	f.Plot.X.Label.Text, f.Plot.Y.Label.Text = "local module", "test top-1 accuracy after the last epoch [%]"
	f.Plot.X.Tick.Marker, f.Plot.Y.Tick.Marker = roundTicks{whole: true}, roundTicks{}
	f.Plot.Add(grid(true))
	drawn := map[string]int{}
	for _, g := range labels(records) {
		epochs := g.First().Accuracy.Epochs
		if len(epochs) == 0 || len(epochs[len(epochs)-1].Heads) == 0 {
			continue
		}
		method := g.First().Spec.Method
		l := curve{label: g.label, color: MethodColor(method), nth: drawn[method]}
		for i, head := range epochs[len(epochs)-1].Heads {
			e, ok := g.Estimate(func(r results.Record) *float64 {
				own := r.Accuracy.Epochs
				if len(own) == 0 || i >= len(own[len(own)-1].Heads) {
					return nil
				}
				return own[len(own)-1].Heads[i].TestTop1
			})
			if ok {
				l.points = append(l.points, point{float64(head.Module), 100 * e.Mean, 100 * e.SD})
			}
		}
		if len(l.points) == 0 {
			continue
		}
		drawn[method]++
		if err := errors.Join(l.addBand(f.Plot), l.addLine(&f)); err != nil {
			return Figure{}, err
		}
	}
	if len(drawn) == 0 {
		return Figure{}, errors.New("figure: accuracy of heads: got no record with the accuracy of auxiliary networks")
	}
	roundTicks{}.snap(&f.Plot.Y, 0, 100)
	return f, nil
}

// Named is a figure with the base of its file name.
type Named struct {
	Name string
	Figure
}

// All draws every figure that the records have something for.
func All(records []results.Record) []Named {
	var out []Named
	add := func(name string, f Figure, err error) {
		if err == nil {
			out = append(out, Named{name, f})
		}
	}
	f, err := AccuracyByEpoch(records)
	add("accuracy", f, err)
	f, err = PeakMemory(records)
	add("peak-memory", f, err)
	f, err = AccuracyAgainstMemory(records)
	add("accuracy-against-memory", f, err)
	f, err = StepTime(records)
	add("step-time", f, err)
	f, err = HeadAccuracy(records)
	add("heads", f, err)
	accuracy, memory, err := ByDepth(records)
	add("accuracy-by-depth", accuracy, err)
	add("memory-by-depth", memory, err)
	return out
}

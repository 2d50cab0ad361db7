package figure

import (
	"errors"
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/localbench/localbench/reports/rank"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// lastTop1 and plannedPeak are the quantities of the trade-off figures.
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
// over the seeds. A line joins the Pareto front as far as there is evidence: the group with the least memory, and
// each that is significantly more accurate than all that need less.
func AccuracyAgainstMemory(records []results.Record) (Figure, error) {
	all, largest := places(records)
	if len(all) == 0 {
		return Figure{}, errors.New("accuracy against memory: no finished record has a planned peak and an accuracy")
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
	for i, p := range all {
		method := p.First().Spec.Method
		shapes := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.RingGlyph{}, draw.SquareGlyph{},
			draw.TriangleGlyph{}}
		style := draw.GlyphStyle{Color: MethodColor(method), Radius: vg.Points(4), Shape: shapes[drawn[method]%len(shapes)]}
		drawn[method]++
		points, err := plotter.NewScatter(plotter.XYs{{X: p.memory / scale, Y: 100 * p.top1.Mean}})
		if err != nil {
			return Figure{}, err
		}
		points.GlyphStyle = style
		if p.top1.SD > 0 {
			bar, err := plotter.NewLine(plotter.XYs{{X: p.memory / scale, Y: 100 * (p.top1.Mean - p.top1.SD)},
				{X: p.memory / scale, Y: 100 * (p.top1.Mean + p.top1.SD)}})
			if err != nil {
				return Figure{}, err
			}
			bar.LineStyle = draw.LineStyle{Color: style.Color, Width: vg.Points(1)}
			f.Plot.Add(bar)
		}
		f.Plot.Add(points)
		if i < mostLines {
			f.Legend.Add(p.label, points)
		}
	}
	f.addMore(len(all) - mostLines)
	f.Plot.X.Min, f.Plot.X.Max = 0, largest/scale*1.06
	roundTicks{}.snap(&f.Plot.Y, 0, 100)
	return f, nil
}

// addFront joins the Pareto front, from the smallest memory up.
func (f *Figure) addFront(all []place, scale float64) error {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b place) int {
		if a.memory != b.memory {
			return int(min(max(a.memory-b.memory, -1), 1))
		}
		return int(min(max(1e9*(b.top1.Mean-a.top1.Mean), -1), 1))
	})
	var samples [][]float64
	for _, p := range sorted {
		samples = append(samples, p.Values(lastTop1))
	}
	var front plotter.XYs
	for i, on := range rank.Front(samples, false) {
		if on {
			front = append(front, plotter.XY{X: sorted[i].memory / scale, Y: 100 * sorted[i].top1.Mean})
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

// ByDepth draws accuracy and planned peak against the auxiliary depth, in two figures, with a
// line for each set of runs that agree in all other settings. It is an error if no setting has two
// depths.
func ByDepth(records []results.Record) (accuracy, memory Figure, err error) {
	all, largest := places(slices.DeleteFunc(slices.Clone(records), func(r results.Record) bool { return r.Spec.AuxDepth == 0 }))
	lines := map[string][]place{}
	var order []string
	for _, p := range all {
		key := results.SpecID(depthless(p.First().Spec))
		if lines[key] == nil {
			order = append(order, key)
		}
		lines[key] = append(lines[key], p)
	}
	order = slices.DeleteFunc(order, func(k string) bool { return len(lines[k]) < 2 })
	if len(order) == 0 {
		return Figure{}, Figure{}, errors.New("by auxiliary depth: no setting has two depths")
	}
	unit, scale := table.ByteUnit(int64(largest))
	accuracy = newFigure(title("Accuracy by auxiliary depth", records), 20*vg.Centimeter, 11*vg.Centimeter)
	memory = newFigure(title("Peak memory by auxiliary depth", records), 20*vg.Centimeter, 11*vg.Centimeter)
	accuracy.Plot.Y.Label.Text, memory.Plot.Y.Label.Text = "test top-1 accuracy after the last epoch [%]", "planned peak ["+unit+"]"
	for _, f := range []*Figure{&accuracy, &memory} {
		f.Plot.X.Label.Text = "auxiliary depth d [units]"
		f.Plot.X.Tick.Marker, f.Plot.Y.Tick.Marker = roundTicks{whole: true}, roundTicks{}
		f.Plot.Add(grid(true))
	}
	var ofLines []results.Record
	for _, r := range records {
		ofLines = append(ofLines, withoutDepth(r))
	}
	names := table.LabelsOf(ofLines)
	order, more := fewer(order, mostLines)
	accuracy.addMore(more)
	memory.addMore(more)
	for i, key := range order {
		slices.SortFunc(lines[key], func(a, b place) int { return int(a.First().Spec.AuxDepth - b.First().Spec.AuxDepth) })
		first := withoutDepth(lines[key][0].First())
		top1 := curve{label: names.Of(first), color: MethodColor(first.Spec.Method), nth: i}
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

// depthless is a spec without the auxiliary depth and the seed.
func depthless(s results.Spec) results.Spec {
	s.AuxDepth, s.Seed = 0, 0
	return s
}

// withoutDepth is what labels need of a record in a line over depths.
func withoutDepth(r results.Record) results.Record {
	return results.Record{Status: r.Status, Spec: depthless(r.Spec), Environment: r.Environment}
}

// Phases are the parts of a step in the order of its time.
func Phases() []string { return []string{"data", "forward", "auxiliary", "backward", "update"} }

func phaseColor(i int) color.RGBA {
	return hex([]uint32{0xbbbbbb, 0x4477aa, 0xccbb44, 0xee6677, 0x228833}[i])
}

// StepTime draws the time of a step as a bar for each set of runs, stacked by phase.
// It is an error if no record has phases.
func StepTime(records []results.Record) (Figure, error) {
	var groups []labelled
	largest := 0.0
	for _, g := range labels(records) {
		if sum := stepSum(g.Group); sum > 0 {
			groups = append(groups, g)
			largest = max(largest, sum)
		}
	}
	if len(groups) == 0 {
		return Figure{}, errors.New("step time: no record has times of phases")
	}
	height := vg.Length(min(len(groups), mostBars))*barPitch + 3*vg.Centimeter
	f := newFigure(title("Time of a training step", records), 21*vg.Centimeter, max(height, 6*vg.Centimeter))
	f.Plot.X.Label.Text = "mean time of a step [ms]"
	f.Plot.X.Tick.Marker = roundTicks{}
	f.Plot.Add(grid(false))
	groups, more := fewer(groups, mostBars)
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
	f.addMore(more)
	names := make([]string, len(groups))
	var ends []end
	for i, g := range groups {
		names[len(groups)-1-i] = g.label
		ends = append(ends, end{float64(len(groups) - 1 - i), 1e3 * stepSum(g.Group), milliseconds(stepSum(g.Group))})
	}
	f.addEnds(ends)
	f.Plot.X.Min, f.Plot.X.Max = 0, 1e3*largest
	f.Plot.X.Padding, f.Plot.Y.Padding = 0, 0
	f.Plot.Y.Min, f.Plot.Y.Max = -0.6, float64(len(groups))-0.4
	f.Plot.NominalY(names...)
	return f, nil
}

// milliseconds prints a time in the unit of the axis, with four digits.
func milliseconds(seconds float64) string {
	ms := 1e3 * seconds
	digits := 0
	for limit := 1000.0; digits < 4 && ms < limit; limit /= 10 {
		digits++
	}
	return fmt.Sprintf("%.*f ms", digits, ms)
}

// stepSum is the mean time of a step over all phases.
func stepSum(g results.Group) (sum float64) {
	for _, phase := range Phases() {
		if e, ok := g.Estimate(seconds(phase)); ok {
			sum += e.Mean
		}
	}
	return sum
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
// epoch over the last unit of the module, so that different modules share the
// axis. The last classifier is the network's. It is an error if no record has any (benchctl run --eval-heads).
func HeadAccuracy(records []results.Record) (Figure, error) {
	f := newFigure(title("Accuracy of the modules' own classifiers", records), 20*vg.Centimeter, 11*vg.Centimeter)
	f.Plot.X.Label.Text, f.Plot.Y.Label.Text = "layer: last unit of the module", "test top-1 accuracy after the last epoch [%]"
	f.Plot.X.Tick.Marker, f.Plot.Y.Tick.Marker = roundTicks{whole: true}, roundTicks{}
	f.Plot.Add(grid(true))
	drawn := map[string]int{}
	var lines []curve
	for _, g := range labels(records) {
		method := g.First().Spec.Method
		l := curve{label: g.label, color: MethodColor(method), nth: drawn[method], points: headPoints(g.Group)}
		if len(l.points) > 0 {
			drawn[method]++
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 {
		return Figure{}, errors.New("accuracy of heads: no record has accuracies of auxiliary networks")
	}
	if err := f.addCurves(lines); err != nil {
		return Figure{}, err
	}
	roundTicks{}.snap(&f.Plot.Y, 0, 100)
	return f, nil
}

// headPoints are the accuracies of a group's classifiers over the last unit of their modules.
func headPoints(g results.Group) (points []point) {
	last := func(r results.Record) []results.Head {
		if n := len(r.Accuracy.Epochs); n > 0 {
			return r.Accuracy.Epochs[n-1].Heads
		}
		return nil
	}
	modules := g.First().Model.Modules
	for i, head := range last(g.First()) {
		if head.Module < 0 || int(head.Module) >= len(modules) {
			continue
		}
		unit := int64(0)
		for _, m := range modules[:head.Module+1] {
			unit += m.Units
		}
		e, ok := g.Estimate(func(r results.Record) *float64 {
			if own := last(r); i < len(own) {
				return own[i].TestTop1
			}
			return nil
		})
		if ok {
			points = append(points, point{float64(unit), 100 * e.Mean, 100 * e.SD})
		}
	}
	return points
}

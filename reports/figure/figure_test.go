package figure

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"image/color"
	"image/png"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/plot"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// run is a run whose curve and sizes follow from its arguments alone.
func run(method string, seed uint64, epochs int64, final, mebibytes float64) results.Record {
	r := results.Record{Schema: 1, Status: results.StatusDone, Spec: results.Spec{Method: method, Network: "resnet32",
		Dataset: "cifar10", Batch: 1024, Precision: "f32", Backend: "cpu", Seed: seed, Epochs: epochs, LR: 0.8}}
	if method == "auglocal" {
		r.Spec.AuxDepth = 2
	}
	r.ID = results.SpecID(r.Spec)
	for e := int64(1); e <= epochs; e++ {
		x := float64(e)
		top1 := final*(1-math.Exp(-x/8)) + 0.01*math.Sin(x+3*float64(seed))
		r.Accuracy.Epochs = append(r.Accuracy.Epochs, results.Epoch{Epoch: e, LR: 0.1, TestTop1: new(max(top1, 0))})
	}
	const mebibyte = 1 << 20
	saved, rest := int64(mebibytes*0.7)*mebibyte, int64(mebibytes*0.1)*mebibyte
	r.Memory.ByCategory = map[string]int64{"parameters": 2 * mebibyte, "optimizer state": 2 * mebibyte, "saved activations": saved,
		"transient activations": rest, "gradients": rest, "workspace": rest / 4, "input batch": 12 * mebibyte}
	if method != "bp" && method != "checkpoint" {
		r.Memory.ByCategory["auxiliary parameters"] = 6 * mebibyte
	}
	sum := int64(0)
	for _, size := range r.Memory.ByCategory {
		sum += size
	}
	r.Memory.PlannedPeakBytes = &sum
	return r
}

func sweep() []results.Record { return sweepOf(3) }

// sweepOf is a sweep of the given number of seeds.
func sweepOf(seeds uint64) []results.Record {
	var records []results.Record
	for i, method := range table.Methods() {
		for seed := range seeds {
			records = append(records, run(method, seed, 60, 0.92-0.015*float64(i), 800-90*float64(i)))
		}
	}
	deep := run("auglocal", 0, 60, 0.93, 420)
	deep.Spec.AuxDepth = 5
	failed := run("infopro", 7, 60, 0.5, 440)
	failed.Status, failed.Accuracy.Epochs = results.StatusDiverged, failed.Accuracy.Epochs[:12]
	return append(records, deep, failed)
}

// whole are the finished runs of sweep with times, classifiers of modules and the last accuracy.
func whole() []results.Record { return wholeOf(3) }

func wholeOf(seeds uint64) (out []results.Record) {
	for _, r := range append(sweepOf(seeds), run("auglocal", 1, 60, 0.94, 420)) {
		if r.Status != results.StatusDone {
			continue
		}
		last := &r.Accuracy.Epochs[len(r.Accuracy.Epochs)-1]
		r.Accuracy.LastTop1 = last.TestTop1
		r.Time.PhaseSeconds = map[string]float64{"data": 0.001, "forward": 0.1, "backward": 0.2, "update": 0.004}
		if r.Spec.Method != "bp" && r.Spec.Method != "checkpoint" {
			r.Time.PhaseSeconds["auxiliary"] = 0.05
			for m := range int64(3) { // of 1, 5 and 10 units
				r.Model.Modules = append(r.Model.Modules, results.Module{Units: []int64{1, 5, 10}[m]})
				last.Heads = append(last.Heads, results.Head{Module: m, TestTop1: new(*last.TestTop1 * (0.7 + 0.15*float64(m)))})
			}
		}
		out = append(out, r)
	}
	return out
}

func figures(t *testing.T) map[string]Figure {
	t.Helper()
	out := map[string]Figure{}
	add := func(name string, f Figure, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = f
	}
	f, err := AccuracyByEpoch(sweep())
	add("accuracy", f, err)
	f, err = AccuracyByEpoch([]results.Record{run("bp", 0, 1, 2.9, 800), run("dgl", 0, 5, 0.9, 400)})
	add("accuracy-short", f, err)
	f, err = PeakMemory(sweep())
	add("memory", f, err)
	plain := []results.Record{run("bp", 0, 1, 0.9, 800), run("dgl", 0, 1, 0.9, 4), run("man", 0, 1, 0.9, 300)}
	for i := range plain {
		plain[i].Memory.ByCategory = nil
	}
	f, err = PeakMemory(plain)
	add("memory-plain", f, err)
	f, err = PeakMemory(append(plain, run("auglocal", 0, 1, 0.9, 200)))
	add("memory-mixed", f, err)
	over, err := MemoryOverStep([]Timeline{rising("bp", 800<<20), rising("auglocal", 120<<20)})
	if err != nil {
		t.Fatal(err)
	}
	history, err := History("planned_peak", []string{"aaaaaaa", "bbbbbbb", "ccccccc", "ddddddd"}, []HistoryLine{
		{"resnet20-bp", []HistoryPoint{{0, 200}, {1, 200}, {2, 180}, {3, 180}}, []int{2}},
		{"resnet32-bp", []HistoryPoint{{0, 400}, {1, 400}, {2, 360}, {3, 360}}, []int{2}},
		{"resnet20-dgl", []HistoryPoint{{0, 50}, {2, 55}, {3, 52}}, []int{2, 3}}})
	add("history", history, err)
	add("timeline-bp", over[0], nil)
	f, err = AccuracyAgainstMemory(wholeOf(8)) // three seeds are no evidence for a Pareto front
	add("tradeoff", f, err)
	add("tradeoff-narrow", f.Untitled().Narrow(258), nil)
	f, err = StepTime(whole())
	add("step-time", f, err)
	f, err = HeadAccuracy(whole())
	add("heads", f, err)
	accuracy, memory, err := ByDepth(whole())
	add("accuracy-by-depth", accuracy, err)
	add("memory-by-depth", memory, err)
	add("timeline-auglocal", over[1], nil)
	return out
}

// rising is a timeline of 40 ops: saved activations pile up and are used up.
func rising(label string, peak float64) Timeline {
	t := Timeline{Label: label, Bytes: make([][]float64, len(Categories()))}
	for c := range t.Bytes {
		t.Bytes[c] = make([]float64, 40)
	}
	for op := range 40 {
		t.Bytes[0][op] = peak / 20
		t.Bytes[5][op] = peak * float64(min(op, 39-op)) / 20
		t.Bytes[4][op] = peak / 40 * float64(op/20)
	}
	return t
}

func svg(t *testing.T, f Figure) string {
	t.Helper()
	var b bytes.Buffer
	if err := f.SVG(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFiguresGolden(t *testing.T) {
	const made = "<!-- go test ./reports/figure -update -->\n"
	for name, f := range figures(t) {
		got := svg(t, f)
		path := filepath.Join("testdata", name+".svg.golden")
		if *update {
			if err := os.WriteFile(path, []byte(made+got), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := sameDrawing(strings.TrimPrefix(string(want), made), got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var coordinate = regexp.MustCompile(`-?\d+(\.\d+)?(e-?\d+)?`)

// sameDrawing compares two SVG texts: the same but for numbers, and numbers within
// a twentieth of a point, because processors that fuse multiply and add round
// the last digits otherwise.
func sameDrawing(want, got string) error {
	if w, g := coordinate.ReplaceAllString(want, "#"), coordinate.ReplaceAllString(got, "#"); w != g {
		return errors.New("texts, colours or shapes differ from the golden file")
	}
	wants, gots := coordinate.FindAllString(want, -1), coordinate.FindAllString(got, -1)
	for i := range wants {
		w, errWant := strconv.ParseFloat(wants[i], 64)
		g, errGot := strconv.ParseFloat(gots[i], 64)
		if errWant != nil || errGot != nil || math.Abs(w-g) > 0.05 {
			return fmt.Errorf("number %d: got %s, want %s", i, gots[i], wants[i])
		}
	}
	return nil
}

// The comparison itself is checked with planted faults.
func TestSameDrawingSeesFaults(t *testing.T) {
	drawing := svg(t, figures(t)["memory"])
	if err := sameDrawing(drawing, drawing); err != nil {
		t.Errorf("the same drawing: got %v", err)
	}
	for name, fault := range map[string]string{
		"another text":   strings.Replace(drawing, "planned peak", "planned peek", 1),
		"another unit":   strings.Replace(drawing, "[MiB]", "[MB]", 1),
		"another number": strings.Replace(drawing, ">400<", ">401<", 1),
		"another colour": strings.Replace(drawing, "#CC6677", "#CC6688", 1),
		"another size":   regexp.MustCompile(`L(\d)`).ReplaceAllString(drawing, "L9$1"),
	} {
		if fault == drawing {
			t.Errorf("%s: the fault was not planted", name)
		} else if sameDrawing(drawing, fault) == nil {
			t.Errorf("%s: got no difference", name)
		}
	}
}

func TestTheSameRecordsGiveTheSameBytes(t *testing.T) {
	render := func(records []results.Record) string {
		a, errA := AccuracyByEpoch(records)
		m, errM := PeakMemory(records)
		if errA != nil || errM != nil {
			t.Fatal(errA, errM)
		}
		var picture bytes.Buffer
		if err := m.PNG(&picture); err != nil {
			t.Fatal(err)
		}
		return svg(t, a) + svg(t, m) + picture.String()
	}
	records := sweep()
	want := render(records)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	if render(records) != want {
		t.Error("got another drawing of the same records in another order")
	}
}

func TestNothingToDrawIsAnError(t *testing.T) {
	bare := run("bp", 0, 0, 0, 0)
	bare.Memory = results.Memory{}
	for _, records := range [][]results.Record{nil, {bare}} {
		if _, err := AccuracyByEpoch(records); err == nil || !strings.Contains(err.Error(), "no record has a test accuracy") {
			t.Errorf("accuracy: got %v", err)
		}
		if _, err := PeakMemory(records); err == nil || !strings.Contains(err.Error(), "no record has a planned peak") {
			t.Errorf("memory: got %v", err)
		}
	}
}

func TestOddRecordsAreDrawn(t *testing.T) {
	zero := run("bp", 0, 1, 0, 0)
	zero.Memory = results.Memory{PlannedPeakBytes: new(int64(0))}
	huge := run("<&>\"'", 0, 2, 1, 0)
	huge.Memory = results.Memory{PlannedPeakBytes: new(int64(math.MaxInt64))}
	huge.Environment.CPU = strings.Repeat("a long name of a processor ", 9)
	for _, records := range [][]results.Record{{zero}, {huge}, {zero, huge}} {
		for _, draw := range []func([]results.Record) (Figure, error){AccuracyByEpoch, PeakMemory} {
			f, err := draw(records)
			if err != nil {
				t.Fatal(err)
			}
			if text := svg(t, f); strings.Contains(text, "NaN") || strings.Contains(text, "<&>") {
				t.Error("got a drawing with NaN or with text that is not escaped")
			}
		}
	}
}

func TestPartsThatDoNotSumAreNotShown(t *testing.T) {
	good, bad := run("bp", 0, 1, 0.9, 800), run("dgl", 0, 1, 0.9, 400)
	bad.Memory.ByCategory["gradients"]++
	bars := peakBars([]results.Record{good, bad})
	if len(bars[0].parts) < 5 || bars[1].parts[unattributed] != bars[1].peak {
		t.Errorf("got %v and %v, want the first split and the second whole", bars[0].parts, bars[1].parts)
	}
}

func TestAverageStopsWhereASeedStopped(t *testing.T) {
	long, short := run("bp", 0, 5, 0.9, 1), run("bp", 1, 5, 0.9, 1)
	short.Accuracy.Epochs = short.Accuracy.Epochs[:3]
	f := labels([]results.Record{long, short})
	if got := len(average(f[0].Group)); len(f) != 1 || got != 3 {
		t.Errorf("got %d lines with %d points, want one with 3", len(f), got)
	}
}

func TestMethodsAndCategoriesHaveTheirOwnColours(t *testing.T) {
	for what, row := range map[string]struct {
		names []string
		color func(string) any
	}{
		"methods":    {append(table.Methods(), "unknown"), func(s string) any { return MethodColor(s) }},
		"categories": {append(Categories(), "unknown"), func(s string) any { return CategoryColor(s) }},
	} {
		seen := map[any]string{}
		for _, name := range row.names {
			if other, taken := seen[row.color(name)]; taken {
				t.Errorf("%s: %s and %s have one colour", what, name, other)
			}
			seen[row.color(name)] = name
		}
	}
}

func TestSaveWritesAllAndKeepsTheOldOnFailure(t *testing.T) {
	dir := t.TempDir()
	f := figures(t)["memory-plain"]
	base := filepath.Join(dir, "peak")
	files, err := Save(f, base)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 {
		t.Errorf("got %v, want three files", files)
	}
	if pdf, err := os.ReadFile(base + ".pdf"); err != nil || !bytes.HasPrefix(pdf, []byte("%PDF-1.")) ||
		!bytes.Contains(pdf, []byte("%%EOF")) {
		t.Errorf("%v: got no PDF of %d bytes", err, len(pdf))
	}
	file, err := os.Open(base + ".png")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if config, err := png.DecodeConfig(file); err != nil || config.Width < 1000 {
		t.Errorf("got %+v, %v, want a PNG wide enough to print", config, err)
	}
	old, err := os.ReadFile(base + ".svg")
	if err != nil {
		t.Fatal(err)
	}
	broken := f
	broken.Plot = newFigure("broken", 1, 1).Plot
	broken.Plot.Y.Scale, broken.Plot.Y.Min, broken.Plot.Y.Max = plot.LogScale{}, -1, 1 // the library panics
	broken.Plot.X.Min, broken.Plot.X.Max = 0, 1
	if _, err := Save(broken, base); err == nil {
		t.Error("got no error of a plot without an extent")
	}
	if now, err := os.ReadFile(base + ".svg"); err != nil || !bytes.Equal(old, now) {
		t.Errorf("got another file (%v) after a failure, want the old one", err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 3 {
		t.Errorf("got %d files, want three and no leftovers", len(entries))
	}
	_, err = Save(f, filepath.Join(dir, "none", "peak"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "peak.png was not written") {
		t.Errorf("got %v, want the file and that its folder is missing", err)
	}
}

func TestRoundTicks(t *testing.T) {
	for name, row := range map[string]struct {
		low, high float64
		whole     bool
		want      string
	}{
		"percent":          {0, 100, false, "0 20 40 60 80 100"},
		"a narrow band":    {92.1, 93.1, false, "92.2 92.4 92.6 92.8 93.0"},
		"five epochs":      {1, 5, true, "1 2 3 4 5"},
		"one epoch":        {0, 2, true, "0 1 2"},
		"paper's epochs":   {1, 400, true, "100 200 300 400"},
		"mebibytes":        {0, 892, false, "0 200 400 600 800"},
		"nothing":          {3, 3, false, "3"},
		"less than a byte": {0, 0.001, false, "0.0000 0.0002 0.0004 0.0006 0.0008 0.0010"},
	} {
		var got []string
		for _, tick := range (roundTicks{row.whole}).Ticks(row.low, row.high) {
			got = append(got, tick.Label)
		}
		if s := strings.Join(got, " "); s != row.want {
			t.Errorf("%s: got %s, want %s", name, s, row.want)
		}
	}
}

// TestThinnedKeepsThePeak: a peak of one op among ten thousand stays.
func TestThinnedKeepsThePeak(t *testing.T) {
	line := Timeline{Bytes: make([][]float64, len(Categories()))}
	for c := range line.Bytes {
		line.Bytes[c] = make([]float64, 10_000)
		for op := range line.Bytes[c] {
			line.Bytes[c][op] = float64(op % 7)
		}
	}
	line.Bytes[3][4321] = 1000
	thin := line.thinned(600)
	if len(thin.Bytes[0]) != 600 || thin.peak() != line.peak() {
		t.Errorf("%d columns with a peak of %g, want 600 and %g", len(thin.Bytes[0]), thin.peak(), line.peak())
	}
}

// TestHeadsStandAtLayers: a classifier stands at the last unit of its module, so that methods with
// other modules are over one axis: modules of 1, 5 and 10 units end at 1, 6 and 16.
func TestHeadsStandAtLayers(t *testing.T) {
	for _, g := range labels(whole()) {
		points := headPoints(g.Group)
		if g.First().Spec.Method == "bp" || g.First().Spec.Method == "checkpoint" {
			if points != nil {
				t.Errorf("%s: got %v, want nothing", g.label, points)
			}
			continue
		}
		if len(points) != 3 || points[0].epoch != 1 || points[1].epoch != 6 || points[2].epoch != 16 {
			t.Errorf("%s: got %v, want points at 1, 6 and 16", g.label, points)
		}
	}
	odd := whole()[6]
	odd.Accuracy.Epochs[59].Heads[0].Module = 99
	odd.Accuracy.Epochs[59].Heads[1].Module = -1
	if points := headPoints(labels([]results.Record{odd})[0].Group); len(points) != 1 {
		t.Errorf("modules that there are not: got %v, want the third point alone", points)
	}
}

// TestTasksApart: networks and data sets have separate figures, with names that are files'
// whatever a record says.
func TestTasksApart(t *testing.T) {
	other := whole()
	for i := range other {
		other[i].Spec.Network = "../resnet110"
	}
	names := map[string]bool{}
	for _, f := range All(append(other, whole()...)) {
		names[f.Name] = true
		if strings.Contains(f.Title(), "resnet110") != strings.HasSuffix(f.Name, "-___resnet110-cifar10") {
			t.Errorf("%s shows %s", f.Name, f.Title())
		}
	}
	if len(names) != 14 || !names["heads-resnet32-cifar10"] {
		t.Errorf("got %v, want seven figures twice", names)
	}
}

// TestManyAreNamed: what is not shown is counted in the legend.
func TestManyAreNamed(t *testing.T) {
	var records []results.Record
	for i := range int64(50) {
		r := whole()[0]
		r.Spec.Batch = 1 + i
		records = append(records, r)
	}
	for name, want := range map[string]string{"accuracy": "and 30 more, not shown", "peak-memory": "and 10 more, not shown",
		"step-time": "and 10 more, not shown", "accuracy-against-memory": "and 30 more, not shown"} {
		found := false
		for _, f := range All(records) {
			if f.Name == name {
				found = strings.Contains(svg(t, f.Figure), want)
			}
		}
		if !found {
			t.Errorf("%s: no %q", name, want)
		}
	}
}

// TestColoursForEveryVision simulates the two common kinds of colour blindness (Machado, Oliveira and
// Fernandes, 2009, severity 1) and wants the colours of any two methods, and of any two phases that
// touch, apart by more than is just noticeable, in CIE L*a*b*.
func TestColoursForEveryVision(t *testing.T) {
	visions := map[string][3][3]float64{
		"any":          {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
		"protanopia":   {{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}},
		"deuteranopia": {{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}},
	}
	lab := func(c color.RGBA, m [3][3]float64) (out [3]float64) {
		var linear, seen [3]float64
		for i, v := range []uint8{c.R, c.G, c.B} {
			x := float64(v) / 255
			if linear[i] = x / 12.92; x > 0.04045 {
				linear[i] = math.Pow((x+0.055)/1.055, 2.4)
			}
		}
		for i := range m {
			for j := range linear {
				seen[i] += m[i][j] * linear[j]
			}
			seen[i] = min(max(seen[i], 0), 1)
		}
		f := func(x, white float64) float64 {
			if x /= white; x > 0.008856 {
				return math.Cbrt(x)
			}
			return 7.787*x + 16.0/116
		}
		x := f(0.4124*seen[0]+0.3576*seen[1]+0.1805*seen[2], 0.9505)
		y := f(0.2126*seen[0]+0.7152*seen[1]+0.0722*seen[2], 1)
		z := f(0.0193*seen[0]+0.1192*seen[1]+0.9505*seen[2], 1.089)
		return [3]float64{116*y - 16, 500 * (x - y), 200 * (y - z)}
	}
	const least = 10 // 2.3 is just noticeable
	for vision, m := range visions {
		distance := func(a, b color.RGBA) float64 {
			p, q := lab(a, m), lab(b, m)
			return math.Hypot(math.Hypot(p[0]-q[0], p[1]-q[1]), p[2]-q[2])
		}
		methods := table.Methods()
		for i, a := range methods {
			for _, b := range methods[:i] {
				if d := distance(MethodColor(a), MethodColor(b)); d < least {
					t.Errorf("%s: %s and %s are %.1f apart, want %d", vision, a, b, d, least)
				}
			}
		}
		for i := range Phases()[1:] {
			if d := distance(phaseColor(i), phaseColor(i+1)); d < least {
				t.Errorf("%s: %s and %s are %.1f apart, want %d", vision, Phases()[i], Phases()[i+1], d, least)
			}
		}
		categories := Categories()
		for i := range categories[1:] {
			if d := distance(CategoryColor(categories[i]), CategoryColor(categories[i+1])); d < least {
				t.Errorf("%s: %s and %s are %.1f apart, want %d", vision, categories[i], categories[i+1], d, least)
			}
		}
	}
}

// The figure of curves has one line for each run, and its axes hold all points.
func TestMemoryAgainstFLOPs(t *testing.T) {
	point := func(arena, flops int64) results.CurvePoint {
		return results.CurvePoint{StepArenaBytes: arena << 20, LowerBoundBytes: arena << 20, FLOPsPerSample: flops * 1e6}
	}
	curves := []results.Curve{
		{Spec: run("bp", 1, 1, 0, 1).Spec, Points: []results.CurvePoint{point(200, 250), point(100, 300)}},
		{Spec: run("auglocal", 1, 1, 0, 1).Spec, Points: []results.CurvePoint{point(80, 540)}},
	}
	f, err := MemoryAgainstFLOPs(curves)
	if err != nil {
		t.Fatal(err)
	}
	if f.Plot.X.Min > 0.25 || f.Plot.X.Max < 0.54 || f.Plot.Y.Min != 0 || f.Plot.Y.Max < 200 {
		t.Errorf("axes: x %g to %g, y %g to %g, want 0.25 to 0.54 and 0 to 200 within them", f.Plot.X.Min, f.Plot.X.Max, f.Plot.Y.Min,
			f.Plot.Y.Max)
	}
	if _, err := MemoryAgainstFLOPs(nil); err == nil {
		t.Error("no curves: want an error")
	}
}

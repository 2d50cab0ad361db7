package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/published"
	"github.com/localbench/localbench/suite"
)

// reproduction is a published cell and what there is of our own.
type reproduction struct {
	published.Cell
	specs   []results.Spec // by seed
	why     string         // no spec can be made of it
	own, sd float64
	n       int
	places  []string // what the runs were made on
}

// prepare turns a cell into specs, one a seed.
func (f *reproduceFlags) prepare(c published.Cell) reproduction {
	r := suite.Request{Methods: []string{c.Method}, Networks: []string{c.Network}, Datasets: []string{c.Dataset}, Seeds: f.request.Seeds,
		Modules: []int{c.Modules}, AuxDepths: []int{max(c.AuxDepth, 2)}, Epochs: c.Epochs,
		Selection: c.Options["selection"], NoPyramid: c.Options["pyramid"] == "no", Threads: f.request.Threads, Quirks: f.quirks}
	// No cell with fewer modules than units is of AugLocal's program, whose cuts are those of --quirks paper.
	r.Mode = c.Options["mode"]
	r.Cuts = cmp.Or(c.Options["cuts"], suite.CutsPublished)
	if c.Batch > 0 {
		r.Batches = []int64{c.Batch}
	}
	if c.Accuracy() { // memory is a model's, of no device and of no run
		r.Backend, r.Precision, r.Device, r.ValFraction = f.request.Backend, f.request.Precision, f.request.Device, f.request.ValFraction
		if f.scale == scaleSmoke {
			r.Epochs, r.TrainLimit, r.TestLimit = 1, 2048, 1024
		}
	}
	specs, err := r.Expand()
	if err != nil {
		return reproduction{Cell: c, why: oneLine(err.Error())}
	}
	if f.scale == scaleReduced {
		for i := range specs {
			specs[i].Epochs = max(1, specs[i].Epochs/10)
		}
	}
	return reproduction{Cell: c, specs: specs}
}

// memories are the bytes of specs, so that a baseline is planned once.
type memories map[string]float64

// of is what an eager framework would report of a step of a spec: with the quirks of the
// published programs, the peak of the first step, in which they search for algorithms.
func (m memories) of(s results.Spec) (float64, error) {
	id := results.SpecID(s)
	if bytes, ok := m[id]; ok {
		return bytes, nil
	}
	c, err := suite.Compile(s)
	if err != nil {
		return 0, err
	}
	bytes := c.Memory.EagerAllocatedBytes
	if s.Quirks == suite.QuirksPaper {
		bytes = c.Memory.EagerSearchedBytes
	}
	m[id] = float64(*bytes)
	return m[id], nil
}

// measure fills in our own figure, if there is one.
func (f *reproduceFlags) measure(r *reproduction, memory memories) (err error) {
	if r.why != "" {
		return nil
	}
	if !r.Accuracy() {
		if r.own, err = memory.of(r.specs[0]); err != nil {
			return usage(err)
		}
		r.n = 1
		if r.Metric == published.MemoryReduction {
			baseline := r.Cell
			baseline.Method, baseline.Modules, baseline.AuxDepth, baseline.Options = "bp", 0, 0, nil
			bytes, err := memory.of(f.prepare(baseline).specs[0])
			if err != nil {
				return usage(err)
			}
			r.own = 1 - r.own/bytes
		}
		return nil
	}
	var values []float64
	for _, s := range r.specs {
		rec, ok := f.record(s)
		if x := f.accuracy(r.Metric, rec.Accuracy); ok && x != nil {
			values = append(values, *x)
			r.places = append(r.places, fmt.Sprintf("%s (%s, %s)", cmp.Or(rec.Environment.GPU, rec.Environment.CPU, "a machine without a name"), s.Backend, s.Precision))
		}
	}
	for _, v := range values {
		r.own += v / float64(len(values))
	}
	for _, v := range values {
		r.sd += (v - r.own) * (v - r.own) / float64(max(len(values)-1, 1))
	}
	r.sd, r.n = math.Sqrt(r.sd), len(values)
	return nil
}

// accuracy is the figure of a run after the epoch that counts.
func (f *reproduceFlags) accuracy(metric string, a results.Accuracy) *float64 {
	paper := f.quirks == suite.QuirksPaper
	switch {
	case metric == published.Top1 && paper:
		return a.BestTop1
	case metric == published.Top1:
		return cmp.Or(a.SelectedTop1, a.LastTop1)
	case paper:
		return a.BestTop5
	}
	for _, e := range a.Epochs {
		if a.SelectedEpoch != nil && e.Epoch == *a.SelectedEpoch {
			return e.TestTop5
		}
	}
	return a.LastTop5
}

// What counts as the same: half a point of accuracy, a twentieth of the memory, or, of a
// saving that the paper gives as "around", five points.
const (
	samePoints = 0.005
	sameMemory = 0.05
	sameSaving = 0.05
)

// verdict judges a cell; not to hold is to be judged and found different.
func (f *reproduceFlags) verdict(r reproduction) (string, bool) {
	switch {
	case r.why != "":
		return "not run: " + r.why, true
	case r.n == 0:
		return "not run", true
	case r.Value == nil:
		return "not comparable: the published figure was not seen", true
	case !r.Accuracy() && f.quirks != suite.QuirksPaper:
		return "not comparable: the published figure holds the search for algorithms, as with --quirks paper", true
	case r.Accuracy() && f.scale != scaleFull:
		return "not comparable: scale " + f.scale, true
	case r.Recipe != "":
		return "not comparable: another recipe (" + r.Recipe + ")", true
	}
	distance, same, spread := math.Abs(r.own-*r.Value), samePoints, r.sd
	switch r.Metric {
	case published.Memory:
		distance, same = distance / *r.Value, sameMemory
	case published.MemoryReduction:
		same = sameSaving
	}
	if r.SD != nil {
		spread = math.Hypot(*r.SD, r.sd)
	}
	switch {
	case distance <= same+1e-12: // half a point is half a point, whatever the last bits say
		return "reproduced", true
	case r.Accuracy() && distance <= 2*spread+1e-12:
		return "within seed noise", true
	case r.own < *r.Value:
		return "lower", false
	}
	return "higher", false
}

func (f *reproduceFlags) heading() table.Table {
	t := table.Table{ID: "reproduction", Title: "Published and own figures: " + f.table, Columns: []table.Column{table.TextColumn("network", "network"), table.TextColumn("dataset", "data set"),
		table.TextColumn("method", "method"), table.NumberColumn("modules", "K"), table.NumberColumn("aux_depth", "d"), table.TextColumn("options", "options"), table.TextColumn("metric", "metric"),
		table.NumberColumn("published", "published"), table.NumberColumn("own", "own"), table.NumberColumn("difference", "difference"), table.NumberColumn("runs", "seeds"),
		table.TextColumn("verdict", "verdict"), table.TextColumn("mark", "mark"), table.TextColumn("source", "source")}}
	t.Notes = []string{"Marks: A seen in the authors' own material, B restated by others, D derived from such a figure."}
	return t
}

// notes say what our own figures are, and on what they were made.
func (f *reproduceFlags) notes(places []string) []string {
	if f.table == "memory" {
		what := "a step, without the search for algorithms"
		if f.quirks == suite.QuirksPaper {
			what = "a first step with the search for algorithms, as the published programs print it"
		}
		return []string{"Our memory is the eager model's estimate of " + what + "; no GPU was used. GB are 10^9 bytes."}
	}
	if len(places) == 0 {
		return []string{fmt.Sprintf("There is no accuracy of our own at scale %s yet.", f.scale)}
	}
	slices.Sort(places)
	epoch := "of the last epoch"
	switch {
	case f.quirks == suite.QuirksPaper:
		epoch = "of the best epoch on the test set, as the programs report it"
	case f.request.ValFraction > 0:
		epoch = fmt.Sprintf("of the epoch that is best on held out samples (%g of the training set)", f.request.ValFraction)
	}
	return []string{fmt.Sprintf("Our accuracies are at scale %s, %s, on %s.", f.scale, epoch, strings.Join(slices.Compact(places), " and "))}
}

func row(r reproduction, verdict string) []table.Cell {
	text := func(x, sd float64) string {
		if r.Metric == published.Memory {
			return fmt.Sprintf("%.2f GB", x/1e9)
		}
		if sd > 0 {
			return fmt.Sprintf("%.2f ± %.2f %%", 100*x, 100*sd)
		}
		return fmt.Sprintf("%.2f %%", 100*x)
	}
	whole := func(n int) table.Cell {
		if n == 0 {
			return table.Cell{}
		}
		return table.Number(float64(n), fmt.Sprint(n))
	}
	own, difference, runs := table.Cell{}, table.Cell{}, whole(r.n)
	if r.n > 0 {
		own = table.Number(r.own, text(r.own, r.sd))
		if r.n > 1 {
			own.Spread = &r.sd
		}
		switch {
		case r.Value == nil:
		case r.Metric == published.Memory:
			difference = table.Number(r.own / *r.Value - 1, fmt.Sprintf("%+.1f %%", 100*(r.own / *r.Value - 1)))
		default:
			difference = table.Number(r.own-*r.Value, fmt.Sprintf("%+.2f points", 100*(r.own-*r.Value)))
		}
		if r.Accuracy() && r.n < len(r.specs) {
			runs.Text = fmt.Sprintf("%d of %d", r.n, len(r.specs))
		}
	}
	value := table.Text("not seen")
	if r.Value != nil {
		value = table.Number(*r.Value, text(*r.Value, *cmp.Or(r.SD, new(float64))))
		value.Spread = r.SD
	}
	var chosen []string
	for _, key := range slices.Sorted(maps.Keys(r.Options)) {
		chosen = append(chosen, key+" "+r.Options[key])
	}
	source := r.Source
	if r.Note != "" {
		source += " (" + r.Note + ")"
	}
	return []table.Cell{table.Text(r.Network), table.Text(r.Dataset), table.Text(r.Method), whole(r.Modules), whole(r.AuxDepth), table.Text(strings.Join(chosen, ", ")),
		table.Text(r.Metric), value, own, difference, runs, table.Text(verdict), table.Text(r.Mark), table.Text(source)}
}

package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/published"
	"github.com/localbench/localbench/suite"
)

// reproduceFlags are those of `reproduce`.
type reproduceFlags struct {
	table, scale, quirks, out, dataDir, format string
	request                                    suite.Request // seeds, and what computes
	noRun, quiet                               bool
}

// The scales at which a table is run.
const (
	scaleFull    = "full"    // the paper's epochs
	scaleReduced = "reduced" // a tenth of them
	scaleSmoke   = "smoke"   // one epoch of the first samples: that all of it runs
)

func reproduceCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "reproduce",
		Short: "a paper's table: run what is missing, print published and own figures side by side",
		Long: "reproduce knows figures of papers, with their sources, and the settings that they were\n" +
			"made with. It runs what has no record yet and gives each cell a verdict. Accuracies are\n" +
			"judged at full scale only. Memory is the eager model's, and needs no run. A cell that\n" +
			"does not hold ends with exit code 1.",
		Example: "  benchctl reproduce --table memory\n  benchctl reproduce --table cifar10 --scale smoke --data-dir data",
		Args:    noArguments,
	}
	f := &reproduceFlags{scale: scaleSmoke, quirks: "none", format: "table", request: suite.Defaults()}
	flags := c.Flags()
	flags.SortFlags = false
	define(flags, "table", "name", "", "cifar10, infopro-cifar10, svhn, stl10, imagenet, memory or ablation", word(&f.table))
	define(flags, "scale", "name", f.scale, "full: the paper's epochs; reduced: a tenth; smoke: one epoch of 2048 samples", word(&f.scale))
	define(flags, "seeds", "count or list", "1", "3: the seeds 1 to 3; 1,2,5: these seeds", seeds(&f.request.Seeds))
	define(flags, "quirks", "name", f.quirks, "paper: report the best epoch on the test set, as the programs do; none: the last", word(&f.quirks))
	f.dataDir = env.Getenv("BENCHCTL_DATA")
	if f.dataDir == "" {
		f.dataDir = "data"
	}
	define(flags, "data-dir", "folder", f.dataDir, "where the data sets lie; $BENCHCTL_DATA sets the default", word(&f.dataDir))
	f.out = filepath.Join("results", "reproductions")
	define(flags, "out", "folder", f.out, "of the records", word(&f.out))
	addDevice(flags, &f.request)
	define(flags, "format", "name", f.format, "of the table: table, markdown, csv, latex or json", word(&f.format))
	flags.BoolVar(&f.noRun, "no-run", false, "judge the records that there are, run nothing")
	flags.BoolVar(&f.quiet, "quiet", false, "no progress on standard error")
	c.RunE = func(*cobra.Command, []string) error { return f.run(env) }
	return c
}

// reproduction is a published cell and what there is of our own.
type reproduction struct {
	published.Cell
	specs   []results.Spec // by seed
	why     string         // no spec can be made of it
	own, sd float64
	n       int
	places  []string // what the runs were made on
}

func (f *reproduceFlags) run(env Env) error {
	format, err := table.Lookup(f.format)
	if err != nil {
		return usage(err)
	}
	cells, err := published.Cells(f.table)
	if err != nil {
		return usage(err)
	}
	if f.scale != scaleFull && f.scale != scaleReduced && f.scale != scaleSmoke {
		return usage(fmt.Errorf("scale: got %q, want %s, %s or %s", f.scale, scaleFull, scaleReduced, scaleSmoke))
	}
	if f.quirks != "none" && f.quirks != "paper" {
		return usage(fmt.Errorf("quirks: got %q, want none or paper", f.quirks))
	}
	if _, err := f.request.Expand(); err != nil {
		return usage(err)
	}
	all := make([]reproduction, len(cells))
	var missing []results.Spec
	for i, c := range cells {
		all[i] = f.prepare(c)
		for _, s := range all[i].specs {
			if _, ok := f.record(s); !ok && c.Metric == "top1" {
				missing = append(missing, s)
			}
		}
	}
	if err := f.runMissing(env, missing); err != nil {
		return err
	}
	failed := 0
	var places []string
	t := f.heading()
	for i := range all {
		if err := f.measure(&all[i]); err != nil {
			return err
		}
		verdict, holds := f.verdict(all[i])
		if !holds {
			failed++
		}
		t.Rows = append(t.Rows, row(all[i], verdict))
		places = append(places, all[i].places...)
	}
	t.Notes = append(t.Notes, f.note(places))
	var verdict error
	if failed > 0 {
		verdict = &verdictError{fmt.Sprintf("reproduce: %d of %d cells of %s do not hold", failed, len(all), f.table)}
	}
	if err := env.emit(format, answer{tables: []table.Table{t}}, verdict); err != nil {
		return err
	}
	return verdict
}

// prepare turns a cell into specs, one a seed.
func (f *reproduceFlags) prepare(c published.Cell) reproduction {
	r := suite.Request{Methods: []string{c.Method}, Networks: []string{c.Network}, Datasets: []string{c.Dataset}, Seeds: f.request.Seeds,
		Modules: []int{c.Modules}, AuxDepths: []int{max(c.AuxDepth, 2)}, Mode: c.Options["mode"], Cuts: c.Options["cuts"], Epochs: c.Epochs,
		Selection: c.Options["selection"], NoPyramid: c.Options["pyramid"] == "no", Threads: f.request.Threads}
	if c.Metric != "memory" { // which is a model's, and of no device
		r.Backend, r.Precision, r.Device = f.request.Backend, f.request.Precision, f.request.Device
	}
	if c.Batch > 0 {
		r.Batches = []int64{c.Batch}
	}
	switch f.scale {
	case scaleReduced:
		r.Epochs = max(c.Epochs, 400) / 10
	case scaleSmoke:
		r.Epochs, r.TrainLimit, r.TestLimit = 1, 2048, 1024
	}
	specs, err := r.Expand()
	if err != nil {
		return reproduction{Cell: c, why: oneLine(err.Error())}
	}
	return reproduction{Cell: c, specs: specs}
}

func (f *reproduceFlags) record(s results.Spec) (results.Record, bool) {
	r, err := results.Read(results.Path(f.out, results.SpecID(s)))
	return r, err == nil && r.Status == results.StatusDone
}

func (f *reproduceFlags) runMissing(env Env, missing []results.Spec) error {
	if f.noRun || len(missing) == 0 {
		return nil
	}
	runs := &runFlags{shared: &shared{}, dataDir: f.dataDir, out: f.out, quiet: f.quiet, jobs: 1, resume: true}
	if err := runs.preflight(missing); err != nil {
		return err
	}
	_, err := runs.sweep(env, missing)
	return err
}

// measure fills in our own figure, if there is one.
func (f *reproduceFlags) measure(r *reproduction) error {
	if r.why != "" {
		return nil
	}
	if r.Metric == "memory" {
		c, err := suite.Compile(r.specs[0])
		if err != nil {
			return usage(err)
		}
		r.own, r.n = float64(*c.Memory.EagerSearchedBytes), 1
		return nil
	}
	var values []float64
	for _, s := range r.specs {
		rec, ok := f.record(s)
		top1 := rec.Accuracy.LastTop1
		if f.quirks == "paper" {
			top1 = rec.Accuracy.BestTop1
		}
		if ok && top1 != nil {
			values = append(values, *top1)
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

// What counts as the same: half a point of accuracy, or a twentieth of the memory.
const (
	samePoints = 0.005
	sameMemory = 0.05
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
	}
	published, direction := *r.Value, "higher"
	if r.own < published {
		direction = "lower"
	}
	switch {
	case r.Metric == "memory" && math.Abs(r.own/published-1) <= sameMemory:
		return "reproduced", true
	case r.Metric == "memory":
		return direction, false
	case f.scale != scaleFull:
		return "not comparable: scale " + f.scale, true
	case math.Abs(r.own-published) <= samePoints:
		return "reproduced", true
	case r.SD != nil && math.Abs(r.own-published) <= 2*math.Hypot(*r.SD, r.sd):
		return "within seed noise", true
	}
	return direction, false
}

func (f *reproduceFlags) heading() table.Table {
	t := table.Table{Title: "Published and own figures: " + f.table, Columns: []table.Column{textColumn("network", "network"), textColumn("dataset", "data set"),
		textColumn("method", "method"), numberColumn("modules", "K"), numberColumn("aux_depth", "d"), textColumn("options", "options"), textColumn("metric", "metric"),
		numberColumn("published", "published"), numberColumn("own", "own"), numberColumn("difference", "difference"), numberColumn("runs", "seeds"),
		textColumn("verdict", "verdict"), textColumn("mark", "mark"), textColumn("source", "source")}}
	t.Notes = []string{"Marks: A seen in the authors' own material, B restated by others, D derived from such a figure."}
	return t
}

// note says what our own figures are, and on what they were made.
func (f *reproduceFlags) note(places []string) string {
	if f.table == "memory" {
		return "Our memory is the eager model's estimate of a first step with algorithm search; no GPU was used. GB are 10^9 bytes."
	}
	if len(places) == 0 {
		return fmt.Sprintf("There is no accuracy of our own at scale %s yet.", f.scale)
	}
	slices.Sort(places)
	epoch := map[string]string{"none": "of the last epoch", "paper": "of the best epoch on the test set, as the programs report it"}[f.quirks]
	return fmt.Sprintf("Our accuracies are at scale %s, %s, on %s.", f.scale, epoch, strings.Join(slices.Compact(places), " and "))
}

func row(r reproduction, verdict string) []table.Cell {
	text := func(x float64) string {
		if r.Metric == "memory" {
			return fmt.Sprintf("%.2f GB", x/1e9)
		}
		return fmt.Sprintf("%.2f %%", 100*x)
	}
	own, difference := table.Cell{}, table.Cell{}
	if r.n > 0 {
		own = table.Number(r.own, text(r.own))
		switch {
		case r.Value == nil:
		case r.Metric == "memory":
			difference = table.Number(r.own / *r.Value - 1, fmt.Sprintf("%+.1f %%", 100*(r.own / *r.Value - 1)))
		default:
			difference = table.Number(r.own-*r.Value, fmt.Sprintf("%+.2f points", 100*(r.own-*r.Value)))
		}
	}
	whole := func(n int) table.Cell {
		if n == 0 {
			return table.Cell{}
		}
		return table.Number(float64(n), fmt.Sprint(n))
	}
	value := table.Text("not seen")
	if r.Value != nil {
		value = table.Number(*r.Value, text(*r.Value))
	}
	if r.SD != nil {
		value.Spread = r.SD
		value.Text += fmt.Sprintf(" +- %.2f", 100**r.SD)
	}
	var chosen []string
	for _, key := range slices.Sorted(maps.Keys(r.Options)) {
		chosen = append(chosen, key+" "+r.Options[key])
	}
	options := strings.Join(chosen, ", ")
	return []table.Cell{table.Text(r.Network), table.Text(r.Dataset), table.Text(r.Method), whole(r.Modules), whole(r.AuxDepth), table.Text(options),
		table.Text(r.Metric), value, own, difference, whole(r.n), table.Text(verdict), table.Text(r.Mark), table.Text(r.Source)}
}

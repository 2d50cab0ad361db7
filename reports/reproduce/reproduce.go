// Package reproduce compares our own results with published ones. Its input are cells of results/published and our own
// results; its output is a table with a verdict for each cell: reproduced, different, or not comparable, with the reason.
package reproduce

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"
	"gonum.org/v1/gonum/stat"

	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/published"
)

// Cell is a published cell and our own figure.
type Cell struct {
	published.Cell
	Specs      []results.Spec // our runs, by seed
	Why        string         // why there are no specs; empty if there are
	Own, OwnSD float64        // mean and standard deviation over the runs: a fraction, or bytes
	N          int            // runs that Own is of; 0: there is no figure
	Places     []string       // what the runs were made on
}

// Settings say how our own results were made.
type Settings struct {
	Table       string
	Scale       published.Scale
	Paper       bool    // as in the published programs: the best epoch on the test set, memory including the algorithm search
	ValFraction float64 // of the training set, held out to choose the epoch by
}

// Cells are published cells with the specs of our runs.
func Cells(cells []published.Cell, specs func(published.Cell) ([]results.Spec, error)) []Cell {
	all := make([]Cell, len(cells))
	for i, c := range cells {
		all[i].Cell = c
		var err error
		if all[i].Specs, err = specs(c); err != nil {
			all[i].Why = printable.Line(err.Error())
		}
	}
	return all
}

// Missing are the specs of cells of accuracy that have no record, each once: several cells may be of one run.
func Missing(all []Cell, record func(results.Spec) (results.Record, bool)) (missing []results.Spec) {
	asked := map[string]bool{}
	for _, c := range all {
		for _, s := range c.Specs {
			id := results.SpecID(s)
			if _, ok := record(s); !ok && c.Accuracy() && !asked[id] {
				missing, asked[id] = append(missing, s), true
			}
		}
	}
	return missing
}

// Fill sets the own figures: accuracies of records, memory by a function that predicts it.
func (s Settings) Fill(all []Cell, record func(results.Spec) (results.Record, bool),
	memory func(published.Cell) (float64, error)) error {
	for i := range all {
		c := &all[i]
		switch {
		case c.Accuracy():
			s.Measure(c, record)
		case c.Why == "":
			own, err := memory(c.Cell)
			if err != nil {
				return err
			}
			c.SetMemory(own)
		}
	}
	return nil
}

// Report are the tables of the cells, and what does not hold, a sentence; empty if all does.
func (s Settings) Report(all []Cell) (tables []table.Table, failed string) {
	t, different := s.Judge(all)
	tables = []table.Table{t}
	if different > 0 {
		failed = fmt.Sprintf("%d of %d cells of %s do not hold", different, len(all), s.Table)
	}
	if s.Scale == published.ScaleReduced {
		order, reversed := Order(all)
		tables = append(tables, order)
		if reversed > 0 && failed == "" {
			failed = fmt.Sprintf("%d of %d pairs of methods are in another order than in the paper", reversed, len(order.Rows))
		}
	}
	return tables, failed
}

// SetMemory sets the own figure of a cell of memory, which has no spread.
func (c *Cell) SetMemory(own float64) { c.Own, c.OwnSD, c.N = own, 0, 1 }

// Measure sets the own accuracy of a cell to the mean over the runs that record finds; there need not be any.
func (s Settings) Measure(r *Cell, record func(results.Spec) (results.Record, bool)) {
	var values []float64
	for _, spec := range r.Specs {
		rec, ok := record(spec)
		if x := s.accuracy(r.Metric, rec.Accuracy); ok && x != nil {
			values = append(values, *x)
			machine := cmp.Or(rec.Environment.GPU, rec.Environment.CPU, "a machine without a name")
			r.Places = append(r.Places, fmt.Sprintf("%s (%s, %s)", machine, spec.Backend, spec.Precision))
		}
	}
	switch len(values) {
	case 0:
	case 1:
		r.Own = values[0]
	default:
		r.Own, r.OwnSD = stat.MeanStdDev(values, nil)
	}
	r.N = len(values)
}

// accuracy is the accuracy of a run after the epoch that is compared: the best one with Paper, else the selected or last one.
func (s Settings) accuracy(metric string, a results.Accuracy) *float64 {
	paper := s.Paper
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

// Differences up to these count as reproduced: 0.5 points of accuracy, 5 % of the memory, and 5 points of a memory reduction,
// since papers give it as "around".
const (
	samePoints = 0.005
	sameMemory = 0.05
	sameSaving = 0.05
)

// verdict judges a cell. It is false only for a cell that was compared and differs.
func (s Settings) verdict(r Cell) (string, bool) {
	switch {
	case r.Why != "":
		return "not run: " + r.Why, true
	case r.N == 0:
		return "not run", true
	case r.Value == nil:
		return "not comparable: the published figure could not be verified", true
	case !r.Accuracy() && !s.Paper:
		return "not comparable: the published figure includes the algorithm search, as with --quirks paper", true
	case r.Accuracy() && s.Scale != published.ScaleFull:
		return "not comparable: " + string(s.Scale) + " schedule", true
	case r.Recipe != "":
		return "not comparable: another recipe (" + r.Recipe + ")", true
	}
	distance, same, spread := math.Abs(r.Own-*r.Value), samePoints, r.OwnSD
	switch r.Metric {
	case published.Memory:
		distance, same = distance / *r.Value, sameMemory
	case published.MemoryReduction:
		same = sameSaving
	}
	if r.SD != nil {
		spread = math.Hypot(*r.SD, r.OwnSD)
	}
	switch {
	case distance <= same+1e-12: // a difference of exactly 0.5 points, which binary fractions round
		return "reproduced", true
	case r.Accuracy() && distance <= 2*spread+1e-12:
		return "within seed noise", true
	case r.Own < *r.Value:
		return "lower", false
	}
	return "higher", false
}

// Judge is the table of the cells with their verdicts; failed is the number of those that do not hold.
func (s Settings) Judge(all []Cell) (t table.Table, failed int) {
	var places []string
	counts := map[string]int{}
	t = s.heading()
	for i := range all {
		verdict, holds := s.verdict(all[i])
		if !holds {
			failed++
		}
		kind, _, _ := strings.Cut(verdict, ":")
		counts[kind]++
		t.Rows = append(t.Rows, row(all[i], verdict))
		places = append(places, all[i].Places...)
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[kind], kind))
	}
	t.Notes = append(t.Notes, fmt.Sprintf("%s: %s.", english.Plural(len(all), "cell", ""), strings.Join(parts, ", ")))
	t.Notes = append(t.Notes, s.notes(places)...)
	return t, failed
}

// heading is the table without rows.
func (s Settings) heading() table.Table {
	t := table.Table{
		ID:    "reproduction",
		Title: "Published and own figures: " + s.Table,
		Columns: []table.Column{
			table.TextColumn("network", "network"), table.TextColumn("dataset", "data set"), table.TextColumn("method", "method"),
			table.NumberColumn("modules", "K"), table.NumberColumn("aux_depth", "d"), table.TextColumn("options", "options"),
			table.TextColumn("metric", "metric"), table.NumberColumn("published", "published"), table.NumberColumn("own", "own"),
			table.NumberColumn("difference", "difference"), table.NumberColumn("runs", "seeds"),
			table.TextColumn("verdict", "verdict"), table.TextColumn("mark", "mark"), table.TextColumn("source", "source"),
		},
	}
	t.Notes = []string{"Marks: A in the authors' own material, B restated by others, D derived from such a figure."}
	return t
}

// notes say what our own figures are, and on what they were made.
func (s Settings) notes(places []string) []string {
	if s.Table == "memory" {
		what := "a step, without the search for algorithms"
		if s.Paper {
			what = "a first step with the search for algorithms, as the published programs print it"
		}
		return []string{"Our memory is the eager model's estimate of " + what + "; no GPU was used. GB are 10^9 bytes."}
	}
	if len(places) == 0 {
		return []string{fmt.Sprintf("There is no accuracy of our own at scale %s yet.", s.Scale)}
	}
	slices.Sort(places)
	epoch := "of the last epoch"
	switch {
	case s.Paper:
		epoch = "of the best epoch on the test set, as the programs report it"
	case s.ValFraction > 0:
		epoch = fmt.Sprintf("of the epoch that is best on held-out samples (%g of the training set)", s.ValFraction)
	}
	return []string{
		fmt.Sprintf("Our accuracies are at scale %s, %s, on %s.", s.Scale, epoch, strings.Join(slices.Compact(places), " and ")),
	}
}

// row is the row of a cell.
func row(r Cell, verdict string) []table.Cell {
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
	own, difference, runs := table.Cell{}, table.Cell{}, whole(r.N)
	if r.N > 0 {
		own = table.Number(r.Own, text(r.Own, r.OwnSD))
		if r.N > 1 {
			own.Spread = &r.OwnSD
		}
		switch {
		case r.Value == nil:
		case r.Metric == published.Memory:
			difference = table.Number(r.Own / *r.Value - 1, fmt.Sprintf("%+.1f %%", 100*(r.Own / *r.Value - 1)))
		default:
			difference = table.Number(r.Own-*r.Value, fmt.Sprintf("%+.2f points", 100*(r.Own-*r.Value)))
		}
		if r.Accuracy() && r.N < len(r.Specs) {
			runs.Text = fmt.Sprintf("%d of %d", r.N, len(r.Specs))
		}
	}
	value := table.Text("not verified")
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
	return []table.Cell{
		table.Text(r.Network), table.Text(r.Dataset), table.Text(r.Method), whole(r.Modules), whole(r.AuxDepth),
		table.Text(strings.Join(chosen, ", ")), table.Text(r.Metric), value, own, difference, runs,
		table.Text(verdict), table.Text(r.Mark), table.Text(source),
	}
}

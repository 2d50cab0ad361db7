package reproduce_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/localbench/localbench/reports/reproduce"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/published"
	"github.com/localbench/localbench/suite"
)

// TestReproduceReadsRecords: mean and spread over the seeds that were run, the epoch that is asked
// for, and a tenth of the paper's epochs at the reduced scale.
func TestReproduceReadsRecords(t *testing.T) {
	value, sd := 0.9263, 0.001
	cell := published.Cell{Table: "x", Dataset: "cifar10", Network: "resnet32", Method: "bp", Metric: published.Top1,
		Value: &value, SD: &sd, Epochs: 160, Mark: "A", Source: "s"}
	for _, c := range []struct {
		scale      published.Scale
		quirks     string
		held       float64
		epochs     int64
		want, top5 string
	}{
		{published.ScaleFull, "none", 0, 160, "90.00 ± 1.00 %", "92.00 ± 1.00 %"},
		{published.ScaleFull, "paper", 0, 160, "95.00 ± 1.00 %", "97.00 ± 1.00 %"},
		{published.ScaleReduced, "none", 0, 16, "90.00 ± 1.00 %", "92.00 ± 1.00 %"},
		{published.ScaleSmoke, "none", 0.1, 1, "93.00 ± 1.00 %", "95.00 ± 1.00 %"},
	} {
		runner := suite.Runner{Out: t.TempDir()}
		runs := suite.Reproduction{Scale: c.scale, Request: suite.Request{
			Seeds: []uint64{1, 2, 3}, ValFraction: c.held, Quirks: c.quirks}}
		specs, err := runs.Specs(cell)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		settings := reproduce.Settings{Table: "x", Scale: c.scale, Paper: c.quirks == suite.QuirksPaper, ValFraction: c.held}
		r := reproduce.Cell{Cell: cell, Specs: specs}
		if len(r.Specs) != 3 || r.Specs[0].Epochs != c.epochs {
			t.Fatalf("%+v: got %d specs of %d epochs", c, len(r.Specs), r.Specs[0].Epochs)
		}
		for i, s := range r.Specs[:2] { // the third was not run
			off := 0.01 / 1.4142135623730951 * float64(2*i-1)
			last, best, selected := 0.90+off, 0.95+off, 0.93+off
			rec := results.Record{Status: results.StatusDone, Spec: s}
			rec.Environment.CPU = "a processor"
			rec.Accuracy.LastTop1, rec.Accuracy.BestTop1 = &last, &best
			lastFive, bestFive, selectedFive := last+0.02, best+0.02, selected+0.02
			rec.Accuracy.LastTop5, rec.Accuracy.BestTop5 = &lastFive, &bestFive
			if c.held > 0 {
				rec.Accuracy.SelectedTop1, rec.Accuracy.SelectedEpoch = &selected, new(int64(2))
				rec.Accuracy.Epochs = []results.Epoch{{Epoch: 1, TestTop5: &last}, {Epoch: 2, TestTop5: &selectedFive}}
			}
			if err := results.Write(runner.Out, rec); err != nil {
				t.Fatal(err)
			}
		}
		five := r
		five.Metric = published.Top5
		settings.Measure(&r, runner.Record)
		settings.Measure(&five, runner.Record)
		table, _ := settings.Judge([]reproduce.Cell{r, five})
		if row := fmt.Sprint(table.Rows[1]); !strings.Contains(row, c.top5) {
			t.Errorf("%+v: top-5: got %s, want %q in it", c, row, c.top5)
		}
		row := fmt.Sprint(table.Rows[0])
		for _, want := range []string{"92.63 ± 0.10 %", c.want, "2 of 3"} {
			if !strings.Contains(row, want) {
				t.Errorf("%+v: got %s, want %q in it", c, row, want)
			}
		}
		notes := strings.Join(table.Notes, " ")
		if !strings.Contains(notes, "at scale "+string(c.scale)) || !strings.Contains(notes, "a processor (cpu, f32)") {
			t.Errorf("%+v: notes %s", c, notes)
		}
	}
}

// Each run without a record is missing once, and none of memory; the reduced scale also judges the order of methods.
func TestMissingAndReport(t *testing.T) {
	high, low, bytes := 0.95, 0.90, 100.0
	cell := func(method, metric string, value *float64) published.Cell {
		return published.Cell{Table: "x", Dataset: "cifar10", Network: "resnet32", Method: method, Metric: metric, Value: value,
			Epochs: 160, Mark: "A", Source: "s"}
	}
	runs := suite.Reproduction{Scale: published.ScaleReduced, Request: suite.Request{Seeds: []uint64{1, 2}}}
	all := reproduce.Cells([]published.Cell{cell("bp", published.Top1, &high), cell("bp", published.Top5, &high),
		cell("dgl", published.Top1, &low), cell("bp", published.Memory, &bytes), cell("nonsense", published.Top1, &low)}, runs.Specs)
	if all[4].Why == "" || len(all[4].Specs) != 0 {
		t.Errorf("a method that does not exist: got %+v", all[4])
	}
	recorded := map[string]results.Record{}
	record := func(s results.Spec) (results.Record, bool) {
		r, ok := recorded[results.SpecID(s)]
		return r, ok
	}
	missing := reproduce.Missing(all, record)
	if len(missing) != 4 {
		t.Fatalf("got %d missing runs, want two of bp and two of dgl", len(missing))
	}
	for _, s := range missing { // dgl is better than bp here, other than in the paper
		r := results.Record{Spec: s, Status: results.StatusDone}
		r.Accuracy.LastTop1 = map[string]*float64{"bp": &low, "dgl": &high}[s.Method]
		r.Accuracy.LastTop5 = r.Accuracy.LastTop1
		recorded[results.SpecID(s)] = r
	}
	if missing = reproduce.Missing(all, record); len(missing) != 0 {
		t.Errorf("got %d missing runs after all have records", len(missing))
	}
	settings := reproduce.Settings{Table: "x", Scale: published.ScaleReduced}
	if err := settings.Fill(all, record, func(published.Cell) (float64, error) { return 100, nil }); err != nil {
		t.Fatal(err)
	}
	if all[0].Own != low || all[0].N != 2 || all[3].Own != 100 {
		t.Errorf("got %+v and %+v", all[0], all[3])
	}
	tables, failed := settings.Report(all)
	if len(tables) != 2 || failed != "1 of 1 pairs of methods are in another order than in the paper" {
		t.Errorf("got %d tables and %q", len(tables), failed)
	}
}

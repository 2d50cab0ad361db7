package main

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
	cell := published.Cell{Table: "x", Dataset: "cifar10", Network: "resnet32", Method: "bp", Metric: published.Top1, Value: &value, SD: &sd, Epochs: 160, Mark: "A", Source: "s"}
	for _, c := range []struct {
		scale      published.Scale
		quirks     string
		held       float64
		epochs     int64
		want, top5 string
	}{
		{published.ScaleFull, "none", 0, 160, "90.00 ± 1.00 %", "92.00 ± 1.00 %"}, {published.ScaleFull, "paper", 0, 160, "95.00 ± 1.00 %", "97.00 ± 1.00 %"},
		{published.ScaleReduced, "none", 0, 16, "90.00 ± 1.00 %", "92.00 ± 1.00 %"}, {published.ScaleSmoke, "none", 0.1, 1, "93.00 ± 1.00 %", "95.00 ± 1.00 %"},
	} {
		runner := suite.Runner{Out: t.TempDir()}
		runs := suite.Reproduction{Scale: c.scale, Request: suite.Request{Seeds: []uint64{1, 2, 3}, ValFraction: c.held, Quirks: c.quirks}}
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

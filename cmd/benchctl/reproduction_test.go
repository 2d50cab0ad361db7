package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/published"
	"github.com/localbench/localbench/suite"
)

// TestVerdicts has a case for each rule, and one at each border.
func TestVerdicts(t *testing.T) {
	value := func(x float64) *float64 { return &x }
	full, reduced := &reproduceFlags{scale: scaleFull, quirks: suite.QuirksNone}, &reproduceFlags{scale: scaleReduced, quirks: suite.QuirksNone}
	paper := &reproduceFlags{scale: scaleSmoke, quirks: suite.QuirksPaper}
	top1 := func(published_, sd, own, ownSD float64) reproduction {
		r := reproduction{Cell: published.Cell{Metric: published.Top1, Value: &published_}, own: own, sd: ownSD, n: 3}
		if sd > 0 {
			r.SD = &sd
		}
		return r
	}
	bytes := func(metric string, published_, own float64) reproduction {
		return reproduction{Cell: published.Cell{Metric: metric, Value: &published_}, own: own, n: 1}
	}
	unseen, other := top1(0.9, 0, 0.9, 0), top1(0.9, 0, 0.9, 0)
	unseen.Value, other.Recipe = nil, "DGL's own"
	for _, c := range []struct {
		what  string
		f     *reproduceFlags
		r     reproduction
		want  string
		holds bool
	}{
		{"no such network", full, reproduction{why: "network: got x"}, "not run: network: got x", true},
		{"no record", full, reproduction{Cell: published.Cell{Metric: published.Top1, Value: value(0.9)}}, "not run", true},
		{"unseen", full, unseen, "not comparable: the published figure was not seen", true},
		{"reduced", reduced, top1(0.9, 0, 0.9, 0), "not comparable: scale reduced", true},
		{"other recipe", full, other, "not comparable: another recipe (DGL's own)", true},
		{"half a point", full, top1(0.93, 0, 0.935, 0), "reproduced", true},
		{"more than half a point", full, top1(0.93, 0, 0.9351, 0), "higher", false},
		{"less by more", full, top1(0.93, 0, 0.9249, 0), "lower", false},
		{"within both spreads", full, top1(0.93, 0.003, 0.92, 0.004), "within seed noise", true},
		{"beyond both spreads", full, top1(0.93, 0.003, 0.9199, 0.004), "lower", false},
		{"within our own spread", full, top1(0.93, 0, 0.922, 0.004), "within seed noise", true},
		{"memory, a twentieth", paper, bytes(published.Memory, 100, 95), "reproduced", true},
		{"memory, less", paper, bytes(published.Memory, 100, 94.9), "lower", false},
		{"memory, more", paper, bytes(published.Memory, 100, 105.1), "higher", false},
		{"memory without the search", full, bytes(published.Memory, 100, 100), "not comparable: the published figure holds the search for algorithms, as with --quirks paper", true},
		{"saving", paper, bytes(published.MemoryReduction, 0.4, 0.45), "reproduced", true},
		{"saving, more", paper, bytes(published.MemoryReduction, 0.4, 0.451), "higher", false},
	} {
		if got, holds := c.f.verdict(c.r); got != c.want || holds != c.holds {
			t.Errorf("%s: got %q, %v, want %q, %v", c.what, got, holds, c.want, c.holds)
		}
	}
}

// TestReproduceReadsRecords: mean and spread over the seeds that were run, the epoch that is asked
// for, and a tenth of the paper's epochs at the reduced scale.
func TestReproduceReadsRecords(t *testing.T) {
	value, sd := 0.9263, 0.001
	cell := published.Cell{Table: "x", Dataset: "cifar10", Network: "resnet32", Method: "bp", Metric: published.Top1, Value: &value, SD: &sd, Epochs: 160, Mark: "A", Source: "s"}
	for _, c := range []struct {
		scale, quirks string
		held          float64
		epochs        int64
		want, top5    string
	}{
		{scaleFull, "none", 0, 160, "90.00 ± 1.00 %", "92.00 ± 1.00 %"}, {scaleFull, "paper", 0, 160, "95.00 ± 1.00 %", "97.00 ± 1.00 %"},
		{scaleReduced, "none", 0, 16, "90.00 ± 1.00 %", "92.00 ± 1.00 %"}, {scaleSmoke, "none", 0.1, 1, "93.00 ± 1.00 %", "95.00 ± 1.00 %"},
	} {
		f := &reproduceFlags{table: "x", scale: c.scale, quirks: c.quirks, out: t.TempDir(), request: suite.Request{Seeds: []uint64{1, 2, 3}, ValFraction: c.held}}
		r := f.prepare(cell)
		if len(r.specs) != 3 || r.specs[0].Epochs != c.epochs {
			t.Fatalf("%+v: got %d specs of %d epochs: %s", c, len(r.specs), r.specs[0].Epochs, r.why)
		}
		for i, s := range r.specs[:2] { // the third was not run
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
			if err := results.Write(f.out, rec); err != nil {
				t.Fatal(err)
			}
		}
		five := r
		five.Metric = published.Top5
		table, _, err := f.judge([]reproduction{r, five})
		if err != nil {
			t.Fatal(err)
		}
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
		if !strings.Contains(notes, "at scale "+c.scale) || !strings.Contains(notes, "a processor (cpu, f32)") {
			t.Errorf("%+v: notes %s", c, notes)
		}
	}
}

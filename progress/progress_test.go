package progress_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/localbench/localbench/progress"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/sweepdir"
)

func TestProgress(t *testing.T) {
	spec := results.Spec{Network: "resnet20", Method: "bp"}
	events := []suite.Event{
		{Kind: suite.EventStep, Epoch: 1, Epochs: 2, Step: 3, Steps: 4, SamplesPerSecond: 512, SecondsLeft: 61},
		{Kind: suite.EventEpoch, Epoch: 1, Epochs: 2, Loss: 1.25, TestTop1: 0.5},
		{Kind: suite.EventDone, Text: "diverged"},
	}
	for _, row := range []struct {
		name              string
		tty, quiet, color bool
		want, absent      string
	}{
		{name: "a line an epoch", absent: "\r",
			want: "[1/1] resnet20 bp: epoch 1/2: loss 1.2500, test top-1 50.00 %, 512 samples/s\n[1/1] resnet20 bp: diverged\n"},
		{name: "nothing when quiet", quiet: true, tty: true, absent: "epoch"},
		{name: "a bar on a terminal", tty: true, color: true, want: "512 samples/s, 61.0 s left", absent: "nothing of the kind"},
		{name: "a bar without colours", tty: true, want: "61.0 s left", absent: "\x1b[32m"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var b bytes.Buffer
			p := progress.New(progress.Screen{Writer: &b, Terminal: row.tty, Color: row.color}, 1, row.quiet)
			for _, e := range events {
				p.On(0, spec, e)
			}
			p.Finish()
			if got := b.String(); !strings.Contains(got, row.want) || strings.Contains(got, row.absent) {
				t.Errorf("got %q, want %q in it and %q not", got, row.want, row.absent)
			}
		})
	}
}

// Records of other commits are counted and named at the end.
func TestKeptRecords(t *testing.T) {
	var b bytes.Buffer
	p := progress.New(progress.Screen{Writer: &b}, 3, true)
	for run, commit := range []string{"0123456789abcdef", "", "0123456789abcdef"} {
		p.On(run, results.Spec{}, suite.Event{Kind: suite.EventKept, Text: commit})
	}
	p.Finish()
	for _, want := range []string{"1 record of a program whose commit is not known kept", "2 records of commit 0123456789 kept"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got %q, want %q in it", b.String(), want)
		}
	}
}

// A sweep says how many of its runs ended and what is left; runs whose record is kept are not said one by one.
func TestSweepLines(t *testing.T) {
	specs := make([]results.Spec, 4)
	for i := range specs {
		specs[i] = results.Spec{Network: "resnet20", Method: "bp", Dataset: "synthetic", Batch: 10, Epochs: 1, TrainLimit: 100}
	}
	var b bytes.Buffer
	p := progress.OfSweep(progress.Screen{Writer: &b}, specs, 1, false)
	on := func(run int, e suite.Event) { p.On(run, specs[run], e) }
	on(0, suite.Event{Kind: suite.EventSkipped})
	on(0, suite.Event{Kind: suite.EventEnded, Text: "done"})
	on(1, suite.Event{Kind: suite.EventStep, Epoch: 1, Epochs: 1, SamplesPerSecond: 20, SecondsLeft: 4})
	on(1, suite.Event{Kind: suite.EventDone, Text: "done"})
	on(1, suite.Event{Kind: suite.EventEnded, Text: "done"})
	on(2, suite.Event{Kind: suite.EventEnded, Text: "failed"}) // whose process was killed
	p.Finish()
	// 100 samples at 20 samples/s are 5 s.
	want := "sweep: 2 of 4 runs ended, about 10s left\nsweep: 3 of 4 runs ended, 1 of them failed, about 5s left\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// Several runs at a time are a table on a terminal, which is erased before other text.
func TestLiveTable(t *testing.T) {
	specs := []results.Spec{{Network: "resnet20", Method: "bp", Batch: 8, Seed: 1},
		{Network: "resnet32", Method: "dgl", Batch: 8, Seed: 2}}
	var b bytes.Buffer
	p := progress.OfSweep(progress.Screen{Writer: &b, Terminal: true, Columns: 120}, specs, 2, false)
	for i := range specs {
		p.On(i, specs[i], suite.Event{Kind: suite.EventStep, Epoch: 1, Epochs: 2, SamplesPerSecond: 512, SecondsLeft: 61})
		p.On(i, specs[i], suite.Event{Kind: suite.EventMemory, MemoryBytes: 3 << 20})
	}
	p.On(0, specs[0], suite.Event{Kind: suite.EventWarning, Text: "hot"})
	p.On(0, specs[0], suite.Event{Kind: suite.EventEnded, Text: "done"})
	p.Finish()
	got := screen(b.String())
	if strings.Contains(got, "resnet32") || !strings.Contains(got, "hot") {
		t.Errorf("in the end the screen has\n%s", got)
	}
	before, _, _ := strings.Cut(b.String(), "[1/2] resnet20 bp: hot")
	if shown := screen(before); strings.Contains(shown, "resnet20") { // erased before the warning
		t.Errorf("before the warning the screen has\n%s", shown)
	}
	if !strings.Contains(b.String(), "sweep: 1 of 2 runs ended") || !strings.Contains(b.String(), "1 of 2") {
		t.Errorf("got %q", b.String())
	}
}

// screen is what a terminal shows after a text with the sequences that move the cursor up and erase what is below.
func screen(text string) string {
	lines := []string{""}
	for text != "" {
		var up int
		if n, _ := fmt.Sscanf(text, "\x1b[%dA", &up); n == 1 {
			_, text, _ = strings.Cut(text, "\r\x1b[J")
			lines = append(lines[:len(lines)-1-up], "")
			continue
		}
		if text[0] == '\n' {
			lines = append(lines, "")
		} else {
			lines[len(lines)-1] += text[:1]
		}
		text = text[1:]
	}
	return strings.Join(lines, "\n")
}

// The table of running cells has the epoch, and the memory of the process; before it was seen, the memory that was asked for.
func TestStatusTables(t *testing.T) {
	running := func(resident int64) sweepdir.Status {
		return sweepdir.Status{Cell: sweepdir.Cell{MemoryBytes: 1 << 30}, State: sweepdir.Running,
			Holder: sweepdir.Holder{Host: "n1", Epoch: 2, Epochs: 5, SecondsLeft: 60, MemoryBytes: resident}}
	}
	tables := progress.StatusTables([]sweepdir.Status{running(3 << 20), running(0), {State: sweepdir.Done}})
	var text strings.Builder
	if err := table.ForTerminal(0).Write(&text, tables...); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3 cells", "2 of 5", "3.000 MiB", "1.000 GiB", "1m0s"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", text.String(), want)
		}
	}
}

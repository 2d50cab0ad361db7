package progress_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/localbench/localbench/progress"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
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
			p := progress.New(progress.Screen{Writer: &b, Terminal: row.tty, Color: row.color}, 1, row.quiet, false)
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
	p := progress.New(progress.Screen{Writer: &b}, 3, true, false)
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

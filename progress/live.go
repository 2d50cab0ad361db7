package progress

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// live is a table of the runs in training that is drawn again in place. What it draws fits between two lines of other text.
type live struct {
	screen Screen
	runs   map[int]*liveRun
	lines  int // that are on the screen
	last   time.Time
}

// liveRun is a row.
type liveRun struct {
	spec          results.Spec
	epoch, epochs int
	rate, left    float64
	memory        int64
}

// redrawEvery is the least time between two drawings.
const redrawEvery = 200 * time.Millisecond

// liveRows bounds the rows, so that the table fits on a screen.
const liveRows = 16

func newLive(screen Screen) *live { return &live{screen: screen, runs: map[int]*liveRun{}} }

// on takes an event of a run.
func (l *live) on(run int, spec results.Spec, e suite.Event) {
	switch e.Kind {
	case suite.EventEnded:
		delete(l.runs, run)
		return
	case suite.EventStart, suite.EventStep, suite.EventEpoch, suite.EventMemory:
	default:
		return
	}
	r := l.runs[run]
	if r == nil {
		r = &liveRun{}
		l.runs[run] = r
	}
	r.spec = spec
	if e.Epochs > 0 {
		r.epoch, r.epochs = e.Epoch, e.Epochs
	}
	if e.Kind == suite.EventStep {
		r.rate, r.left = e.SamplesPerSecond, e.SecondsLeft
	}
	if e.MemoryBytes > 0 {
		r.memory = e.MemoryBytes
	}
}

// draw draws the table in the place of the last one, at most every redrawEvery unless now is set.
func (l *live) draw(title string, now bool) {
	if !now && time.Since(l.last) < redrawEvery {
		return
	}
	l.last = time.Now()
	t := table.Table{ID: "live", Title: title, Columns: []table.Column{table.NumberColumn("run", "run"),
		table.TextColumn("network", "network"), table.TextColumn("method", "method"), table.NumberColumn("batch", "batch"),
		table.NumberColumn("seed", "seed"), table.TextColumn("epoch", "epoch"), table.NumberColumn("rate", "samples/s"),
		table.NumberColumn("memory_bytes", "memory"), table.NumberColumn("seconds_left", "time left")}}
	for n, i := range slices.Sorted(maps.Keys(l.runs)) {
		if n == liveRows {
			t.Notes = append(t.Notes, fmt.Sprintf("and %d more", len(l.runs)-n))
			break
		}
		r := l.runs[i]
		t.Rows = append(t.Rows, []table.Cell{table.PlainCell(int64(i) + 1), table.Text(printable.Line(r.spec.Network)),
			table.Text(r.spec.Method), table.PlainCell(r.spec.Batch), table.Number(float64(r.spec.Seed), fmt.Sprint(r.spec.Seed)),
			table.Text(fmt.Sprintf("%d of %d", r.epoch, r.epochs)),
			whenKnown(r.rate > 0, table.Number(r.rate, fmt.Sprintf("%.4g", r.rate))),
			whenKnown(r.memory > 0, table.BytesCell(&r.memory)), whenKnown(r.rate > 0, table.Number(r.left, table.Seconds(r.left)))})
	}
	var text bytes.Buffer
	if err := table.ForTerminal(cmp.Or(l.screen.Columns, 80)).Write(&text, t); err != nil {
		return // a table that cannot be drawn is no reason to stop
	}
	l.clear()
	_, _ = l.screen.Write(text.Bytes())
	l.lines = strings.Count(text.String(), "\n")
}

// whenKnown is a cell, or an empty one as long as its value is not known.
func whenKnown(known bool, c table.Cell) table.Cell {
	if !known {
		return table.Text("")
	}
	return c
}

// clear removes the table: the cursor goes to its first line, and what is below is erased.
func (l *live) clear() {
	if l.lines > 0 {
		fmt.Fprintf(l.screen, "\x1b[%dA\r\x1b[J", l.lines)
	}
	l.lines = 0
}

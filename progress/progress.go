// Package progress shows on standard error how far a sweep is: a bar on a terminal, else a line an epoch.
package progress

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/schollz/progressbar/v3"

	"github.com/localbench/localbench/git"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// Screen is where progress is shown.
type Screen struct {
	io.Writer
	Terminal bool // it is one: bars can be drawn
	Color    bool
	Columns  int // of the terminal; 0: not known
}

// Progress shows a sweep. It is the writer of the runs' own messages too, so that they do not run into the bar.
type Progress struct {
	screen Screen
	total  int
	quiet  bool

	mu       sync.Mutex
	bar      *progressbar.ProgressBar // of the run that is shown; nil without a terminal
	bars     bool
	live     *live           // the table of several runs at a time; nil: none is shown
	forecast *suite.Forecast // nil: of a worker, whose sweep has others
	rates    map[int]float64 // samples a second, by run
	kept     map[string]int  // records of other commits, by commit
	skipped  map[int]bool    // runs whose record is kept
	failed   int
}

// New shows a worker that runs some of the given number of cells, one at a time: a bar a run. When quiet, it shows only warnings.
func New(screen Screen, total int, quiet bool) *Progress {
	return &Progress{screen: screen, total: total, quiet: quiet, bars: screen.Terminal && !quiet,
		rates: map[int]float64{}, kept: map[string]int{}, skipped: map[int]bool{}}
}

// OfSweep shows a sweep of specs and the time that it still takes: a bar a run, or a table of the runs in training if several are
// at a time; without a terminal, lines.
func OfSweep(screen Screen, specs []results.Spec, jobs int, quiet bool) *Progress {
	p := New(screen, len(specs), quiet)
	p.forecast = suite.NewForecast(specs, jobs)
	if jobs > 1 && p.bars {
		p.bars, p.live = false, newLive(screen)
	}
	return p
}

// On shows one event of one run.
func (p *Progress) On(run int, spec results.Spec, e suite.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.forecast != nil {
		p.forecast.On(run, e)
	}
	if e.SamplesPerSecond > 0 {
		p.rates[run] = e.SamplesPerSecond
	}
	name := fmt.Sprintf("[%d/%d] %s %s", run+1, p.total, spec.Network, spec.Method)
	switch e.Kind {
	case suite.EventWarning:
		p.clear()
		fmt.Fprintf(p.screen, "%s: %s\n", name, printable.Line(e.Text))
	case suite.EventKept:
		p.kept[e.Text]++
	}
	if p.quiet {
		return
	}
	switch e.Kind {
	case suite.EventStep:
		if p.bars {
			p.show(name, e)
		}
	case suite.EventEpoch:
		if p.live != nil {
			break
		}
		p.clear()
		rate := ""
		if r := p.rates[run]; r > 0 {
			rate = fmt.Sprintf(", %.4g samples/s", r)
		}
		fmt.Fprintf(p.screen, "%s: epoch %d/%d: loss %.4f, test top-1 %s %%%s\n",
			name, e.Epoch, e.Epochs, e.Loss, table.Percent(e.TestTop1), rate)
	case suite.EventDone:
		p.clear()
		p.bar = nil
		if e.Text != string(results.StatusDone) {
			fmt.Fprintf(p.screen, "%s: %s\n", name, e.Text)
		}
	case suite.EventSkipped:
		p.skipped[run] = true
	case suite.EventEnded:
		if e.Text != string(results.StatusDone) {
			p.failed++
		}
		if p.forecast != nil && p.total > 1 && p.live == nil && !p.skipped[run] {
			p.clear()
			fmt.Fprintln(p.screen, p.sweep())
		}
	}
	if p.live != nil {
		p.live.on(run, spec, e)
		p.live.draw(p.sweep(), e.Kind == suite.EventEnded)
	}
}

// sweep says how far the sweep is: 3 of 40 runs ended, 1 failed, about 2h10m left.
func (p *Progress) sweep() string {
	ended := p.forecast.Ended()
	text := fmt.Sprintf("sweep: %d of %s ended", ended, english.Plural(p.total, "run", ""))
	if p.failed > 0 {
		text += fmt.Sprintf(", %d of them failed", p.failed)
	}
	if left, ok := p.forecast.Left(); ok && ended < p.total {
		text += fmt.Sprintf(", about %s left", time.Duration(left*float64(time.Second)).Round(time.Second))
	}
	return text
}

// show moves the bar of a run.
func (p *Progress) show(name string, e suite.Event) {
	if p.bar == nil {
		p.bar = NewBar(p.screen, int64(e.Epochs*e.Steps))
	}
	text := fmt.Sprintf("%s: epoch %d/%d, %.4g samples/s, %s left", name, e.Epoch, e.Epochs, e.SamplesPerSecond,
		table.Seconds(e.SecondsLeft))
	if p.forecast != nil && p.total > 1 {
		if left, ok := p.forecast.Left(); ok {
			text += fmt.Sprintf(", sweep %s", time.Duration(left*float64(time.Second)).Round(time.Second))
		}
	}
	p.bar.Describe(text)
	_ = p.bar.Set((e.Epoch-1)*e.Steps + e.Step) // a bar that cannot be drawn is no reason to stop
}

// NewBar is a bar of the given number of steps.
func NewBar(screen Screen, steps int64, more ...progressbar.Option) *progressbar.ProgressBar {
	saucer := "="
	if screen.Color {
		saucer = "[green]=[reset]"
	}
	return progressbar.NewOptions64(steps, append(more,
		progressbar.OptionSetWriter(screen),
		progressbar.OptionSetWidth(20),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionEnableColorCodes(screen.Color),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetTheme(progressbar.Theme{
			Saucer: saucer, SaucerHead: saucer, SaucerPadding: " ", BarStart: "[", BarEnd: "]",
		}))...)
}

func (p *Progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	if p.live != nil {
		p.live.clear()
	}
}

// Write passes on what a run's process says.
func (p *Progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	return p.screen.Write(text)
}

// Finish removes the bar, and says which records are of another commit than this program.
func (p *Progress) Finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	for _, commit := range slices.Sorted(maps.Keys(p.kept)) {
		from := "a program whose commit is not known"
		if commit != "" {
			from = "commit " + git.Short(commit)
		}
		fmt.Fprintf(p.screen, suite.MessagePrefix+
			"%s of %s kept: this program is of another commit; without --resume its runs are done again\n",
			english.Plural(p.kept[commit], "record", ""), from)
	}
}

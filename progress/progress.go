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
}

// Progress shows a sweep. It is the writer of the runs' own messages too, so that they do not run into the bar.
type Progress struct {
	screen Screen
	total  int
	quiet  bool

	mu    sync.Mutex
	bar   *progressbar.ProgressBar // of the run that is shown; nil without a terminal
	bars  bool
	rates map[int]float64 // samples a second, by run
	kept  map[string]int  // records of other commits, by commit
}

// New shows a sweep of the given number of runs, a bar a run unless several run at a time. When quiet, it shows only warnings.
func New(screen Screen, total int, quiet, parallel bool) *Progress {
	return &Progress{screen: screen, total: total, quiet: quiet, bars: screen.Terminal && !quiet && !parallel,
		rates: map[int]float64{}, kept: map[string]int{}}
}

// On shows one event of one run.
func (p *Progress) On(run int, spec results.Spec, e suite.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
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
	}
}

// show moves the bar of a run.
func (p *Progress) show(name string, e suite.Event) {
	if p.bar == nil {
		p.bar = NewBar(p.screen, int64(e.Epochs*e.Steps))
	}
	p.bar.Describe(fmt.Sprintf("%s: epoch %d/%d, %.4g samples/s, %s left", name, e.Epoch, e.Epochs,
		e.SamplesPerSecond, table.Seconds(e.SecondsLeft)))
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

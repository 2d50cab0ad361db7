package suite

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/meter"
)

// ending is how the process of a run ended.
type ending struct {
	done   *Event         // its last event; nil if it ended without one
	status results.Status // of the run, should it have no record
	text   string         // why, a sentence
}

// process starts the process of one run, hands it the job, passes its events
// on, and waits for it. On cancellation it is asked to stop, and saves its
// state.
func (o Runner) process(ctx context.Context, i int, j Job, place Place) ending {
	var one sync.Mutex // the process's events, and what is seen of it
	on := o.On
	o.On = func(i int, spec results.Spec, e Event) {
		one.Lock()
		defer one.Unlock()
		on(i, spec, e)
	}
	j.DataDir, j.Out, j.Resume, j.JobOptions = o.DataDir, o.Out, o.Resume, o.JobOptions
	failed := func(err error) ending { return ending{status: results.StatusFailed, text: err.Error()} }
	job, err := json.Marshal(j)
	if err != nil {
		return failed(err)
	}
	command := exec.CommandContext(ctx, o.Command[0], o.Command[1:]...)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.Stdin = bytes.NewReader(job)
	// A group of its own: a terminal's Ctrl-C goes to the sweep, which asks the
	// runs to stop; they must not hear it twice.
	command.SysProcAttr = childAttributes()
	said := &lastWords{}
	command.Stderr = said
	if o.Stderr != nil {
		command.Stderr = io.MultiWriter(o.Stderr, said)
	}
	events, err := command.StdoutPipe()
	if err != nil {
		return failed(err)
	}
	killsBefore, killsErr := o.oomKills()
	if err := startOn(command, place.CPUs); err != nil {
		return failed(err)
	}
	var end ending
	watching, unwatch := context.WithCancel(ctx)
	tooLarge := make(chan int64, 1)
	go func() { tooLarge <- o.watch(watching, i, j.Spec, command.Process) }()
	o.listen(i, j.Spec, events, &end)
	unwatch()
	killedAt := <-tooLarge // before Wait: the number is the process's
	err = command.Wait()
	if killedAt > 0 {
		return ending{status: results.StatusOutOfMemory, text: fmt.Sprintf("the run's process had %s of memory, and --limit-memory "+
			"allows %s", humanize.IBytesN(uint64(killedAt), 4), humanize.IBytesN(uint64(o.MemoryLimit), 4))}
	}
	if end.done != nil && end.done.Error != "" {
		end.status, end.text = results.Status(end.done.Text), end.done.Error
		return end
	}
	starved := false
	if kills, err := o.oomKills(); err == nil && killsErr == nil {
		starved = kills > killsBefore
	}
	end.status, end.text = said.diagnose(err, starved)
	return end
}

// watchEvery is the time between two looks at the memory of a run's process.
const watchEvery = 250 * time.Millisecond

// watch tells how much memory a process has until the context ends. If it is more than the limit, the process is killed, and the
// bytes are returned; 0: it was not.
func (o Runner) watch(ctx context.Context, i int, spec results.Spec, p *os.Process) (killedAt int64) {
	ticks := time.NewTicker(watchEvery)
	defer ticks.Stop()
	of := meter.Process{Dir: fmt.Sprintf("/proc/%d", p.Pid)}
	for {
		select {
		case <-ctx.Done():
			return 0
		case <-ticks.C:
		}
		m, err := of.Memory()
		if err != nil || m.ResidentBytes == nil { // of a process that has just ended
			continue
		}
		if o.MemoryLimit > 0 && *m.ResidentBytes > o.MemoryLimit && p.Kill() == nil {
			return *m.ResidentBytes
		}
		o.On(i, spec, Event{Kind: EventMemory, MemoryBytes: *m.ResidentBytes})
	}
}

// listen reads events, one a line of any length, to the end of the output. Lines that are no events are passed on to Stderr:
// libraries print there when they are told to.
func (o Runner) listen(i int, spec results.Spec, output io.Reader, end *ending) {
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadBytes('\n')
		var e Event
		switch {
		case len(bytes.TrimSpace(line)) == 0:
		case json.Unmarshal(line, &e) == nil && e.Kind != "":
			if e.Kind == EventDone {
				end.done = &e
			}
			o.On(i, spec, e)
		case o.Stderr != nil:
			_, _ = o.Stderr.Write(line)
		}
		if err != nil {
			return
		}
	}
}

// lastWords keeps the part of a process's standard error that says why it ended.
type lastWords struct {
	partial []byte   // the line that is not complete yet
	recent  []string // the last lines before a crash, without hints; at most crashContext
	crash   []string // from the line by which the Go runtime says that the process crashes, the first crashLines
}

const (
	crashContext = 3
	crashLines   = 4
	longestLine  = 4096 // the rest is dropped
)

// Write never fails.
func (l *lastWords) Write(p []byte) (int, error) {
	for _, c := range p {
		if c == '\n' {
			l.line(strings.TrimSpace(string(l.partial)))
			l.partial = l.partial[:0]
		} else if len(l.partial) < longestLine {
			l.partial = append(l.partial, c)
		}
	}
	return len(p), nil
}

// crashMarks begin the line by which the Go runtime says that it ends the process: a panic, an error of its own, or a signal in
// C or C++ code. A stack trace comes after it.
var crashMarks = []string{
	"panic: ", "fatal error: ",
	"SIGABRT: ", "SIGSEGV: ", "SIGBUS: ", "SIGFPE: ", "SIGILL: ", "SIGQUIT: ", "SIGTRAP: ",
}

func (l *lastWords) line(text string) {
	switch {
	case text == "" || strings.HasPrefix(text, "hint: "):
		return
	case len(l.crash) > 0:
		if len(l.crash) < crashLines {
			l.crash = append(l.crash, text)
		}
		return
	}
	for _, mark := range crashMarks {
		if strings.HasPrefix(text, mark) {
			l.crash = []string{text}
			return
		}
	}
	l.recent = append(l.recent, text)
	l.recent = l.recent[max(len(l.recent)-crashContext, 0):]
}

// diagnose says why a process ended that has not said so in an event. The error is that of waiting for it; starved
// says that the kernel killed processes meanwhile because memory ran out.
func (l *lastWords) diagnose(err error, starved bool) (results.Status, string) {
	l.line(strings.TrimSpace(string(l.partial)))
	l.partial = nil
	if len(l.crash) > 0 {
		status, text := results.StatusFailed, l.crashText()
		for _, sign := range []string{"out of memory", "cannot allocate memory", "std::bad_alloc", "cannot map pages"} {
			if strings.Contains(text, sign) {
				status = results.StatusOutOfMemory
			}
		}
		return status, "the run's process crashed: " + text
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			text := fmt.Sprintf("the run's process was killed by signal %d (%s)", status.Signal(), unix.SignalName(status.Signal()))
			if status.Signal() == syscall.SIGKILL && starved {
				return results.StatusOutOfMemory, text + ", most likely for want of memory: the kernel counts an out-of-memory kill"
			}
			return results.StatusFailed, text
		}
	} else if err != nil {
		return results.StatusFailed, err.Error()
	}
	code := 0
	if exit != nil {
		code = exit.ExitCode()
	}
	text := fmt.Sprintf("the run's process ended with exit code %d and without a record", code)
	if len(l.recent) > 0 {
		text += ": " + strings.TrimPrefix(l.recent[len(l.recent)-1], MessagePrefix)
	}
	return results.StatusFailed, text
}

// crashText is the message of a crash in one line, without its stack trace.
func (l *lastWords) crashText() string {
	first := l.crash[0]
	switch {
	case strings.HasPrefix(first, "fatal error: unexpected signal"):
		// The line after it names the signal: [signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x0]
		for _, line := range l.crash[1:] {
			if signal, ok := strings.CutPrefix(line, "[signal "); ok {
				signal, _, _ = strings.Cut(signal, " code=")
				return signal + " in native code"
			}
		}
	case strings.HasPrefix(first, "SIG"):
		// Before it stand what the C or C++ library said: terminate called …, what(): …, an assertion.
		return strings.Join(append([]string{first + " in native code"}, l.recent...), ": ")
	}
	return first
}

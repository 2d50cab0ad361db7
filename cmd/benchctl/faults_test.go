package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/localbench/localbench/results"
)

// actOn starts a command, calls act once when a line of its standard error has the text, and returns its exit code and
// all that it said.
func actOn(t *testing.T, c *exec.Cmd, text string, act func()) (int, string) {
	t.Helper()
	pipe, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	lines := bufio.NewScanner(io.TeeReader(pipe, &said))
	for acted := false; lines.Scan(); {
		if !acted && strings.Contains(lines.Text(), text) {
			acted = true
			act()
		}
	}
	err = c.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), said.String()
}

// signalChildren sends a signal to the processes that a process has started.
func signalChildren(t *testing.T, parent int, signal syscall.Signal) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, path := range tasks {
		text, _ := os.ReadFile(path)
		for _, word := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				t.Fatal(err)
			}
			if syscall.Kill(pid, signal) == nil {
				sent++
			}
		}
	}
	if sent == 0 {
		t.Errorf("process %d has no children to signal", parent)
	}
}

// needChildren skips where the kernel does not list the children of a process.
func needChildren(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(os.Getpid()) + "/children"); runtime.GOOS != "linux" || err != nil {
		t.Skip("the children of a process are not listed here: nothing was killed")
	}
}

// A terminal that closes sends SIGHUP: the run saves its state and goes on later. A command under nohup does not end.
func TestHangupSaves(t *testing.T) {
	// A signal that this process handles is at its default in the processes it starts, even if it was ignored before, as under
	// nohup.
	handled := make(chan os.Signal, 1)
	signal.Notify(handled, syscall.SIGHUP)
	defer signal.Stop(handled)
	dir := t.TempDir()
	c := smallRun(dir)
	code, said := actOn(t, c, "epoch 1/", func() { _ = c.Process.Signal(syscall.SIGHUP) })
	if code != int(exitInterrupted) || !strings.Contains(said, "--resume goes on") {
		t.Fatalf("got exit code %d, want %d and a hint: %s", code, exitInterrupted, said)
	}
	if r := onlyRecord(t, dir); r.Status != results.StatusInterrupted || len(r.Accuracy.Epochs) == 0 {
		t.Errorf("got status %s with %d epochs, want interrupted after the first", r.Status, len(r.Accuracy.Epochs))
	}
	if states, _ := filepath.Glob(filepath.Join(dir, "runs", "*.state.safetensors")); len(states) != 1 {
		t.Errorf("got %v, want one state", states)
	}

	dir = t.TempDir()
	c = smallRun(dir)
	c = exec.Command("sh", append([]string{"-c", `trap "" HUP; exec "$0" "$@"`}, c.Args...)...)
	code, said = actOn(t, c, "epoch 1/", func() { _ = c.Process.Signal(syscall.SIGHUP) })
	if code != 0 || onlyRecord(t, dir).Status != results.StatusDone {
		t.Errorf("SIGHUP was ignored at the start: got exit code %d, want a run that is done: %s", code, said)
	}
}

// A run's process that is killed or crashes is recorded as what it was, the sweep goes on, and --resume repeats that run alone.
func TestProcessThatDies(t *testing.T) {
	needChildren(t)
	for signal, want := range map[syscall.Signal]string{
		syscall.SIGKILL: "the run's process was killed by signal 9 (SIGKILL)",
		syscall.SIGABRT: "the run's process crashed: SIGABRT: abort in native code",
		syscall.SIGSEGV: "the run's process crashed: SIGSEGV: segmentation violation in native code",
		syscall.SIGQUIT: "the run's process crashed: SIGQUIT: quit in native code",
	} {
		if testing.Short() && signal != syscall.SIGKILL && signal != syscall.SIGABRT {
			continue
		}
		t.Run(want, func(t *testing.T) {
			dir := t.TempDir()
			two := []string{"--seeds", "2"}
			c := smallRun(dir, two...)
			code, said := actOn(t, c, "[1/2] resnet20 auglocal: epoch 1/", func() { signalChildren(t, c.Process.Pid, signal) })
			if code != int(exitSweep) || !strings.Contains(said, "1 of 2 runs failed: their records say why") {
				t.Fatalf("got exit code %d, want %d: %s", code, exitSweep, said)
			}
			records, _, err := results.ReadDir(filepath.Join(dir, "runs"))
			if err != nil || len(records) != 2 {
				t.Fatalf("got %d records, %v", len(records), err)
			}
			for _, r := range records {
				if r.Spec.Seed == 1 && (r.Status != results.StatusFailed || r.Error != want) {
					t.Errorf("got %s: %q, want failed: %q", r.Status, r.Error, want)
				}
				if r.Spec.Seed == 2 && r.Status != results.StatusDone {
					t.Errorf("got %s for the other run, want done", r.Status)
				}
			}
			out, err := smallRun(dir, append(two, "--resume")...).CombinedOutput()
			if err != nil || strings.Contains(string(out), "[2/2]") {
				t.Errorf("resumed: %v, want that the first run alone goes on: %s", err, out)
			}
		})
	}
}

// TestKillTorture kills a sweep again and again, the whole of it or a run, at other places each time, until all is done: the
// records are those of an undisturbed sweep in all but what is measured, with step times, and nothing is left beside them.
func TestKillTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("kills a sweep eight times: make test-all")
	}
	needChildren(t)
	whole, cut := t.TempDir(), t.TempDir()
	if out, err := smallRun(whole, "--seeds", "2").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for kill := range 8 {
		more := []string{"--seeds", "2"}
		if kill > 0 {
			more = append(more, "--resume")
		}
		c := smallRun(cut, more...)
		// After the line of an epoch its state is written: kills come at once, in the midst of that, and later.
		_, said := actOn(t, c, "epoch", func() {
			for spin := 0; spin < 1<<(3*kill); spin++ {
				runtime.Gosched()
			}
			if kill%2 == 0 {
				_ = c.Process.Kill()
			} else {
				signalChildren(t, c.Process.Pid, syscall.SIGKILL)
			}
		})
		if strings.Contains(said, "panic") || strings.Contains(said, "damaged") {
			t.Fatalf("kill %d: %s", kill, said)
		}
	}
	if out, err := smallRun(cut, "--seeds", "2", "--resume").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want, _, err := results.ReadDir(filepath.Join(whole, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := results.ReadDir(filepath.Join(cut, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	same := cmp.Options{cmpopts.IgnoreFields(results.Record{}, "Attempt", "Started", "Finished", "Time", "Environment"),
		cmpopts.IgnoreFields(results.Epoch{}, "Seconds"),
		cmpopts.IgnoreFields(results.Memory{}, "ProcessPeakBytes", "ProcessBaselineBytes")}
	if d := cmp.Diff(want, got, same); d != "" {
		t.Errorf("after kills the records differ (-undisturbed +killed):\n%s", d)
	}
	for _, r := range got {
		if r.Time.StepSeconds == nil || r.Time.StepSeconds.N == 0 {
			t.Errorf("seed %d: got no step times", r.Spec.Seed)
		}
	}
	entries, err := os.ReadDir(filepath.Join(cut, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") && e.Name() != "plots" || strings.HasPrefix(e.Name(), ".") {
			t.Errorf("got leftover %s", e.Name())
		}
	}
}

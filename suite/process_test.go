package suite

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/localbench/localbench/results"
)

// sweepOf is one run by a shell script, which finds the job in $job and the record's place in $record.
func sweepOf(t *testing.T, script string) (Runner, []results.Spec) {
	t.Helper()
	specs, err := Request{Methods: []string{"bp"}, Networks: []string{"resnet20"}}.Expand()
	if err != nil {
		t.Fatal(err)
	}
	o := Runner{Out: t.TempDir(), Now: time.Now, oomKills: func() (int64, error) { return 0, nil }}
	path := results.Path(o.Out, results.SpecID(specs[0]))
	o.Command = []string{"sh", "-c", "job=$(cat); record=" + path + "\n" + script}
	return o, specs
}

// How a process ended stands in the record: as it said itself, or else what is known of it, and never a line of a stack trace.
func TestReasonOfARunThatFailed(t *testing.T) {
	// As printed by Go 1.26 on Linux, shortened.
	goPanic := `cat >&2 <<'X'
warning: something else
panic: assignment to entry in nil map
	panic: again

goroutine 1 [running]:
main.main()
	/src/cmd/benchctl/main.go:12 +0xb4
exit status 2
X
exit 2`
	segfault := `cat >&2 <<'X'
fatal error: unexpected signal during runtime execution
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x7f0]

runtime stack:
runtime.throw({0x1?, 0x2?})
gs     0x0
X
exit 2`
	abort := `cat >&2 <<'X'
terminate called after throwing an instance of 'std::length_error'
  what():  vector::_M_default_append
SIGABRT: abort
PC=0x7f3 m=0 sigcode=18446744073709551610
signal arrived during cgo execution

rax    0x0
gs     0x0
X
exit 2`
	outOfMemory := `cat >&2 <<'X'
runtime: out of memory: cannot allocate 4194304-byte block (1 in use)
fatal error: out of memory

goroutine 1 [running]:
X
exit 2`
	for _, row := range []struct {
		name, script string
		kills        int64
		status       results.Status
		text         string
	}{
		{"its own words", `echo '{"kind":"done","text":"failed","error":"train: no room"}'; echo 'benchctl: noise' >&2; exit 1`, 0,
			results.StatusFailed, "train: no room"},
		{"its own status", `echo '{"kind":"done","text":"oom","error":"too large"}'; exit 20`, 0, results.StatusOutOfMemory,
			"too large"},
		{"its last words", `echo 'benchctl: cannot start' >&2; echo 'hint: try' >&2; exit 7`, 0, results.StatusFailed,
			"the run's process ended with exit code 7 and without a record: cannot start"},
		{"no words", `exit 0`, 0, results.StatusFailed, "the run's process ended with exit code 0 and without a record"},
		{"a panic", goPanic, 0, results.StatusFailed, "the run's process crashed: panic: assignment to entry in nil map"},
		{"a fault in native code", segfault, 0, results.StatusFailed,
			"the run's process crashed: SIGSEGV: segmentation violation in native code"},
		{"an exception in native code", abort, 0, results.StatusFailed, "the run's process crashed: SIGABRT: abort in native code: " +
			"terminate called after throwing an instance of 'std::length_error': what():  vector::_M_default_append"},
		{"no memory, says Go", outOfMemory, 0, results.StatusOutOfMemory, "the run's process crashed: fatal error: out of memory"},
		{"killed", `kill -KILL $$`, 0, results.StatusFailed, "the run's process was killed by signal 9 (SIGKILL)"},
		{"killed by the kernel", `kill -KILL $$`, 1, results.StatusOutOfMemory,
			"the run's process was killed by signal 9 (SIGKILL), most likely for want of memory: the kernel counts an out-of-memory kill"},
		{"another signal", `kill -SEGV $$`, 1, results.StatusFailed, "the run's process was killed by signal 11 (SIGSEGV)"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o, specs := sweepOf(t, row.script)
			count := int64(3)
			o.oomKills = func() (int64, error) { defer func() { count += row.kills }(); return count, nil }
			records, err := o.Sweep(context.Background(), specs)
			if err != nil || len(records) != 1 || records[0].Status != row.status || records[0].Error != row.text {
				t.Errorf("got %+v, %v, want %s: %s", records, err, row.status, row.text)
			}
			if on, err := results.Read(results.Path(o.Out, results.SpecID(specs[0]))); err != nil || on.Error != row.text {
				t.Errorf("on disk: got %q, %v, want %q", on.Error, err, row.text)
			}
		})
	}
}

// A command that cannot be started is said, too.
func TestReasonOfARunThatCannotStart(t *testing.T) {
	o, specs := sweepOf(t, "")
	o.Command = []string{filepath.Join(t.TempDir(), "missing")}
	records, err := o.Sweep(context.Background(), specs)
	if err != nil || len(records) != 1 || !strings.Contains(records[0].Error, "no such file") {
		t.Errorf("got %+v, %v", records, err)
	}
}

// A line of any length is an event, and one that is no event goes to standard error.
func TestEventsOfAnyLength(t *testing.T) {
	long := filepath.Join(t.TempDir(), "long")
	text := strings.Repeat("x", 3<<20) // bufio.Scanner ends at 64 KiB
	event, err := json.Marshal(Event{Kind: EventWarning, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(long, append(event, "\nno event\n"...), 0o666); err != nil {
		t.Fatal(err)
	}
	o, specs := sweepOf(t, "cat "+long+`; printf '{"kind":"done","text":"failed","error":"x"}'`)
	var said strings.Builder
	o.Stderr = &said
	var got []Event
	o.On = func(_ int, _ results.Spec, e Event) {
		if e.Kind == EventWarning || e.Kind == EventDone { // of the process itself
			got = append(got, e)
		}
	}
	if _, err := o.Sweep(context.Background(), specs); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Text != text || got[1].Error != "x" || said.String() != "no event\n" {
		t.Errorf("got %d events and %q, want a warning of %d bytes, an end and a line that is no event", len(got),
			said.String(), len(text))
	}
}

// writeRecord is a script that writes the record of a done run with the attempt of its job, started an hour ago.
const writeRecord = `attempt=$(printf '%s' "$job" | sed 's/.*"attempt":"\([^"]*\)".*/\1/')
spec=$(printf '%s' "$job" | sed 's/.*"spec":\({.*}\),"attempt".*/\1/')
times='"started":"2001-01-01T00:00:00Z","finished":"2001-01-01T00:00:01Z"'
printf '{"schema":1,"id":"%s","attempt":"%s","status":"done",%s,"spec":%s}' \
  "$(basename "$record" .json)" "$attempt" "$times" "$spec" >"$record"
`

// A record is of the process that wrote it whatever its clock says, also where the process was killed after it.
func TestClockThatWasSetBack(t *testing.T) {
	for _, end := range []string{"", "kill -KILL $$", "exit 1"} {
		o, specs := sweepOf(t, writeRecord+end)
		records, err := o.Sweep(context.Background(), specs)
		if err != nil || len(records) != 1 || records[0].Status != results.StatusDone || records[0].Started.Year() != 2001 {
			t.Errorf("%q: got %+v, %v, want the record that the process wrote", end, records, err)
		}
		if on, err := results.Read(results.Path(o.Out, results.SpecID(specs[0]))); err != nil || on.Status != results.StatusDone {
			t.Errorf("%q: on disk: got %s, %v", end, on.Status, err)
		}
	}
}

// A run that is done once is not lost when the same run fails later, is killed or is interrupted.
func TestRecordOfADoneRunStays(t *testing.T) {
	for _, row := range []struct {
		script string
		status results.Status
	}{{"kill -KILL $$", results.StatusFailed}, {"exit 1", results.StatusFailed}, {"exec sleep 600", results.StatusInterrupted}} {
		o, specs := sweepOf(t, row.script)
		done := results.Record{Spec: specs[0], Status: results.StatusDone, Started: time.Now(), Finished: time.Now()}
		if err := results.Write(o.Out, done); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		if row.status == results.StatusInterrupted {
			cancel()
		}
		var warned []string
		o.On = func(_ int, _ results.Spec, e Event) {
			if e.Kind != EventMemory {
				warned = append(warned, string(e.Kind)+": "+e.Text)
			}
		}
		r, _ := o.withDefaults().one(ctx, 0, specs[0], Place{})
		cancel()
		if r == nil || r.Status != row.status {
			t.Errorf("%s: got %+v, want status %s", row.script, r, row.status)
		}
		on, err := results.Read(results.Path(o.Out, results.SpecID(specs[0])))
		if err != nil || on.Status != results.StatusDone {
			t.Errorf("%s: on disk: got %s, %v, want the older record", row.script, on.Status, err)
		}
		if len(warned) != 1 || !strings.HasPrefix(warned[0], "warning: ") || !strings.Contains(warned[0], "is kept") {
			t.Errorf("%s: got %q, want a word on the record that is kept", row.script, warned)
		}
	}
}

// Execute keeps it as well.
func TestExecuteKeepsTheRecordOfADoneRun(t *testing.T) {
	specs, err := Request{Methods: []string{"bp"}, Networks: []string{"resnet20"}, Datasets: []string{"cifar10"}}.Expand()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := results.Write(dir, results.Record{Spec: specs[0], Status: results.StatusDone}); err != nil {
		t.Fatal(err)
	}
	var got []Event
	r, err := Execute(context.Background(), Host{}, Job{Spec: specs[0], Attempt: "a", Out: dir,
		DataDir: filepath.Join(dir, "none")}, time.Now, func(e Event) { got = append(got, e) })
	if err == nil || r.Status != results.StatusFailed {
		t.Fatalf("got %+v, %v, want a run that fails", r, err)
	}
	if on, err := results.Read(results.Path(dir, r.ID)); err != nil || on.Status != results.StatusDone {
		t.Errorf("on disk: got %s, %v, want the older record", on.Status, err)
	}
	if len(got) != 2 || got[0].Kind != EventWarning || got[1].Kind != EventDone || got[1].Error != r.Error || r.Error == "" {
		t.Errorf("got %+v, want a warning and the end with its reason", got)
	}
}

// A record of another commit that is kept is said, one of the same commit is not.
func TestResumeSaysOtherCommits(t *testing.T) {
	for commit, want := range map[string]int{"abc": 0, "def": 1, "": 1} {
		o, specs := sweepOf(t, "exit 1")
		o.Resume, o.commit = true, "abc"
		done := results.Record{Spec: specs[0], Status: results.StatusDone, Environment: results.Environment{Commit: commit}}
		if err := results.Write(o.Out, done); err != nil {
			t.Fatal(err)
		}
		var got []Event
		o.On = func(_ int, _ results.Spec, e Event) {
			if e.Kind == EventKept {
				got = append(got, e)
			}
		}
		if records, err := o.Sweep(context.Background(), specs); err != nil || records[0].Status != results.StatusDone {
			t.Fatalf("got %+v, %v", records, err)
		}
		if len(got) != want || want == 1 && got[0].Text != commit {
			t.Errorf("commit %q: got %+v, want %d events", commit, got, want)
		}
	}
}

// What a process left that was killed while it wrote its record is removed by the next sweep, and a state that was not removed.
func TestNextSweepRemovesTemporaryFiles(t *testing.T) {
	o, specs := sweepOf(t, "exit 1")
	id := results.SpecID(specs[0])
	left := []string{"." + id + ".json8091234567890123", "." + id + ".state.safetensors8091234567890123",
		id + ".state.safetensors", id + ".state.previous.safetensors"}
	for _, name := range left {
		if err := os.WriteFile(filepath.Join(o.Out, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := results.Write(o.Out, results.Record{Spec: specs[0], Status: results.StatusDone}); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	if _, err := o.Sweep(context.Background(), specs); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ls", "-A", o.Out).Output(); err != nil || string(out) != id+".json\n" {
		t.Errorf("got %q, %v, want the record alone", out, err)
	}
}

package suite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/localbench/localbench/results"
)

// How a sweep ended: nothing where all runs are done, the number of failed ones, why if no record says it, and what is kept
// after an interruption.
func TestVerdictOfASweep(t *testing.T) {
	fails := "echo 'benchctl: no room' >&2; exit 1"
	for _, row := range []struct {
		name         string
		script       string
		done, resume bool // there is a record of a completed run
		failFast     bool
		want         string
	}{
		{"failed", fails, false, false, false, "1 of 1 runs failed: their records say why"},
		{"failed at once", fails, false, false, true, "1 of 1 runs failed: their records say why"},
		{"done before", fails, true, true, false, ""},
		{"failed, an older record is kept", fails, true, false, false, "1 of 1 runs failed: resnet20-bp-"},
	} {
		r, specs := sweepOf(t, row.script)
		r.Resume, r.FailFast = row.resume, row.failFast
		if row.done {
			done := results.Record{Spec: specs[0], Status: results.StatusDone, Started: time.Now(), Finished: time.Now()}
			if err := results.Write(r.Out, done); err != nil {
				t.Fatal(err)
			}
		}
		records, err := r.Run(context.Background(), specs)
		var failed *SweepError
		if row.want == "" && err != nil || row.want != "" && (!errors.As(err, &failed) || !strings.HasPrefix(err.Error(), row.want)) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
		if row.name == "failed, an older record is kept" && !strings.HasSuffix(err.Error(), "no room") {
			t.Errorf("%s: got %v, want the reason", row.name, err)
		}
		if _, ok := r.Record(specs[0]); ok != row.done || r.Written(records) != 1 {
			t.Errorf("%s: a record of a completed run: %t, %d records in the folder", row.name, ok, r.Written(records))
		}
	}
	for resume, next := range map[bool]string{false: "the same command with --resume goes on", true: "the same command goes on"} {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r, specs := sweepOf(t, "exit 0")
		r.Resume = resume
		_, err := r.Run(ctx, specs)
		var interrupted *InterruptedError
		if !errors.As(err, &interrupted) || interrupted.Hint() != next || !strings.Contains(err.Error(), "0 of 1 runs are done") {
			t.Errorf("resume %t: got %v", resume, err)
		}
	}
}

// A folder that can't be made is an *OutError; one in whose place is a file is the user's mistake.
func TestPreflightOfTheFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var folder *OutError
	for _, out := range []string{file, filepath.Join(file, "below")} {
		if err := (Runner{Out: out}).Preflight(Host{}, nil); err == nil || errors.As(err, &folder) {
			t.Errorf("%s: got %v, want an error that is no *OutError", out, err)
		}
	}
	if err := (Runner{Out: "/proc/nowhere"}).Preflight(Host{}, nil); !errors.As(err, &folder) {
		t.Errorf("got %v, want an *OutError", err)
	}
	if err := (Runner{Out: filepath.Join(t.TempDir(), "a", "b")}).Preflight(Host{}, nil); err != nil {
		t.Error(err)
	}
}

func TestReadJob(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "job: standard input is empty",
		`{"out":""}`:                        "job: out: must be the folder",
		`{"out":"x","nonsense":1}`:          "job: json: unknown field",
		strings.Repeat(" ", maxJobBytes+10): "job: standard input has more than 1048576 bytes",
	} {
		if _, err := ReadJob(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.20q: got %v, want %s", text, err, want)
		}
	}
	if job, err := ReadJob(strings.NewReader(`{"out":"x","data_dir":"d","spec":{"method":"bp"}}`)); err != nil || job.Out != "x" {
		t.Errorf("got %+v, %v", job, err)
	}
}

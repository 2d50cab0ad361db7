package plans_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/localbench/localbench/plans"
	"github.com/localbench/localbench/reports/gate"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

func small(methods ...string) suite.Request {
	return suite.Request{Methods: methods, Networks: []string{"resnet20"}, Batches: []int64{4}, Threads: 1}
}

func options() plans.Options {
	return plans.Options{Policy: plans.PolicyPlanned, Fit: plans.Fit{Limit: suite.LimitContainer}}
}

func ids(a plans.Answer) (all []string) {
	for _, t := range a.Tables {
		all = append(all, t.ID)
	}
	return all
}

// A single run has its details, several have not unless they are asked for; tables without rows are left out.
func TestTables(t *testing.T) {
	for _, row := range []struct {
		name    string
		request suite.Request
		change  func(*plans.Options)
		want    string
	}{
		{"one", small("bp"), func(*plans.Options) {}, "memory categories modules scopes largest timeline"},
		{"two", small("bp", "dgl"), func(*plans.Options) {}, "memory categories"},
		{"eager", small("bp", "dgl"), func(o *plans.Options) { o.Policy = plans.PolicyEager }, "eager"},
		{"fit", small("bp"), func(o *plans.Options) { o.Fit.Budget = 64 << 20 }, "fit"},
	} {
		o := options()
		row.change(&o)
		a, err := o.Run(row.request)
		if got := strings.Join(ids(a), " "); err != nil || got != row.want {
			t.Errorf("%s: got the tables %s, %v, want %s", row.name, got, err, row.want)
		}
		if a.Backend != "cpu" || a.Precision != "f32" || a.GPU != "" || a.Verdict != nil {
			t.Errorf("%s: got %+v", row.name, a)
		}
	}
}

// Options that make no sense are errors that name the flag.
func TestOptionErrors(t *testing.T) {
	for want, change := range map[string]func(*plans.Options){
		"--policy lazy: must be planned or eager":             func(o *plans.Options) { o.Policy = "lazy" },
		"--process-limit x: must be container or data":        func(o *plans.Options) { o.Fit.Limit = "x" },
		"--reserve 2.000 MiB: must be less than 1.000 MiB":    func(o *plans.Options) { o.Fit.Budget, o.Fit.Reserve = 1<<20, 2<<20 },
		"--fit-process with --backend reference: must be cpu": func(o *plans.Options) { o.Fit.Process = 1 << 30 },
	} {
		o := options()
		change(&o)
		request := small("bp")
		request.Backend = "reference"
		if _, err := o.Run(request); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// If not even a batch of one sample fits, that is a failed check.
func TestNothingFits(t *testing.T) {
	o := options()
	o.Fit.Budget = 1 << 10
	a, err := o.Run(small("bp"))
	var failed *gate.FailedError
	if err != nil || !errors.As(a.Verdict, &failed) || len(a.Tables) != 1 {
		t.Errorf("got %d tables, the verdict %v and %v", len(a.Tables), a.Verdict, err)
	}
}

func TestExport(t *testing.T) {
	o := options()
	o.Export = filepath.Join(t.TempDir(), "a", "b")
	a, err := o.Run(small("bp"))
	if err != nil {
		t.Fatal(err)
	}
	for _, ending := range []string{".timeline.csv", ".snapshot.pickle", "timeline.trace.json", ".timeline.png", ".svg", ".pdf"} {
		found := 0
		for _, path := range a.Plots {
			if info, err := os.Stat(path); err == nil && info.Size() > 0 && strings.HasSuffix(path, ending) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d files %s among %v, want one", found, ending, a.Plots)
		}
	}
}

// A run whose process fails does not end the others, and is why not all were profiled; a cancelled profile says how far it is.
func TestProfileEnds(t *testing.T) {
	runs, err := small("bp", "dgl").Build()
	if err != nil {
		t.Fatal(err)
	}
	var started []string
	p := plans.Profile{Steps: 1, Next: func(_ int, s results.Spec) { started = append(started, s.Method) },
		Runner: suite.Runner{Command: []string{"sh", "-c", "cat >/dev/null; echo 'benchctl: broken' >&2; exit 1"}, Now: time.Now}}
	found, err := p.Run(context.Background(), runs)
	var failed *suite.SweepError
	if err != nil || found.Runs != 0 || !errors.As(found.Ended, &failed) || failed.Failed != 2 ||
		strings.Join(started, " ") != "bp dgl" {
		t.Errorf("got %+v, %v after %v, want two failed runs", found, err, started)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.Next = func(int, results.Spec) { cancel() }
	found, err = p.Run(ctx, runs)
	var interrupted *suite.InterruptedError
	if err != nil || !errors.As(found.Ended, &interrupted) || interrupted.Left != "0 of 2 runs were profiled" {
		t.Errorf("got %+v, %v, want that it was interrupted", found, err)
	}
	reference := small("bp")
	reference.Backend = "reference"
	if runs, err = reference.Build(); err != nil {
		t.Fatal(err)
	}
	if _, err = p.Run(context.Background(), runs); err == nil || !strings.HasPrefix(err.Error(), "--backend reference: ") {
		t.Errorf("got %v, want that the reference has no arena", err)
	}
}

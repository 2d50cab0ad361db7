package suite

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/localbench/localbench/results"
)

// A run's process that ends without a record has one all the same: what it said last, without the
// words in front and without a hint, even where the record cannot be written.
func TestRecordOfAProcessWithoutOne(t *testing.T) {
	specs, err := Request{Methods: []string{"bp"}, Networks: []string{"resnet20"}}.Expand()
	if err != nil {
		t.Fatal(err)
	}
	o := Runner{Out: t.TempDir(), Now: time.Now,
		Command: []string{"sh", "-c", "cat >/dev/null; echo 'benchctl: no room' >&2; echo 'hint: make room' >&2; exit 1"}}
	const want = "the run's process ended with exit code 1 and without a record: no room"
	check := func(records []results.Record) {
		t.Helper()
		if len(records) != 1 || records[0].ID != results.SpecID(specs[0]) || records[0].Error != want ||
			records[0].Status != results.StatusFailed {
			t.Errorf("got %+v, want one record of %s that failed: %s", records, results.SpecID(specs[0]), want)
		}
	}
	records, err := o.Sweep(context.Background(), specs)
	if err != nil {
		t.Error(err)
	}
	check(records)

	o.Out = t.TempDir()
	if err := os.MkdirAll(results.Path(o.Out, results.SpecID(specs[0]))+"/in the way", 0o777); err != nil {
		t.Fatal(err)
	}
	records, err = o.Sweep(context.Background(), specs)
	if err == nil {
		t.Error("got no error where the record cannot be written")
	}
	check(records)
}

// A record that is done is not run again with Resume, unless its spec was edited since: it is then of another run
// than its name says.
func TestResumeLooksAtTheSpec(t *testing.T) {
	specs, err := Request{Methods: []string{"bp"}, Networks: []string{"resnet20"}}.Expand()
	if err != nil {
		t.Fatal(err)
	}
	o := Runner{Out: t.TempDir(), Now: time.Now, Resume: true, Command: []string{"sh", "-c", "cat >/dev/null; echo ran >&2; exit 1"}}
	done := results.Record{Spec: specs[0], Status: results.StatusDone, Started: time.Now(), Finished: time.Now()}
	if err := results.Write(o.Out, done); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"", "the run's process ended with exit code 1 and without a record: ran"} {
		records, err := o.Sweep(context.Background(), specs)
		if err != nil || len(records) != 1 || records[0].Error != want {
			t.Errorf("got %+v, %v, want one record with error %q", records, err, want)
		}
		path := results.Path(o.Out, results.SpecID(specs[0]))
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), `"batch": 128`, `"batch": 64`, 1)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

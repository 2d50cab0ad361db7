package baseline_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/baseline"
)

func TestNames(t *testing.T) {
	for name, want := range map[string]string{"memory": "results/baselines/memory.json", "x.json": "x.json", "a/b": "a/b"} {
		if got := baseline.File(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	for path, want := range map[string]string{
		"results/baselines/memory.json": "", "results/baselines/memory-h100.json": "h100",
		"results/baselines/memory-.json": "none", "results/baselines/main.json": "none", "ci/memory.json": "none",
	} {
		if gpu, ok := baseline.GPU(path); ok != (want != "none") || ok && gpu != want {
			t.Errorf("%s: got %q, %t, want %s", path, gpu, ok, want)
		}
	}
}

// A side of a comparison lacks no record in silence: one that can't be read, a path that does not exist and a folder without
// records are errors of their own kinds.
func TestReadSide(t *testing.T) {
	dir := t.TempDir()
	var none *baseline.NoneError
	if _, err := baseline.ReadSide(dir); !errors.As(err, &none) {
		t.Errorf("an empty folder: got %v", err)
	}
	var missing *baseline.MissingError
	if _, err := baseline.ReadSide(filepath.Join(dir, "nowhere")); !errors.As(err, &missing) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that does not exist: got %v", err)
	}
	spec := results.Spec{Method: "bp", Network: "resnet20", Dataset: "cifar10", Batch: 8}
	r := results.Record{Spec: spec, Status: results.StatusDone}
	r.Accuracy.Epochs = []results.Epoch{{Epoch: 1}}
	if err := results.Write(dir, r); err != nil {
		t.Fatal(err)
	}
	records, err := baseline.ReadSide(dir)
	if err != nil || len(records) != 1 || len(records[0].Accuracy.Epochs) != 0 {
		t.Errorf("got %d records, %v, want one without epochs", len(records), err)
	}
	for _, name := range []string{"one.json", "two.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"schema":1,`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var unreadable *baseline.UnreadableError
	_, err = baseline.ReadSide(dir)
	if !errors.As(err, &unreadable) || !strings.HasSuffix(err.Error(), "(and 1 more record)") || unreadable.Hint() == "" {
		t.Errorf("damaged records: got %v", err)
	}
	if _, err = baseline.ReadRecords(dir); !errors.As(err, &unreadable) {
		t.Errorf("damaged records of a baseline: got %v", err)
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/localbench/localbench/reports/publish"
)

// docs/results.md is what `make results` writes of the records that it links: no number of it was edited.
func TestResultsPageIsThatOfItsRecords(t *testing.T) {
	root := filepath.Join("..", "..")
	page := filepath.Join(root, "docs", "results.md")
	p := publish.Page{Images: "images/results"}
	for _, part := range []struct {
		sources *[]publish.Source
		folders []string
	}{{&p.Trained, []string{"resnet20-cifar10-12-epochs", "smoke"}}, {&p.Timed, []string{"step-times"}}} {
		var paths []string
		for _, folder := range part.folders {
			paths = append(paths, filepath.Join(root, "results", "reproductions", folder))
		}
		found, skipped, err := publish.Sources(page, paths)
		if err != nil || len(skipped) > 0 || len(found) == 0 {
			t.Fatalf("%s: %d records, %v, %v", part.folders, len(found), skipped, err)
		}
		*part.sources = found
	}
	var want bytes.Buffer
	if err := p.Write(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("docs/results.md differs from its records: `make results` writes it")
	}
	figures, err := p.Figures()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range figures {
		if _, err := os.Stat(filepath.Join(root, "docs", "images", "results", f.Name+".svg")); err != nil {
			t.Error(err)
		}
	}
}

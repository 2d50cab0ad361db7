package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/localbench/localbench/reports/publish"
)

// docs/results.md is what `make results` writes of the records that it links: no number of it was edited.
func TestResultsPageIsThatOfItsRecords(t *testing.T) {
	root := filepath.Join("..", "..")
	page := filepath.Join(root, "docs", "results.md")
	p := publish.Page{Images: "images/results", InDocs: true}
	for _, part := range []struct {
		sources  *[]publish.Source
		variable string // of the Makefile
	}{{&p.Trained, "TRAINED"}, {&p.Timed, "TIMED"}} {
		folders := makeVariable(t, filepath.Join(root, "Makefile"), part.variable)
		var paths []string
		for _, folder := range folders {
			paths = append(paths, filepath.Join(root, "results", "reproductions", folder))
		}
		found, skipped, err := publish.Sources(page, paths)
		if err != nil || len(skipped) > 0 || len(found) == 0 {
			t.Fatalf("%s: %d records, %v, %v", folders, len(found), skipped, err)
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

// makeVariable are the words of a variable of a Makefile that is set in one line.
func makeVariable(t *testing.T, path, name string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if before, words, found := strings.Cut(line, ":="); found && strings.TrimSpace(before) == name {
			return strings.Fields(words)
		}
	}
	t.Fatalf("%s: sets no variable %s", path, name)
	return nil
}

// README.md's table of results has rows of docs/results.md: the same first four cells.
func TestReadmeShowsResultsOfThePage(t *testing.T) {
	root := filepath.Join("..", "..")
	rows := map[string]bool{}
	for _, row := range tableRows(t, filepath.Join(root, "docs", "results.md")) {
		rows[row] = true
	}
	shown := tableRows(t, filepath.Join(root, "README.md"))
	if len(shown) < 6 {
		t.Fatalf("README.md shows %d rows, want at least 6", len(shown))
	}
	for _, row := range shown {
		if !rows[row] {
			t.Errorf("README.md: no row of docs/results.md begins with: %s", row)
		}
	}
}

// tableRows are the first four cells of each row of a page's tables that give the size of an arena and a step's time.
func tableRows(t *testing.T, path string) (rows []string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	arena := regexp.MustCompile(`^[0-9.]+ [KMG]iB$`)
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 6 || !arena.MatchString(strings.TrimSpace(cells[2])) {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, strings.Join(cells[1:5], " | "))
	}
	return rows
}

package yamlfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Entries come in the order of the file, with their lines; comments, empty documents and separators are passed over.
func TestParse(t *testing.T) {
	entries, err := Parse("f", []byte("# a sweep\nmethods: [bp, dgl]\n---\n\nbatch: 8\nempty:\n---\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		key  string
		line int
	}{{"methods", 2}, {"batch", 5}, {"empty", 6}}
	if len(entries) != len(want) {
		t.Fatalf("got %d entries, want %d", len(entries), len(want))
	}
	for i, e := range entries {
		if e.Key != want[i].key || e.Line != want[i].line {
			t.Errorf("entry %d: got %s in line %d, want %s in line %d", i, e.Key, e.Line, want[i].key, want[i].line)
		}
	}
	if text, err := Scalar(entries[1].Value); err != nil || text != "8" {
		t.Errorf("got %q, %v, want 8", text, err)
	}
	if _, err := Scalar(entries[0].Value); err == nil || err.Error() != "must be a value: it is a list" {
		t.Errorf("a list: got %v", err)
	}
	if _, err := Scalar(entries[2].Value); err == nil || err.Error() != "the value is missing" {
		t.Errorf("no value: got %v", err)
	}
}

// Each fault is an error with the file and the line.
func TestFaults(t *testing.T) {
	for text, want := range map[string]string{
		"a: 1\nb: 2\na: 3\n":           "f:3: a: is already set in line 1",
		"a: 1\n---\na: 3\n":            "f:3: a: is already set in line 1",
		"- a\n":                        "f:1: must be lines of `name: value`: it is a list",
		"just text\n":                  `f:1: must be lines of ` + "`name: value`" + `: it is the text "just text"`,
		"a: 1\n? [b]\n: 2\n":           "f:2: a list is not a name",
		"a: &x [1]\nb: *x\n":           "f:1: anchors and aliases (& and *) are not supported",
		"a: " + strings.Repeat("[", 9): "f:",
		"a: " + strings.Repeat("[", 9) + strings.Repeat("]", 9): "f:1: lists and mappings are nested more than 8 levels deep",
		"a: 1\n b: 2\n": "f:2: ",
		"a: \"\x1b[2J":  "f:",
	} {
		entries, err := Parse("f", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, %v, want %q", text, entries, err, want)
		}
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.yaml")
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is not there: got %v", err)
	}
	if err := os.WriteFile(path, []byte("a: 1"), 0o666); err != nil {
		t.Fatal(err)
	}
	if entries, err := Read(path); err != nil || len(entries) != 1 || entries[0].Key != "a" {
		t.Errorf("got %v, %v, want one entry", entries, err)
	}
	if err := os.WriteFile(path, make([]byte, maxBytes+1), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Error("a file beyond the bound was read")
	}
}

package planbook

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBook adds, replaces, writes and reads, and gives a backend back what it wrote.
func TestBook(t *testing.T) {
	var b Book
	first := "conv f32 x1x2x2x4 w4x3x3x4 s1x1 p1x1\t7\t2=0,11=3\t1024\t12.5\n"
	second := "conv f32 x1x2x2x8 w4x3x3x8 s1x1 p1x1\t0\t\t0\t3\n"
	for _, lines := range []string{strings.Replace(first, "\t7\t", "\t6\t", 1), second + first} {
		if err := b.Add("H", "9.19.1", lines); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Add("A", "9.19.1", second); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "book.json")
	if err := b.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"9.19.1", ""} {
		if lines := got.Lines("H", version); lines != first+second {
			t.Errorf("cuDNN %q: got %q, want %q", version, lines, first+second)
		}
	}
	Use(path)
	defer Use("")
	if current, err := Current(); err != nil || current.Lines("A", "") != second {
		t.Errorf("the book in use: got %v (%v), want that of the file", current, err)
	}
	if lines := got.Lines("H", "9.20.0"); lines != "" {
		t.Errorf("another version: got %q, want nothing", lines)
	}
	if names := strings.Join(got.GPUs(), ","); names != "A,H" {
		t.Errorf("got %s, want A,H", names)
	}
	if err := b.Add("H", "9.19.1", "conv\tseven\t\t0\t0\n"); err == nil {
		t.Error("an engine that is no number was taken")
	}
}

func TestBadBooks(t *testing.T) {
	if _, err := Current(); err != nil {
		t.Error(err)
	}
	for name, text := range map[string]string{"no JSON": "{", "newer": `{"schema": 2}`,
		"a tab": `{"schema": 1, "entries": [{"signature": "a\tb"}]}`, "no signature": `{"schema": 1, "entries": [{}]}`} {
		path := filepath.Join(t.TempDir(), "book.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want an error that names the file", name, err)
		}
	}
}

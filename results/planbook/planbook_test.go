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
	if lines := got.Lines("H", "9.19.1"); lines != first+second {
		t.Errorf("got %q, want %q", lines, first+second)
	}
	if opened, err := Open(path); err != nil || opened.Lines("A", "9.19.1") != second {
		t.Errorf("Open: got %v (%v), want the book in the file", opened, err)
	}
	if lines := got.Lines("H", "9.20.0"); lines != "" {
		t.Errorf("another version: got %q, want nothing", lines)
	}
	if g, err := got.Find("nvidia"); err == nil {
		t.Errorf("a part of several names: got %q", g.Name)
	}
	for part, want := range map[string]string{"A": "A", "a100": "NVIDIA A100-SXM4-80GB", "h100 80gb": "NVIDIA H100 80GB HBM3",
		"": "NVIDIA H100 80GB HBM3"} {
		if g, err := got.Find(part); err != nil || g.Name != want {
			t.Errorf("%q: got %q (%v), want %q", part, g.Name, err, want)
		}
	}
	if err := b.Add("H", "9.19.1", "conv\tseven\t\t0\t0\n"); err == nil {
		t.Error("an engine that is no number was taken")
	}
}

func TestBadBooks(t *testing.T) {
	if _, err := Open(""); err != nil {
		t.Error(err)
	}
	for name, text := range map[string]string{"no JSON": "{", "newer": `{"schema": 2}`,
		"no rate":       `{"schema": 1, "gpus": [{"name": "H", "properties": {}, "rates": {"bytes_per_second": 1}}]}`,
		"no properties": `{"schema": 1, "gpus": [{"name": "H"}]}`, "a tab": `{"schema": 1, "entries": [{"signature": "a\tb"}]}`,
		"no signature": `{"schema": 1, "entries": [{}]}`} {
		path := filepath.Join(t.TempDir(), "book.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want an error that names the file", name, err)
		}
	}
}

// TestKnownGPUs: what a GPU tells of itself takes the place of what was published of it, and is the
// same after it was written and read.
func TestKnownGPUs(t *testing.T) {
	b, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	published, err := b.Find("h100")
	if err != nil {
		t.Fatal(err)
	}
	if published.MemoryBytes() != 84942979072 || published.Source == OnGPU {
		t.Errorf("published: got %d bytes from %s, want 84942979072 from elsewhere", published.MemoryBytes(), published.Source)
	}
	for name, told := range map[string]string{published.Name: `{"totalGlobalMem": 7}`, "NVIDIA New": `{"totalGlobalMem": 9}`} {
		if err := b.Know(name, told); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Know("NVIDIA New", "no JSON"); err == nil {
		t.Error("properties that are no JSON were taken")
	}
	path := filepath.Join(t.TempDir(), "book.json")
	if err := b.Write(path); err != nil {
		t.Fatal(err)
	}
	if b, err = Read(path); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{"h100": 7, "nvidia new": 9} {
		g, err := b.Find(name)
		if err != nil || g.MemoryBytes() != want || g.Source != OnGPU {
			t.Errorf("%s: got %d bytes from %s (%v), want %d from the GPU", name, g.MemoryBytes(), g.Source, err, want)
		}
		if known := name == "h100"; known != (g.Rates != nil) || known && g.Rates.Bytes != 3.35e12 {
			t.Errorf("%s: got rates %v, want those of the data sheet where there is one", name, g.Rates)
		}
	}
}

package planbook

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse reads tuning caches. One that is read can be searched, and is the same after it was written.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema":1,"gpus":[{"name":"Some H100","properties":{"totalGlobalMem":85899345920},"source":"a",
		"rates":{"bytes_per_second":1,"flops_per_second":{"f32":2},"source":"b"}}],
		"entries":[{"gpu":"Some H100","cudnn":"9.1","signature":"conv f32 1","engine":3,"knobs":"1=2","workspace_bytes":4}]}`))
	f.Add([]byte(`{"schema":1,"gpus":[{"name":"","properties":null}]}`))
	f.Add([]byte(`{"schema":1,"entries":[{"signature":"a\tb","workspace_bytes":-1}]}`))
	f.Add([]byte(`{"schema":2}`))
	path := filepath.Join(f.TempDir(), "book.json")
	f.Fuzz(func(t *testing.T, text []byte) {
		book, err := parse(text, "x")
		if err != nil {
			return
		}
		for _, name := range []string{"", "h100"} {
			if g, err := book.Find(name); err == nil && g.MemoryBytes() < 0 {
				t.Errorf("%q: got a memory of %d bytes", name, g.MemoryBytes())
			}
		}
		for _, e := range book.Entries {
			book.Lines(e.GPU, e.CUDNN)
		}
		if err := book.Write(path); err != nil {
			t.Fatal(err)
		}
		written, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(written, "x")
		if err != nil || !cmp.Equal(len(again.Entries), len(book.Entries)) || !cmp.Equal(len(again.Kinds), len(book.Kinds)) {
			t.Errorf("written and read again: got %+v, %v, want %+v", again, err, book)
		}
	})
}

package table

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden holds the tables, in every format, against testdata/<name>.txtar.
func golden(t *testing.T, name string, tables ...Table) {
	t.Helper()
	got := &txtar.Archive{Comment: []byte("# go test ./reports/table -update\n")}
	for _, f := range Formats() {
		var b bytes.Buffer
		if err := f.Write(&b, tables...); err != nil {
			t.Fatalf("%s: %v", f.Name(), err)
		}
		got.Files = append(got.Files, txtar.File{Name: name + f.Extension(), Data: b.Bytes()})
	}
	path := filepath.Join("testdata", name+".txtar")
	if *update {
		if err := os.WriteFile(path, txtar.Format(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(txtar.Format(want)), string(txtar.Format(got))); d != "" {
		t.Errorf("%s: got +, want -:\n%s", path, d)
	}
}

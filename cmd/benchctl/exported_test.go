package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestExportedScripts runs testdata/exported/*.txtar with the files of suite/networks/exported/testdata beside.
func TestExportedScripts(t *testing.T) {
	files, err := filepath.Abs(filepath.Join(repository, "suite/networks/exported/testdata"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:   filepath.Join("testdata", "exported"),
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"exit": exitCommand, "pictures": picturesCommand},
		Setup: func(e *testscript.Env) error { return os.CopyFS(e.WorkDir, os.DirFS(files)) },
	})
}

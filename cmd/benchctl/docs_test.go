package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommandsInDocsParse: the command lines in the templates for continuous integration and in some pages name
// commands and flags that exist, with values that the flags take.
func TestCommandsInDocsParse(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(repository, "docs", "ci", "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	docs := filepath.Join(repository, "docs")
	for _, name := range []string{"gate.md", "plan-diff.md", "scaling.md"} {
		paths = append(paths, filepath.Join(docs, name))
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tried := 0
		for line := range strings.Lines(string(text)) {
			line = strings.TrimLeft(strings.TrimSpace(line), "#- ")
			line = strings.TrimPrefix(strings.TrimPrefix(line, "run: "), "./bin/")
			args, found := strings.CutPrefix(line, "benchctl ")
			if !found {
				continue
			}
			args, _, _ = strings.Cut(args, ">>")
			args, _, _ = strings.Cut(args, "&&")
			tried++
			env := Env{Getenv: func(string) string { return "" }, Stdout: io.Discard, Stderr: io.Discard}
			c, rest, err := newRoot(env).Find(strings.Fields(args))
			if err == nil {
				err = c.ParseFlags(rest)
			}
			if err != nil || !c.HasParent() {
				t.Errorf("%s: %s: %v", filepath.Base(path), line, err)
			}
		}
		if tried < 3 {
			t.Errorf("%s: found %d commands, want at least 3", path, tried)
		}
	}
}

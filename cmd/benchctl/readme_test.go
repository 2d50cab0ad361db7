package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// documented is a command line of a page, without what a shell would do with its output.
type documented struct {
	page string
	args []string
}

// documentedCommands are the indented lines of README.md and docs that begin with benchctl.
func documentedCommands(t *testing.T) []documented {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	var all []documented
	for _, page := range append(pages, filepath.Join(repository, "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", "")) { // continued lines are one
			command, indented := strings.CutPrefix(line, "    ")
			command = strings.TrimPrefix(strings.TrimPrefix(command, "./"), "bin/")
			rest, ok := strings.CutPrefix(command, "benchctl ")
			if !indented || !ok {
				continue
			}
			for _, end := range []string{" #", " |", " >"} {
				rest, _, _ = strings.Cut(rest, end)
			}
			all = append(all, documented{filepath.Base(page), strings.Fields(rest)})
		}
	}
	return all
}

// TestDocumentedCommandsAreAccepted: every command in README.md and docs exists, takes the arguments and flags that it is given
// there, and their values. Of commands that describe runs the methods, networks, data sets and options are expanded
// into runs, as `run --dry-run` does.
func TestDocumentedCommandsAreAccepted(t *testing.T) {
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join(repository, "docs", "measurement.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, config, _ := strings.Cut(string(text), "    # sweep.yaml\n")
	config, _, _ = strings.Cut(config, "\n\n")
	if err := os.WriteFile(filepath.Join(dir, "sweep.yaml"), []byte(strings.ReplaceAll(config, "    ", "")), 0o666); err != nil {
		t.Fatal(err)
	}
	network, err := os.ReadFile(filepath.Join(repository, "suite", "networks", "exported", "testdata", "odd.pt2"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "net.pt2"), network, 0o666); err != nil {
		t.Fatal(err)
	}
	commands := documentedCommands(t)
	t.Chdir(dir)
	seen, expanded := map[string]int{}, 0
	for _, d := range commands {
		line := "benchctl " + strings.Join(d.args, " ")
		root := newRoot(Env{Getenv: func(string) string { return "" }})
		command, rest, err := root.Find(d.args)
		if err != nil || command == root {
			t.Errorf("%s: %s: there is no such command: %v", d.page, line, err)
			continue
		}
		if err := command.ParseFlags(rest); err != nil {
			t.Errorf("%s: %s: %v", d.page, line, err)
			continue
		}
		if err := command.ValidateArgs(command.Flags().Args()); err != nil {
			t.Errorf("%s: %s: %v", d.page, line, err)
			continue
		}
		seen[command.Name()]++
		args, ok := asDryRun(root, command)
		if !ok {
			continue
		}
		expanded++
		var out, said bytes.Buffer
		env := Env{Args: args, Stdout: &out, Stderr: &said, Stdin: strings.NewReader(""), Getenv: func(string) string { return "" }}
		if code := run(env); code != 0 {
			t.Errorf("%s: %s: as %v: exit code %d: %s", d.page, line, args, code, said.String())
		}
	}
	for _, name := range []string{"run", "plan", "profile", "describe", "compare", "report", "reproduce", "history",
		"devices", "update", "check"} {
		if seen[name] == 0 {
			t.Errorf("no page shows %s", name)
		}
	}
	if expanded < 15 {
		t.Errorf("%d command lines were expanded into runs, want most", expanded)
	}
}

// asDryRun is the command line of `run --dry-run` that expands the same runs; false where the command describes none, or where
// what it describes needs a GPU's library.
func asDryRun(root, command *cobra.Command) ([]string, bool) {
	switch command.Name() {
	case "run", "plan", "profile", "describe", "audit":
	default:
		return nil, false
	}
	run, _, err := root.Find([]string{"run"})
	if err != nil {
		return nil, false
	}
	args, ok := []string{"run", "--dry-run"}, true
	command.Flags().Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		switch f.Name {
		case "gpu":
			ok = false
		case "backend":
			ok = ok && value != "cuda"
		case "dry-run", "format", "out", "table", "columns", "metrics":
			return
		}
		// What is planned only, such as modules side by side, is refused by a run on the processor.
		if run.Flags().Lookup(f.Name) != nil && f.Name != "overlap" {
			args = append(args, "--"+f.Name+"="+strings.Trim(value, "[]"))
		}
	})
	return args, ok
}

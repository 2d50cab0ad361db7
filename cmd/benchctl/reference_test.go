package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/reports/table"
)

var (
	updateReference = flag.Bool("update", false, "write docs/cli.md anew")
	manPages        = flag.String("man", "", "write man pages to this folder")
)

// referencePage is the reference of all commands, generated from them.
const referencePage = "../../docs/cli.md"

// TestReference compares docs/cli.md with the commands. `make docs` writes it, and the man pages.
func TestReference(t *testing.T) {
	root := newRoot(Env{Getenv: func(string) string { return "" }, Stdout: io.Discard, Stderr: io.Discard})
	root.DisableAutoGenTag = true
	if *manPages != "" {
		if err := os.MkdirAll(*manPages, 0o777); err != nil {
			t.Fatal(err)
		}
		header := &doc.GenManHeader{Title: "BENCHCTL", Section: "1", Source: "Localbench"}
		if err := doc.GenManTree(root, header, *manPages); err != nil {
			t.Fatal(err)
		}
	}
	var page bytes.Buffer
	if err := writeReference(&page, root); err != nil {
		t.Fatal(err)
	}
	if *updateReference {
		if err := os.WriteFile(referencePage, page.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(text), page.String()); d != "" {
		t.Errorf("%s is not that of the commands; `make docs` writes it:\n%s", referencePage, d)
	}
}

// writeReference writes one Markdown page with a section for each command.
func writeReference(w io.Writer, root *cobra.Command) error {
	var page bytes.Buffer
	page.WriteString("<!-- Written by `make docs` from the commands. Edit the commands, not this page. -->\n\n# Commands\n\n")
	page.WriteString("The exit codes are at the end of the page.\n\n")
	var visit func(c *cobra.Command) error
	visit = func(c *cobra.Command) error {
		if !c.IsAvailableCommand() && c != root {
			return nil
		}
		c.DisableAutoGenTag = true
		cli.BreakHelp(c, helpColumns, table.Wrap)
		var text bytes.Buffer
		if err := doc.GenMarkdownCustom(c, &text, func(string) string { return "" }); err != nil {
			return err
		}
		section := seeAlso.ReplaceAllString(text.String(), "")
		page.WriteString(section)
		subs := slices.Clone(c.Commands())
		for _, sub := range subs {
			if sub.Name() == "completion" || sub.Name() == "help" {
				continue
			}
			if err := visit(sub); err != nil {
				return err
			}
		}
		return nil
	}
	if err := visit(root); err != nil {
		return err
	}
	page.WriteString("## Exit codes\n\n| code | meaning |\n|---:|---|\n")
	for _, m := range exitMeanings() {
		fmt.Fprintf(&page, "| %d | %s |\n", m.code, m.sentence)
	}
	_, err := w.Write(page.Bytes())
	return err
}

// seeAlso is the list of links that cobra ends a page with: here every command is on the same page.
var seeAlso = regexp.MustCompile(`(?s)### SEE ALSO\n.*`)

package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/reports/page"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/yamlfile"
)

// harmless wants a text for a terminal, a page or an error to have no characters that a terminal obeys.
func harmless(t *testing.T, what, text string) {
	t.Helper()
	for i, r := range text {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			t.Fatalf("%s: the character %U reached the output: %q", what, r, text[max(i-100, 0):min(i+100, len(text))])
		}
	}
}

// checkError wants an error to be one line of bounded length.
func checkError(t *testing.T, err error) {
	t.Helper()
	var b bytes.Buffer
	printError(&b, err)
	harmless(t, "error", b.String())
	if lines := strings.Count(b.String(), "\n"); lines > 2 || utf8.RuneCount(b.Bytes()) > 2*(printable.MaxLine+100) {
		t.Fatalf("an error of %d lines and %d bytes", lines, b.Len())
	}
}

// FuzzConfig sets flags from configuration files.
func FuzzConfig(f *testing.F) {
	f.Add([]byte("methods: [bp, auglocal]\nbatch: 64\nseeds: [5]\n"))
	f.Add([]byte("a: &a [x]\nb: *a\n"))
	f.Add([]byte("quiet: yes\n---\nbatch: {a: 1}\n"))
	f.Add([]byte("? [a]\n: b\n"))
	f.Add([]byte("fit: 1GiB\n\"\\e[31m\": |\n  x\n"))
	env := Env{Stdout: io.Discard, Stderr: io.Discard, Getenv: func(string) string { return "" }, Now: time.Now}
	plan, _, err := newRoot(env).Find([]string{"plan"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := yamlfile.Parse("f.yaml", text)
		if err != nil {
			checkError(t, err)
			return
		}
		for _, e := range entries {
			if err := cli.SetFromConfig(plan, e.Key, e.Value); err != nil {
				checkError(t, err)
			}
		}
	})
}

// FuzzJob reads jobs as a run's process does from standard input.
func FuzzJob(f *testing.F) {
	f.Add([]byte(`{"spec":{"method":"bp","network":"resnet20","dataset":"synthetic","batch":8,"options":{"overlap":"x"}},
		"out":"results"}`))
	f.Add([]byte(`{"spec":[]}`))
	f.Add([]byte(`{"out":""} {}`))
	f.Add([]byte(`{"` + strings.Repeat("\x7f", 3000) + `":1}`)) // each is four characters in an error
	f.Fuzz(func(t *testing.T, text []byte) {
		job, err := suite.ReadJob(bytes.NewReader(text))
		if err != nil {
			checkError(t, err)
		} else if job.Out == "" {
			t.Error("a job without a folder was taken")
		}
	})
}

// FuzzRecords makes tables, a comparison, a page and plots of records.
func FuzzRecords(f *testing.F) {
	f.Add([]byte(`{"schema":1,"id":"a","status":"done",
		"spec":{"method":"bp\u001b[31m","network":"<script>","dataset":"=1+1","batch":8},
		"memory":{"planned_peak_bytes":9,"arena_bytes":9},
		"time":{"step_seconds":{"median":1,"p05":1,"p95":1,"n":3}},
		"accuracy":{"epochs":[{"epoch":1,"test_top1":0.5,"lr":0.1}],"last_top1":0.5}}`))
	f.Add([]byte(`{"schema":1,"records":[{"schema":1,"id":"a","status":"failed","error":"\u009b31m\u202e","spec":{"method":"bp"}},
		{"schema":1,"id":"b","status":"oom"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		records, warnings, err := results.Parse("f.json", text)
		if err != nil {
			checkError(t, err)
			return
		}
		for _, w := range warnings {
			harmless(t, "warning", printable.Line(w.String()))
		}
		if len(records) == 0 || len(records) > 20 {
			return
		}
		tables := []table.Table{table.Summary(records), table.Eager(records)}
		c := compare.Run(records, records, compare.Defaults())
		tables = append(tables, c.Tables(true)...)
		for _, format := range table.Formats() {
			var b bytes.Buffer
			if err := format.Write(&b, tables...); err != nil {
				t.Fatalf("%s: %v", format.Name(), err)
			}
			harmless(t, format.Name(), b.String())
		}
		var b bytes.Buffer
		report, err := page.Of(records, page.Options{Title: "t", Paths: []string{"f.json"}})
		if err != nil {
			t.Fatal(err)
		}
		report.Tables = tables
		if err := page.Write(&b, report); err != nil {
			t.Fatal(err)
		}
		harmless(t, "page", strings.ReplaceAll(b.String(), "\t", ""))
	})
}

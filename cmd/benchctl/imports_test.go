package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	modulePath = "github.com/localbench/localbench"
	repository = "../.."
)

// importRule is a row of the table in ARCHITECTURE.md.
type importRule struct {
	packages, may, never []string // patterns: a name, x/* for all below x, C for cgo
}

// listed is what `go list` says of a package.
type listed struct {
	ImportPath    string
	Dir           string
	Imports, Deps []string
	GoFiles       []string
	CgoFiles      []string
}

func TestImportsFollowTheTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := parseRules(string(text))
	if err != nil {
		t.Fatal(err)
	}
	packages := goList(t)
	for _, fault := range importFaults(rules, packages) {
		t.Error(fault)
	}
	for _, p := range packages {
		for _, name := range append(slices.Clone(p.GoFiles), p.CgoFiles...) {
			path := filepath.Join(p.Dir, name)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, fault := range sourceFaults(ours(p.ImportPath), name, text) {
				t.Error(fault)
			}
		}
	}
}

func goList(t *testing.T) []listed {
	t.Helper()
	command := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,Deps,GoFiles,CgoFiles", "./...")
	command.Dir = repository
	var complaint bytes.Buffer
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, complaint.String())
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// parseRules reads the table whose head begins with "| package | may import".
func parseRules(text string) ([]importRule, error) {
	_, table, found := strings.Cut(text, "| package | may import | never reaches |\n|---|---|---|\n")
	if !found {
		return nil, fmt.Errorf("ARCHITECTURE.md: the table of imports was not found")
	}
	var rules []importRule
	names := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 {
			return nil, fmt.Errorf("ARCHITECTURE.md: got a row of %d cells, want 3: %s", len(cells), line)
		}
		var columns [3][]string
		for i, cell := range cells {
			for _, m := range names.FindAllStringSubmatch(cell, -1) {
				columns[i] = append(columns[i], m[1])
			}
		}
		if len(columns[0]) == 0 || len(columns[1]) == 0 && strings.TrimSpace(cells[1]) != "nothing" {
			return nil, fmt.Errorf("ARCHITECTURE.md: want packages and either packages or `nothing`: %s", line)
		}
		rules = append(rules, importRule{columns[0], columns[1], columns[2]})
	}
	return rules, nil
}

// ours is the name within the module; empty for packages of others.
func ours(path string) string {
	if path == "C" {
		return "C"
	}
	name, found := strings.CutPrefix(path, modulePath+"/")
	if !found {
		return ""
	}
	return name
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		below, wild := strings.CutSuffix(p, "*")
		return p == name || wild && strings.HasPrefix(name, below)
	})
}

func importFaults(rules []importRule, packages []listed) (faults []string) {
	cgo := map[string]bool{}
	for _, p := range packages {
		cgo[p.ImportPath] = len(p.CgoFiles) > 0
	}
	for _, p := range packages {
		name := ours(p.ImportPath)
		i := slices.IndexFunc(rules, func(r importRule) bool { return matches(r.packages, name) })
		if i < 0 {
			faults = append(faults, name+": not in the table")
			continue
		}
		for _, other := range p.Imports {
			if o := ours(other); o != "" && o != "C" && !matches(rules[i].may, o) {
				faults = append(faults, name+": imports "+o)
			}
		}
		for _, other := range p.Deps {
			if o := ours(other); o != "" && o != "C" && matches(rules[i].never, o) {
				faults = append(faults, name+": reaches "+o)
			}
			if cgo[other] && slices.Contains(rules[i].never, "C") {
				faults = append(faults, name+": reaches cgo by "+ours(other))
			}
		}
		if cgo[p.ImportPath] && slices.Contains(rules[i].never, "C") {
			faults = append(faults, name+": uses cgo")
		}
	}
	return faults
}

// sourceFaults holds the rules about a file's own words.
func sourceFaults(name, file string, text []byte) (faults []string) {
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, text, parser.SkipObjectResolution)
	if err != nil {
		return []string{err.Error()}
	}
	program := strings.HasPrefix(name, "cmd/") || strings.HasPrefix(name, "scripts/")
	core := name == "core" || strings.HasPrefix(name, "core/")
	fault := func(at token.Pos, what string) {
		faults = append(faults, fmt.Sprintf("%s/%s: %s", name, fset.Position(at), what))
	}
	for _, i := range parsed.Imports {
		switch path := strings.Trim(i.Path.Value, `"`); {
		case path == "C" && name != "core/engine/native":
			fault(i.Pos(), `import "C"`)
		case path == "log" && !program:
			fault(i.Pos(), "package log")
		case core && (path == "math/rand" || path == "math/rand/v2"):
			fault(i.Pos(), path)
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		from, ok := selector.X.(*ast.Ident)
		if !ok {
			return true
		}
		word := from.Name + "." + selector.Sel.Name
		switch {
		case !program && (word == "os.Getenv" || word == "os.LookupEnv" || word == "os.Exit" || strings.HasPrefix(word, "fmt.Print")),
			core && word == "time.Now":
			fault(n.Pos(), word)
		}
		return true
	})
	return faults
}

// The checker is checked with planted faults.
func TestImportCheckerFindsPlantedFaults(t *testing.T) {
	rules, err := parseRules("text\n| package | may import | never reaches |\n|---|---|---|\n" +
		"| `low`, `other` | nothing | `C` |\n| `high/*` | `low` | `other` |\n| `native` | nothing | |\n\nmore text | `x` |\n")
	if err != nil || len(rules) != 3 {
		t.Fatalf("got %v, %v, want 3 rules", rules, err)
	}
	full := func(names ...string) (out []string) {
		for _, n := range names {
			out = append(out, modulePath+"/"+n)
		}
		return append(out, "fmt")
	}
	for _, row := range []struct {
		name string
		p    listed
		want string
	}{
		{"all in order", listed{Imports: full("low"), Deps: full("low")}, ""},
		{"a package that the table forbids", listed{Imports: full("other")}, "high/x: imports other"},
		{"a package that is reached by another", listed{Imports: full("low"), Deps: full("low", "other")}, "high/x: reaches other"},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.p.ImportPath = modulePath + "/high/x"
			if got := strings.Join(importFaults(rules, []listed{row.p}), "; "); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
	native := listed{ImportPath: modulePath + "/native", CgoFiles: []string{"native.go"}}
	low := listed{ImportPath: modulePath + "/low", Deps: full("native")}
	if got := importFaults(rules, []listed{native, low}); !slices.Contains(got, "low: reaches cgo by native") {
		t.Errorf("cgo that is reached: got %q", got)
	}
	if got := importFaults(rules, []listed{{ImportPath: modulePath + "/new"}}); len(got) != 1 {
		t.Errorf("a package without a row: got %q", got)
	}
	if _, err := parseRules("no table"); err == nil {
		t.Error("no table: got no error")
	}
}

func TestSourceCheckerFindsPlantedFaults(t *testing.T) {
	for _, row := range []struct{ place, source, want string }{
		{"suite", `import "os"; func f() { os.Exit(1) }`, "os.Exit"},
		{"suite", `import "os"; var x = os.Getenv("A")`, "os.Getenv"},
		{"reports/table", `import "fmt"; func f() { fmt.Println() }`, "fmt.Println"},
		{"core/plan", `import "time"; var x = time.Now()`, "time.Now"},
		{"core", `import _ "math/rand/v2"`, "math/rand/v2"},
		{"methods", `import _ "log"`, "package log"},
		{"suite/meter", `import "C"`, `import "C"`},
		{"suite", `import ("fmt"; "io"; "time"); func f(w io.Writer) { fmt.Fprintln(w, time.Now()) }`, ""},
		{"cmd/benchctl", `import "os"; func f() { os.Exit(1) }`, ""},
		{"core/engine/native", `import "C"`, ""},
	} {
		got := sourceFaults(row.place, "x.go", []byte("package x\n"+row.source))
		if (len(got) == 0) != (row.want == "") || len(got) > 0 && !strings.HasSuffix(got[0], row.want) {
			t.Errorf("%s: %s: got %q, want %q", row.place, row.source, got, row.want)
		}
	}
}

// Command words reports words and phrases that the project's texts avoid, as file:line: phrase: advice.
//
// The list is words.txt: scope, regular expression and advice, separated by tabs. Scope "any" covers every source and text file,
// "go" all Go files and "code" Go files without tests. The paths in allowed.txt are not checked, because they are not rewritten
// yet or because they quote the list; an entry that hides nothing is reported, so that the file only shrinks.
//
// Usage: words [-all] [folder]
package main

import (
	"bufio"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

//go:embed words.txt
var wordList string

//go:embed allowed.txt
var allowedList string

// extensions are the kinds of files that are checked, besides files named Makefile.
var extensions = []string{".go", ".h", ".cc", ".cu", ".md", ".txtar", ".sh", ".py"}

// rule is one line of words.txt.
type rule struct {
	scope, advice string
	pattern       *regexp.Regexp
}

// finding is a phrase in a file.
type finding struct {
	file         string
	line         int
	text, advice string
}

func main() {
	all := flag.Bool("all", false, "check the paths in allowed.txt too")
	flag.Parse()
	root := "."
	if flag.NArg() > 0 {
		root = flag.Arg(0)
	}
	rules, err := parseRules(wordList)
	if err != nil {
		fmt.Fprintln(os.Stderr, "words:", err)
		os.Exit(2)
	}
	findings, err := check(os.DirFS(root), rules)
	if err != nil {
		fmt.Fprintln(os.Stderr, "words:", err)
		os.Exit(2)
	}
	allowed := strings.Fields(allowedList)
	if *all {
		allowed = nil
	}
	if report(os.Stdout, findings, allowed) > 0 {
		os.Exit(1)
	}
}

// parseRules reads a word list.
func parseRules(text string) ([]rule, error) {
	var rules []rule
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 3 || !slices.Contains([]string{"any", "go", "code"}, fields[0]) {
			return nil, fmt.Errorf("words.txt:%d: must be scope (any, go or code), regular expression and advice, separated by tabs", i+1)
		}
		pattern, err := regexp.Compile(fields[1])
		if err != nil {
			return nil, fmt.Errorf("words.txt:%d: %w", i+1, err)
		}
		rules = append(rules, rule{scope: fields[0], advice: fields[2], pattern: pattern})
	}
	return rules, nil
}

// check applies the rules to every source and text file of a tree, in the order of their names.
func check(tree fs.FS, rules []rule) ([]finding, error) {
	var findings []finding
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." &&
			(strings.HasPrefix(entry.Name(), ".") && name != ".github" || name == "bin" || name == "build"):
			return fs.SkipDir
		case !entry.Type().IsRegular() || entry.Name() != "Makefile" && !slices.Contains(extensions, path.Ext(name)):
			return nil
		}
		file, err := tree.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		found, err := checkFile(file, name, rules)
		findings = append(findings, found...)
		return err
	})
	return findings, err
}

// checkFile applies the rules to the lines of a file.
func checkFile(file io.Reader, name string, rules []rule) ([]finding, error) {
	var findings []finding
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<26)
	for number := 1; lines.Scan(); number++ {
		for _, r := range rules {
			if !r.covers(name) {
				continue
			}
			if text := r.pattern.FindString(lines.Text()); text != "" {
				findings = append(findings, finding{file: name, line: number, text: text, advice: r.advice})
			}
		}
	}
	return findings, lines.Err()
}

// covers reports whether a rule applies to a file.
func (r rule) covers(name string) bool {
	switch r.scope {
	case "go":
		return strings.HasSuffix(name, ".go")
	case "code":
		return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
	}
	return true
}

// report prints the findings that no allowed path hides and returns their number. An allowed path that hides nothing is noted.
func report(w io.Writer, findings []finding, allowed []string) int {
	used := map[string]bool{}
	reported := 0
	for _, f := range findings {
		hidden := slices.IndexFunc(allowed, func(p string) bool {
			return f.file == p || strings.HasPrefix(f.file, strings.TrimSuffix(p, "/")+"/")
		})
		if hidden >= 0 {
			used[allowed[hidden]] = true
			continue
		}
		reported++
		fmt.Fprintf(w, "%s:%d: %q: %s\n", f.file, f.line, f.text, f.advice)
	}
	for _, p := range allowed {
		if !used[p] {
			fmt.Fprintf(w, "scripts/words/allowed.txt: %s has no findings left: remove the line\n", p)
		}
	}
	return reported
}

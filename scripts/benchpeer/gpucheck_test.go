package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGPUCheckNamesTests: every test that scripts/gpu-check.sh names is one of the packages whose test binaries it carries. In a
// pattern such as "TestSameBits|TestOwn" one that was renamed would be left out without a word.
func TestGPUCheckNamesTests(t *testing.T) {
	script, err := os.ReadFile("../gpu-check.sh")
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	for _, folder := range []string{"core/engine", "methods"} {
		files, err := filepath.Glob(filepath.Join("..", "..", folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(text, -1) {
				declared = append(declared, string(f[1]))
			}
		}
	}
	named := regexp.MustCompile(`\bTest[A-Z]\w*`).FindAllString(string(script), -1)
	if len(named) < 10 {
		t.Errorf("gpu-check.sh: found %d names of tests, want at least 10: %q", len(named), named)
	}
	for _, name := range named {
		found := false
		for _, d := range declared {
			found = found || strings.HasPrefix(d, name)
		}
		if !found {
			t.Errorf("gpu-check.sh: names %s: no test has a name that begins so", name)
		}
	}
}

package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

// TestPlantedWords plants each kind of finding and expects its place, and nothing from a clean file.
func TestPlantedWords(t *testing.T) {
	rules, err := parseRules("# comment\n" +
		"any\t\\bbad word\\b\tgood word\n" +
		"go\t\\blane\\b\tstream\n" +
		"code\tErrorf\\(.*\\bwant\\b\tmust be\n")
	if err != nil {
		t.Fatal(err)
	}
	tree := fstest.MapFS{
		"README.md":        {Data: []byte("first line\na bad word here\n")},
		"clean.go":         {Data: []byte("// a good word; bad words are another word\n")},
		"data.bin":         {Data: []byte("bad word\n")},
		"bin/built.go":     {Data: []byte("// bad word\n")},
		"a/Makefile":       {Data: []byte("# bad word\n")},
		"a/x.go":           {Data: []byte("// a lane\nreturn fmt.Errorf(\"got 1, want 2\")\n")},
		"a/x.cu":           {Data: []byte("// lane of a warp\n")},
		"a/x_test.go":      {Data: []byte("t.Errorf(\"got 1, want 2\")\n")},
		"later/old.go":     {Data: []byte("// bad word\n")},
		"later/old.txtar":  {Data: []byte("stdout 'bad word'\n")},
		"laterone/new.go":  {Data: []byte("// bad word\n")},
		".hidden/other.go": {Data: []byte("// bad word\n")},
	}
	findings, err := check(tree, rules)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	reported := report(&b, findings, []string{"later/", "done.go"})
	want := `README.md:2: "bad word": good word
a/Makefile:1: "bad word": good word
a/x.go:1: "lane": stream
a/x.go:2: "Errorf(\"got 1, want": must be
laterone/new.go:1: "bad word": good word
scripts/words/allowed.txt: done.go has no findings left: remove the line
`
	if b.String() != want || reported != 5 {
		t.Errorf("reported %d:\n%s\nwant 5:\n%s", reported, b.String(), want)
	}
}

// TestWordList reads the real list, which must find the words in CONTRIBUTING.md's table of words, and rejects damaged lists.
func TestWordList(t *testing.T) {
	rules, err := parseRules(wordList)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"norm, be" + "hind an activation", "is made" + " again", "held " + "against bp",
		"the plan" + " book", "a device that is" + " none", "scratch" + " memory", "takes over" + " the storage"} {
		found, err := checkFile(strings.NewReader("fine\n"+text+"\n"), "x.go", rules)
		if err != nil || len(found) != 1 || found[0].line != 2 {
			t.Errorf("%q: got %v, %v, want one finding in line 2", text, found, err)
		}
	}
	for _, list := range []string{"any\tword\n", "every\tword\tadvice\n", "any\t(\tadvice\n"} {
		if _, err := parseRules(list); err == nil {
			t.Errorf("list %q: got no error", list)
		}
	}
}

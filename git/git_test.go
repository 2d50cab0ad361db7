package git

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// repository makes a repository with a commit for each text of the file "file" and makes it the current folder. It returns
// the hashes as `git rev-parse` prints them.
func repository(t *testing.T, texts ...string) (hashes []string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	t.Chdir(t.TempDir())
	for _, name := range []string{"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"} {
		t.Setenv(name, os.DevNull)
	}
	command := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@b"}, args...)...).Output()
		if err != nil {
			t.Fatalf("git %q: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	command("init", "--quiet")
	for i, text := range texts {
		if err := os.WriteFile("file", []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		command("add", ".")
		command("commit", "--quiet", "-m", "subject "+string(rune('a'+i))+"\n\nA body.")
		hashes = append(hashes, command("rev-parse", "HEAD"))
	}
	return hashes
}

// The log of a range has its commits from the oldest to the newest, without the begin of the range.
func TestLog(t *testing.T) {
	hashes := repository(t, "1", "2", "3")
	want := []Commit{{hashes[0], "subject a"}, {hashes[1], "subject b"}, {hashes[2], "subject c"}}
	for revisions, want := range map[string][]Commit{"HEAD": want, hashes[0] + "..HEAD": want[1:], "HEAD..HEAD": nil} {
		if got, err := Log("", revisions); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", revisions, got, err, want)
		}
	}
	if got, err := Log("", "HEAD", "--", "other"); err != nil || len(got) != 0 {
		t.Errorf("of a file that is in no commit: got %v, %v, want none", got, err)
	}
	if here, err := os.Getwd(); err != nil {
		t.Fatal(err)
	} else if got, err := Log(here, "HEAD"); err != nil || len(got) != 3 {
		t.Errorf("in a named folder: got %v, %v, want 3 commits", got, err)
	}
}

// Revisions that do not exist are errors of one line, and one that looks like an option is not taken for one.
func TestUnknownRevisions(t *testing.T) {
	repository(t, "1")
	for _, revision := range []string{"nothing", "--all", "-p", ""} {
		if hash, err := Resolve(revision); err == nil {
			t.Errorf("%q: got %q, want an error", revision, hash)
		}
		_, err := Log("", revision)
		if revision != "" && (err == nil || !strings.HasPrefix(err.Error(), "git log: ") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: got %v, want an error of one line", revision, err)
		}
	}
}

// A file of a revision is what was committed, not what lies in the folder.
func TestShow(t *testing.T) {
	hashes := repository(t, "first\n", "second\n")
	for name, want := range map[string]string{hashes[0] + ":file": "first\n", "HEAD:file": "second\n", "HEAD~1:./file": "first\n"} {
		if got, err := Show(name); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	if got, err := Show("HEAD:other"); err == nil {
		t.Errorf("a file that is not in the commit: got %q", got)
	}
	if hash, err := Resolve("HEAD~1"); err != nil || hash != hashes[0] || Short(hash) != hashes[0][:10] {
		t.Errorf("got %s, %v, want %s", hash, err, hashes[0])
	}
}

// makefile builds a program that prints the file of its commit; it fails for "bad".
const makefile = "build:\n\t@test \"$$(cat file)\" != bad || { echo first; echo 'file is bad' >&2; exit 3; }\n" +
	"\t@mkdir -p bin && printf '#!/bin/sh\\necho %s' \"$$(cat file)\" > bin/benchctl && chmod +x bin/benchctl\n"

// A program is built of the sources of its commit, once, and the worktree is removed. A commit that does not build is an
// error with the end of what make prints.
func TestProgramOfACommit(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is not installed")
	}
	hashes := repository(t, "one")
	if err := os.WriteFile("Makefile", []byte(makefile), 0o666); err != nil {
		t.Fatal(err)
	}
	commit := func(text string) string {
		if err := os.WriteFile("file", []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"add", "."}, {"-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "m"}} {
			if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
				t.Fatalf("git %q: %v: %s", args, err, out)
			}
		}
		hash, err := Resolve("HEAD")
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	two, bad, folder, said := commit("two"), commit("bad"), t.TempDir(), 0
	b := Build{Say: func(string) { said++ }}
	for range 2 {
		program, err := b.FindProgram(context.Background(), two, folder)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(program).Output(); err != nil || string(out) != "two\n" {
			t.Errorf("the program prints %q, %v, want two", out, err)
		}
	}
	if said != 1 {
		t.Errorf("built %d times, want once", said)
	}
	for revision, want := range map[string]string{bad: "file is bad", hashes[0]: "can't be built", "nothing": "neither a file nor"} {
		if program, err := b.FindProgram(context.Background(), revision, folder); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %s, %v, want %q", revision, program, err, want)
		}
	}
	if trees, err := Run("", "worktree", "list"); err != nil || strings.Count(trees, "\n") != 1 {
		t.Errorf("worktrees left: %s, %v", trees, err)
	}
}

// A file of that name goes before a revision, and must be executable.
func TestProgramFile(t *testing.T) {
	repository(t, "1")
	b := Build{Say: func(line string) { t.Error(line) }}
	if _, err := b.FindProgram(context.Background(), "file", t.TempDir()); err == nil || err.Error() != "file is not executable" {
		t.Errorf("got %v", err)
	}
	if err := os.Chmod("file", 0o755); err != nil {
		t.Fatal(err)
	}
	want, err := filepath.Abs("file")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.FindProgram(context.Background(), "file", t.TempDir()); err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

// A program that cannot be copied whole is not there: it would be taken for one that was built.
func TestMoveFile(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.Mkdir(from, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, []byte("old"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := moveFile(from, to); err == nil { // neither renamed nor read: it is a folder
		t.Error("a folder was moved in place of a file")
	}
	if text, err := os.ReadFile(to); err != nil || string(text) != "old" {
		t.Errorf("the old file is now %q, %v", text, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("got %v, %v, want no leftovers", entries, err)
	}
	if err := moveFile(filepath.Join(dir, "nothing"), to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want %v", err, os.ErrNotExist)
	}
}

func TestLastLines(t *testing.T) {
	for _, c := range []struct {
		text  string
		count int
		want  string
	}{{"a\nb\nc\n", 2, "b\nc"}, {"a\n", 3, "a"}, {"", 3, ""}, {"\n\na\n\n", 1, "a"}} {
		if got := LastLines(c.text, c.count); got != c.want {
			t.Errorf("%q, %d: got %q, want %q", c.text, c.count, got, c.want)
		}
	}
}

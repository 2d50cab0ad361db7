package files_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/localbench/localbench/files"
)

// TestRead reads files around the limit, links, and what is no regular file. None of the refused paths
// is read from: a pipe without a writer would block, /dev/zero would never end.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, size := range map[string]int{"empty": 0, "small": 99, "full": 100, "large": 101} {
		if err := os.WriteFile(at(name), bytes.Repeat([]byte{'x'}, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"link": "full", "link to a pipe": "pipe"} {
		if err := os.Symlink(target, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path string
		size int
		err  string // part of it; empty: the file is read
	}{
		{at("empty"), 0, ""},
		{at("small"), 99, ""},
		{at("full"), 100, ""},
		{at("link"), 100, ""},
		{at("large"), 0, "large: has 101 bytes or more; at most 100 B are read here"},
		{at("pipe"), 0, "pipe: is a pipe; only regular files are read"},
		{at("link to a pipe"), 0, "is a pipe"},
		{"/dev/zero", 0, "/dev/zero: is a device"},
		{dir, 0, "is a directory"},
		{"/proc/self/status", 0, "at most 100 B"}, // regular, says that it has 0 bytes, and has more
	} {
		content, err := files.Read(c.path, 100)
		switch {
		case c.err == "" && (err != nil || len(content) != c.size):
			t.Errorf("%s: got %d bytes, %v, want %d", c.path, len(content), err, c.size)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: got %v, want an error with %q", c.path, err, c.err)
		}
	}
	if _, err := files.Read(at("absent"), 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: got %v, want fs.ErrNotExist", err)
	}
	var large *files.TooLargeError
	if _, _, err := files.Open(at("large"), 100); !errors.As(err, &large) || large.Bytes != 101 || large.Limit != 100 ||
		large.Hint() == "" {
		t.Errorf("Open: got %v, want a *TooLargeError of 101 and 100 bytes", err)
	}
	f, size, err := files.Open(at("full"), 100)
	if err != nil || size != 100 {
		t.Fatalf("Open: got %d bytes, %v, want 100", size, err)
	}
	f.Close()
}

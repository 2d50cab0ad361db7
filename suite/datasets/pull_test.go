package datasets_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/localbench/localbench/suite/datasets"
)

func tarball(t *testing.T, name string) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: 5}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	zipped.Close()
	return out.Bytes()
}

// TestPull serves good and bad archives; a bad one leaves what was there.
func TestPull(t *testing.T) {
	good, outside := tarball(t, "set/a.bin"), tarball(t, "../a.bin")
	for _, c := range []struct {
		name   string
		body   []byte
		status int
		change func(*datasets.Download)
		want   string // part of the error; empty: it is pulled
	}{
		{name: "sound", body: good},
		{name: "another checksum", body: good, change: func(a *datasets.Download) { a.MD5 = strings.Repeat("0", 32) },
			want: "expected " + strings.Repeat("0", 32)},
		{name: "too long", body: append(good[:len(good):len(good)], 0), change: func(a *datasets.Download) { a.Bytes-- },
			want: "or more were received, expected"},
		{name: "too short", body: good, change: func(a *datasets.Download) { a.Bytes++ }, want: "or more were received, expected"},
		{name: "not there", body: good, status: http.StatusNotFound, want: "404"},
		{name: "no archive", body: []byte("this is no archive"), want: "gzip"},
		{name: "a path outside", body: outside, want: "leads out of it"},
		{name: "another file", body: tarball(t, "set/b.bin"), want: "the archive has no file set/a.bin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.status != 0 {
					w.WriteHeader(c.status)
				}
				w.Write(c.body)
			}))
			defer server.Close()
			dir := t.TempDir()
			old := filepath.Join(dir, "set", "a.bin")
			if err := os.MkdirAll(filepath.Dir(old), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(old, []byte("old"), 0o666); err != nil {
				t.Fatal(err)
			}
			d := datasets.Download{URL: server.URL, Bytes: int64(len(c.body)), MD5: fmt.Sprintf("%x", md5.Sum(c.body))}
			if c.change != nil {
				c.change(&d)
			}
			err := datasets.Entry{Archive: &datasets.Archive{Downloads: []datasets.Download{d}, Folder: "set",
				Files: []datasets.File{{Name: "a.bin", Bytes: 5}}}}.Pull(context.Background(), dir, nil)
			content, _ := os.ReadFile(old)
			for _, folder := range []string{dir, filepath.Dir(old)} {
				if entries, _ := os.ReadDir(folder); len(entries) != 1 {
					t.Errorf("%s: got %v, want one entry", folder, entries)
				}
			}
			if c.want == "" {
				if err != nil || string(content) != "hello" {
					t.Errorf("got %q, %v", content, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || string(content) != "old" {
				t.Errorf("got %v and %q, want an error with %q and the old file", err, content, c.want)
			}
		})
	}
}

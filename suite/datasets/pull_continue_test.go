package datasets

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// setOf is a set of one file, train.bin, that a server publishes with that content.
func setOf(url, content string) Entry {
	d := Download{URL: url, Bytes: int64(len(content)), MD5: fmt.Sprintf("%x", md5.Sum([]byte(content))), As: "train.bin"}
	return Entry{Card: Card{Name: "test"}, Archive: &Archive{Downloads: []Download{d}, Folder: "set",
		Files: []File{{"train.bin", d.Bytes}}}}
}

// write makes files below a folder.
func write(t *testing.T, dir string, contents map[string]string) {
	t.Helper()
	for name, content := range contents {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// contents are the files below a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestPullLeavesOthersFiles: a pull replaces its own file and removes what killed pulls have left, and nothing else.
func TestPullLeavesOthersFiles(t *testing.T) {
	const content = "the published content"
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		io.WriteString(w, content)
	}))
	defer server.Close()
	dir := t.TempDir()
	write(t, dir, map[string]string{"set/train.bin": "old", "set/extra_32x32.mat": "the user's", "set/notes/a.txt": "the user's",
		".pull-1234567/half": "of a killed pull", "set/.pull/0.part": "", ".pull-mine/kept": "the user's", "other/b": "the user's"})
	want := map[string]string{"set/train.bin": content, "set/extra_32x32.mat": "the user's", "set/notes/a.txt": "the user's",
		".pull-mine/kept": "the user's", "other/b": "the user's"}
	for range 2 { // the second one finds that the file is sound
		if err := setOf(server.URL, content).Pull(t.Context(), dir, nil); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, dir); !maps.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if asked != 1 {
		t.Errorf("the file was downloaded %d times, want once", asked)
	}
}

// TestPullContinues cuts a download off in the middle. The next pull asks for the rest alone; where the server does not
// give it, or what was there is damaged, it gets the file whole.
func TestPullContinues(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	const half = 5000
	for _, c := range []struct {
		name   string
		ranges bool // the server continues files
		damage bool // the half that was received changes between the pulls
		asked  []string
	}{
		{"the rest", true, false, []string{"", "bytes=5000-"}},
		{"no ranges", false, false, []string{"", "bytes=5000-", ""}},
		{"damaged", true, true, []string{"", "bytes=5000-", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Header.Get("Range"))
				switch {
				case len(asked) == 1:
					w.Header().Set("Content-Length", fmt.Sprint(len(content)))
					io.WriteString(w, content[:half])
					w.(http.Flusher).Flush()
					panic(http.ErrAbortHandler) // cuts the connection
				case c.ranges:
					http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
				default:
					io.WriteString(w, content)
				}
			}))
			defer server.Close()
			dir := t.TempDir()
			write(t, dir, map[string]string{"set/train.bin": "old"})
			set := setOf(server.URL, content)
			err := set.Pull(t.Context(), dir, nil)
			part := filepath.Join(dir, "set", workFolder, "0.part")
			if got := contents(t, dir); err == nil || got["set/train.bin"] != "old" || got["set/.pull/0.part"] != content[:half] {
				t.Fatalf("cut off: got %v and %d bytes, want an error, the old file and the first half", err, len(got["set/.pull/0.part"]))
			}
			if c.damage {
				if err := os.WriteFile(part, []byte(strings.Repeat("x", half)), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			received := int64(0)
			if err := set.Pull(t.Context(), dir, func(n int64) { received = n }); err != nil {
				t.Fatal(err)
			}
			if got := contents(t, dir); !maps.Equal(got, map[string]string{"set/train.bin": content}) {
				t.Errorf("got the files %q", slices.Sorted(maps.Keys(got)))
			}
			if !slices.Equal(asked, c.asked) || received != int64(len(content)) {
				t.Errorf("got the requests %q and %d bytes, want %q and %d", asked, received, c.asked, len(content))
			}
		})
	}
}

// TestPullTwice: a set that another process is downloading is left to it.
func TestPullTwice(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockFolder(filepath.Join(dir, "set", workFolder))
	if err != nil {
		t.Fatal(err)
	}
	set := setOf("http://localhost:0", "content")
	if err := set.Pull(t.Context(), dir, nil); err == nil ||
		!strings.Contains(err.Error(), "another process is downloading this set") {
		t.Errorf("got %v", err)
	}
	lock.Close()
	if err := set.Pull(t.Context(), dir, nil); err == nil || strings.Contains(err.Error(), "another process") {
		t.Errorf("after it has ended: got %v, want an error of the connection", err)
	}
}

// silent is a server that answers, sends the first bytes, and then nothing.
type silent struct{ first string }

func (s silent) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: &silentBody{strings.NewReader(s.first),
		r.Context()}}, nil
}

type silentBody struct {
	first *strings.Reader
	ctx   context.Context
}

func (b *silentBody) Read(to []byte) (int, error) {
	if b.first.Len() > 0 {
		return b.first.Read(to)
	}
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func (b *silentBody) Close() error { return nil }

// TestPullTimesOut: a server that sends nothing for a minute ends the pull; what it has sent stays for the next one.
func TestPullTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, start := t.TempDir(), time.Now()
		get := newDownloader(nil)
		get.client = &http.Client{Transport: silent{"cont"}}
		err := setOf("http://server.test/train.bin", "content").pull(t.Context(), get, dir)
		if err == nil || !strings.Contains(err.Error(), "the server sent nothing for 1m0s") || time.Since(start) != stallTimeout {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		if got := contents(t, dir)["set/.pull/0.part"]; got != "cont" {
			t.Errorf("got %q left, want what was received", got)
		}
	})
}

// tarballOf is a tar file with one file of zeros.
func tarballOf(t testing.TB, name string, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(size)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzUnpack unpacks archives: whatever is in them, nothing but the set's own file appears, and none outside
// of the folder.
func FuzzUnpack(f *testing.F) {
	f.Add(tarballOf(f, "set/a.bin", 5))
	f.Add(tarballOf(f, "../set/a.bin", 5))
	f.Add(tarballOf(f, "set/../../a.bin", 5))
	root := f.TempDir()
	to := filepath.Join(root, "to")
	if err := os.Mkdir(to, 0o777); err != nil {
		f.Fatal(err)
	}
	a := Archive{Folder: "set", Files: []File{{"a.bin", 5}}}
	f.Fuzz(func(t *testing.T, content []byte) {
		// The fuzzer changes the tar file; gzip would hide it from it.
		if err := a.unpackTar(strings.NewReader(string(content)), to); err == nil {
			if status, err := os.Stat(filepath.Join(to, "a.bin")); err != nil || status.Size() != 5 {
				t.Errorf("got %v, want a file of 5 bytes", err)
			}
		}
		for _, folder := range []string{root, to} {
			entries, err := os.ReadDir(folder)
			if err != nil || len(entries) > 1 || len(entries) == 1 && folder == to && entries[0].Name() != "a.bin" {
				t.Fatalf("%s: got %v, %v", folder, entries, err)
			}
		}
		_ = os.Remove(filepath.Join(to, "a.bin"))
	})
}

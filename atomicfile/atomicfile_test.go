package atomicfile

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain is also the process that is killed while it writes: with an argument it writes half of a file and waits.
func TestMain(m *testing.M) {
	if path := os.Getenv("ATOMICFILE_HALF"); path != "" {
		f, err := Create(path, 0o666)
		if err != nil {
			panic(err)
		}
		if _, err := f.WriteString("half"); err != nil {
			panic(err)
		}
		os.Stdout.WriteString("ready\n")
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writer starts a process that has written half of a file.
func writer(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "ATOMICFILE_HALF="+path)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = c.Process.Kill(); _ = c.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	return c
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// The temporary file of a process that was killed is removed, that of one that lives is not, nor a file of somebody else.
func TestRemoveAbandoned(t *testing.T) {
	dir := t.TempDir()
	others := []string{".config.json", ".json1234567890123", ".notes.v1234567890123.txt", "run.json1234567890123", ".run.json123"}
	for _, name := range others {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	alive := writer(t, filepath.Join(dir, "alive.state.safetensors"))
	killed := writer(t, filepath.Join(dir, "killed.json"))
	if removed, err := RemoveAbandoned(dir); err != nil || len(removed) > 0 {
		t.Errorf("both alive: removed %v, %v", removed, err)
	}
	if err := killed.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	removed, err := RemoveAbandoned(dir)
	if err != nil || len(removed) != 1 || !strings.HasPrefix(removed[0], ".killed.json") {
		t.Errorf("got %v, %v, want the file of the process that was killed", removed, err)
	}
	left := names(t, dir)
	if i := slices.IndexFunc(left, func(n string) bool { return strings.HasPrefix(n, ".alive.state.safetensors") }); i < 0 ||
		len(left) != len(others)+1 {
		t.Errorf("got %v, want the others and the file of the process that lives", left)
	}
	_ = alive.Process.Kill()
}

func TestRemoveAbandonedWithoutAFolder(t *testing.T) {
	if removed, err := RemoveAbandoned(filepath.Join(t.TempDir(), "none")); removed != nil || err != nil {
		t.Errorf("got %v, %v", removed, err)
	}
}

// A file that is not complete costs nothing of the old one, and nothing is left beside it.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.json")
	if err := WriteBytes(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := Write(path, 0o644, func(w io.Writer) error {
		_, _ = w.Write([]byte("ne"))
		return syscall.ENOSPC
	})
	var failed *Error
	if !errors.As(err, &failed) || failed.Path != path || !errors.Is(err, syscall.ENOSPC) ||
		err.Error() != path+" was not written: no space left on device" {
		t.Errorf("got %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "old" {
		t.Errorf("got %q, want the old content", text)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("got %v, want one file", got)
	}
	err = WriteBytes(filepath.Join(path, "below"), nil, 0o644)
	if !errors.As(err, &failed) || strings.Contains(strings.TrimPrefix(err.Error(), filepath.Join(path, "below")), dir) {
		t.Errorf("got %v, want an error that names the file and no temporary one", err)
	}
}

// Commit with a previous name keeps one generation.
func TestCommitKeepsThePreviousFile(t *testing.T) {
	dir := t.TempDir()
	path, previous := filepath.Join(dir, "state"), filepath.Join(dir, "previous")
	for _, text := range []string{"1", "2", "3"} {
		f, err := Create(path, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(previous); err != nil {
			t.Fatal(err)
		}
		f.Discard()
	}
	a, _ := os.ReadFile(path)
	b, _ := os.ReadFile(previous)
	if string(a) != "3" || string(b) != "2" || len(names(t, dir)) != 2 {
		t.Errorf("got %q and before it %q in %v, want 3 and 2", a, b, names(t, dir))
	}
}

func TestCheckRoom(t *testing.T) {
	dir := t.TempDir()
	if err := CheckRoom(filepath.Join(dir, "x"), 1<<20); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("got leftovers %v", got)
	}
	var failed *Error
	if err := CheckRoom(filepath.Join(dir, "none", "x"), 1); !errors.As(err, &failed) {
		t.Errorf("got %v, want an *Error", err)
	}
	// More than any file system has, if it can reserve at all.
	if err := CheckRoom(filepath.Join(dir, "x"), 1<<60); err != nil && !errors.As(err, &failed) {
		t.Errorf("got %v, want an *Error", err)
	} else if err == nil {
		t.Log("this file system does not reserve space: nothing was refused")
	}
}

// A symbolic link stays one, and a pipe is written to.
func TestWriteThrough(t *testing.T) {
	dir := t.TempDir()
	hello := func(w io.Writer) error {
		_, err := io.WriteString(w, "hello")
		return err
	}
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := WriteThrough(link, 0o666, hello); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	text, readErr := os.ReadFile(target)
	if err != nil || readErr != nil || info.Mode()&os.ModeSymlink == 0 || string(text) != "hello" {
		t.Errorf("got %v, %v, %v and %q in the target, want a link and hello", info, err, readErr, text)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		text, _ := os.ReadFile(pipe)
		read <- string(text)
	}()
	if err := WriteThrough(pipe, 0o666, hello); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got != "hello" {
		t.Errorf("got %q from the pipe, want hello", got)
	}
	var failed *Error
	if err := WriteThrough("/dev/full", 0o666, hello); !errors.As(err, &failed) {
		t.Errorf("got %v from /dev/full, want an *Error", err)
	}
	if err := MakeFolder(filepath.Join(target, "below")); !errors.As(err, &failed) {
		t.Errorf("got %v for a folder below a file, want an *Error", err)
	}
}

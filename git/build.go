package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/localbench/localbench/printable"
)

// Build builds benchctl of commits.
type Build struct {
	Flags string            // GOFLAGS of the user
	Say   func(line string) // is told what takes a while
}

// FindProgram is the path of a benchctl program: the file of that name, or one built of a git revision in a worktree that is
// removed afterwards. The program goes into the folder.
func (b Build) FindProgram(ctx context.Context, name, folder string) (string, error) {
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		if info.Mode()&0o111 == 0 {
			return "", fmt.Errorf("%s is not executable", name)
		}
		return filepath.Abs(name)
	}
	commit, err := Resolve(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither a file nor a git revision here", printable.Quote(name))
	}
	return b.Program(ctx, commit, folder)
}

// Program builds benchctl of a commit with that commit's Makefile.
func (b Build) Program(ctx context.Context, commit, folder string) (string, error) {
	program := filepath.Join(folder, Short(commit), "benchctl")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	tree := filepath.Join(folder, "worktree-"+Short(commit))
	if _, err := Run("", "worktree", "add", "--quiet", "--detach", tree, commit); err != nil {
		return "", err
	}
	defer func() { _, _ = Run("", "worktree", "remove", "--force", tree) }()
	b.Say("building benchctl of commit " + Short(commit))
	// Without the paths of this machine in the binary Go's build cache serves every worktree.
	build := exec.CommandContext(ctx, "make", "--directory", tree, "build")
	build.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(b.Flags+" -trimpath"))
	text, err := build.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("commit %s can't be built: %w: %s", Short(commit), err, printable.Line(LastLines(string(text), 3)))
	}
	if err := os.MkdirAll(filepath.Dir(program), 0o777); err != nil {
		return "", err
	}
	return program, moveFile(filepath.Join(tree, "bin", "benchctl"), program)
}

// LastLines are the last lines of a text.
func LastLines(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}

// moveFile renames a program, or copies it where the folders are of different file systems.
func moveFile(from, to string) error {
	if os.Rename(from, to) == nil {
		return nil
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	part := to + ".part" // a program that is cut off must not be found as built
	target, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o777)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	if err = errors.Join(err, target.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return os.Rename(part, to)
}

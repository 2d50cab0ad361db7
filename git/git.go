// Package git reads the history of the repository in a folder with the git command, and builds programs of its commits.
package git

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/localbench/localbench/printable"
)

// Commit is one commit of a history.
type Commit struct{ Hash, Subject string }

// Log lists the commits of a range, the oldest first. extra are further arguments, such as "--" and the paths of interest.
func Log(dir, revisions string, extra ...string) (commits []Commit, err error) {
	text, err := Run(dir, append([]string{"log", "--topo-order", "--reverse", "--format=%H%x09%s", "--end-of-options", revisions},
		extra...)...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		hash, subject, _ := strings.Cut(strings.TrimSpace(line), "\t")
		commits = append(commits, Commit{hash, subject})
	}
	return commits, nil
}

// Run runs git in a folder and returns what it prints.
func Run(dir string, args ...string) (string, error) {
	c := exec.Command("git", args...)
	c.Dir = dir
	out, err := c.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return "", fmt.Errorf("git %s: %s", args[0], printable.Line(string(failed.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("git: %w", err)
	}
	return string(out), nil
}

// Short is the beginning of a hash.
func Short(hash string) string { return hash[:min(len(hash), 10)] }

// Resolve is the hash of the commit that a revision names, in the current folder.
func Resolve(revision string) (string, error) {
	hash, err := Run("", "rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
	return strings.TrimSpace(hash), err
}

// Show is a file of a revision, which is written revision:path.
func Show(name string) ([]byte, error) {
	text, err := Run("", "show", "--end-of-options", name)
	return []byte(text), err
}

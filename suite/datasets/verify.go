package datasets

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Present names the sets whose folder lies in a data folder; the first of all where none does, so that
// its absence is the error.
func Present(dir string) (names []string) {
	for _, e := range List() {
		if e.Archive == nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, e.Archive.Folder)); err == nil {
			names = append(names, e.Name)
		}
	}
	if len(names) == 0 {
		names = []string{List()[0].Name}
	}
	return names
}

// Verify reads one set to the end and says in a line what it found.
func Verify(ctx context.Context, name, dir string) (string, error) {
	entry, err := Find(name)
	if err != nil {
		return "", err
	}
	set, err := entry.Open(dir, Options{})
	if err != nil {
		return "", err
	}
	if err := set.Verify(ctx); err != nil {
		return "", err
	}
	where := "generated"
	switch {
	case entry.Folder:
		where = strings.TrimPrefix(name, FolderPrefix)
	case entry.Archive != nil:
		where = filepath.Join(dir, entry.Archive.Folder)
	}
	return fmt.Sprintf("%s: %d training and %d test samples are sound (%s)", name, set.Train.N, set.Test.N, where), nil
}

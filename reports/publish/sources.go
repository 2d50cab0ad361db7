package publish

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/localbench/localbench/results"
)

// Sources reads the records of folders, files and collections, with their paths relative to the folder of the page. Damaged
// records are skipped with a warning.
func Sources(pageFile string, paths []string) (all []Source, warnings []results.Warning, err error) {
	base, err := filepath.Abs(filepath.Dir(pageFile))
	if err != nil {
		return nil, nil, fmt.Errorf("page: %w", err)
	}
	for _, p := range paths {
		found, skipped, err := results.ReadAny(p, results.Slim)
		if err != nil {
			return nil, nil, err
		}
		warnings = append(warnings, skipped...)
		stat, err := os.Stat(p)
		if err != nil {
			return nil, nil, fmt.Errorf("records: %w", err)
		}
		for _, r := range found {
			file := p
			if stat.IsDir() {
				file = results.Path(p, r.ID)
			}
			absolute, err := filepath.Abs(file)
			if err != nil {
				return nil, nil, fmt.Errorf("records: %w", err)
			}
			relative, err := filepath.Rel(base, absolute)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: has no path relative to the page: %w", file, err)
			}
			all = append(all, Source{Record: r, Path: filepath.ToSlash(relative)})
		}
	}
	return all, warnings, nil
}

// Package baseline finds and reads baselines: files of records that are kept in git and compared with. One in Dir is known by
// its name; the name Planned, or Planned with a GPU's name, stands for planned memory of a built-in list of runs.
package baseline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/results"
)

// Dir is where baselines lie, under version control.
const Dir = "results/baselines"

// Planned is the name of the baseline of planned memory of every network under every method. Followed by a
// dash and a GPU's name, as in memory-h100, it is planned for that GPU.
const Planned = "memory"

// GPU returns the GPU that a baseline of the built-in grid is planned for, empty for BackendNull; false for a
// baseline of another name.
func GPU(path string) (gpu string, ok bool) {
	name, ok := Name(path)
	if !ok || name == Planned {
		return "", ok
	}
	gpu, ok = strings.CutPrefix(name, Planned+"-")
	return gpu, ok && gpu != ""
}

// Name is the NAME that stands for a file; false for one that is not in results/baselines.
func Name(path string) (string, bool) {
	return strings.TrimSuffix(filepath.Base(path), ".json"), filepath.Dir(path) == Dir
}

// File is the file of a baseline: the path, or NAME below results/baselines.
func File(name string) string {
	if strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".json") {
		return name
	}
	return filepath.Join(Dir, name+".json")
}

// Path is the file or folder of a baseline: a path, or a name below
// results/baselines.
func Path(name string) string {
	if _, err := os.Stat(name); err == nil || strings.ContainsRune(name, os.PathSeparator) {
		return name
	}
	return filepath.Join(Dir, strings.TrimSuffix(name, ".json")+".json")
}

// UnreadableError says that a baseline or a record is there and cannot be used.
type UnreadableError struct {
	Err  error
	Next string // what to do; may be empty
}

// Unwrap leads to the cause.
func (e *UnreadableError) Unwrap() error { return e.Err }

// Error is that of the cause.
func (e *UnreadableError) Error() string { return e.Err.Error() }

// Hint says what to do.
func (e *UnreadableError) Hint() string { return e.Next }

// NoneError says that there is nothing to compare with.
type NoneError struct{ Text string }

// Error says why.
func (e *NoneError) Error() string { return "no baseline: " + e.Text }

// Hint names the command that makes a baseline.
func (e *NoneError) Hint() string { return "benchctl baseline update NAME --from FOLDER makes one" }

// MissingError is the error of a baseline whose file is not there; the hint names the command that writes it.
type MissingError struct {
	Path string
	Err  error // of the file system; may be nil
}

// Error names the file.
func (e *MissingError) Error() string { return "no baseline: there is no file " + e.Path }

// Unwrap returns the error of the file system.
func (e *MissingError) Unwrap() error { return e.Err }

// Hint names the command that writes the file.
func (e *MissingError) Hint() string {
	name, ok := Name(e.Path)
	if !ok {
		name = e.Path
	}
	if _, builtIn := GPU(e.Path); builtIn {
		return fmt.Sprintf("`benchctl baseline update %s` writes it", name)
	}
	return fmt.Sprintf("`benchctl baseline update %s --plan FLAGS` writes it from plans, `--from FOLDER` from records", name)
}

// Read reads all records of a baseline and the flags it was planned with. Unlike a folder of records, of which
// a broken one is skipped, a baseline with one broken record is an error: what it lacks could not be checked.
func Read(path string) ([]results.Record, []string, error) {
	records, warnings, err := results.ReadAny(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &MissingError{Path: path, Err: err}
	}
	if err == nil && len(warnings) > 0 {
		err = warnings[0].Err
	}
	if err == nil && len(records) == 0 {
		err = fmt.Errorf("%s: has no records", path)
	}
	if err != nil {
		return nil, nil, &UnreadableError{Err: fmt.Errorf("baseline: %w", err)}
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return records, nil, nil
	}
	flags, err := results.PlanFlags(path)
	if err != nil {
		return nil, nil, &UnreadableError{Err: fmt.Errorf("baseline: %w", err)}
	}
	return records, flags, nil
}

// ReadSide reads the records of one side of a comparison, without their epochs, by which nothing is compared. A record that
// can't be read is an *UnreadableError, not skipped: whether it became worse could not be told. A path that does not exist is
// a *MissingError, one without records a *NoneError.
func ReadSide(path string) ([]results.Record, error) {
	records, warnings, err := results.ReadAny(path, func(r *results.Record) { r.Accuracy.Epochs = nil })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &MissingError{Path: path, Err: err}
	}
	if err == nil && len(warnings) > 0 {
		err = warnings[0].Err
		if more := len(warnings) - 1; more > 0 {
			err = fmt.Errorf("%w (and %s)", err, english.Plural(more, "more record", ""))
		}
	}
	if err != nil {
		return nil, &UnreadableError{fmt.Errorf("can't be read: %w", err), "a comparison skips no record: restore the file, run the " +
			"measurement again, or remove the file so that it counts as missing"}
	}
	if len(records) == 0 {
		return nil, &NoneError{path + " has no records"}
	}
	return records, nil
}

// ReadRecords reads the records of which a baseline is made. One that can't be read is an *UnreadableError: a baseline without
// it could not notice that the run is lost later.
func ReadRecords(path string) ([]results.Record, error) {
	records, warnings, err := results.ReadAny(path)
	if err == nil && len(warnings) > 0 {
		err = &UnreadableError{Err: fmt.Errorf("%s: can't be read: %w", path, warnings[0].Err)}
	}
	if err == nil && len(records) == 0 {
		err = fmt.Errorf("%s: has no record", path)
	}
	return records, err
}

// Files lists the files below results/baselines.
func Files() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(Dir, "*.json"))
	if err == nil && len(files) == 0 {
		return nil, &MissingError{Path: filepath.Join(Dir, Planned+".json")}
	}
	return files, err
}

// UpdateLine is the command line that writes a baseline anew.
func UpdateLine(path string, flags []string) string {
	name, ok := Name(path)
	if !ok {
		name = path
	}
	line := "benchctl baseline update " + name
	if flags != nil {
		line += " --plan " + strings.Join(flags, " ")
	}
	return line
}

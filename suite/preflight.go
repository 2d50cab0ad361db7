package suite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/results"
)

// OutError says that records can't be written into a folder.
type OutError struct{ Err error }

// Error has the reason.
func (e *OutError) Error() string { return "out: " + e.Err.Error() }

// Unwrap leads to the cause.
func (e *OutError) Unwrap() error { return e.Err }

// recordBytes is the room that a record needs at most.
const recordBytes = 64 << 10

// Preflight finds what would stop runs, before the first one starts: that the folder of the records can't be written
// (*OutError) or has records of a newer program (*results.NewerSchemaError), a run that its backend can't do, a file of
// weights that does not fit, a backend that is missing, or a data set that is not there or damaged.
func (o Runner) Preflight(h Host, runs []*Run) error {
	err := writable(o.Out)
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist): // a file is in its place
		return fmt.Errorf("out: %w", err)
	case err != nil:
		return &OutError{err}
	}
	backends, sets := map[string]bool{}, map[string]bool{}
	for _, r := range runs {
		if err := r.preflight(o.Out, o.Init); err != nil {
			return err
		}
		if !backends[r.Spec.Backend] {
			d, err := r.OpenDevice(h)
			if err != nil {
				return fmt.Errorf("backend: %w", err)
			}
			d.Close()
		}
		if !sets[r.Spec.Dataset] {
			if err := r.CheckData(o.DataDir); err != nil {
				return err
			}
		}
		backends[r.Spec.Backend], sets[r.Spec.Dataset] = true, true
	}
	return nil
}

// preflight is Runner.Preflight for what differs from run to run.
func (r *Run) preflight(out, init string) error {
	if err := r.CheckRunnable(); err != nil {
		return err
	}
	if err := r.CheckLastBatch(); err != nil {
		return err
	}
	var newer *results.NewerSchemaError
	if _, err := results.Read(results.Path(out, r.ID())); errors.As(err, &newer) {
		return newer
	}
	if init != "" {
		if err := r.CheckInit(init); err != nil {
			return fmt.Errorf("init: %w", err)
		}
	}
	return nil
}

// writable makes the folder and writes a file of a record's size in it, which it removes.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return atomicfile.CheckRoom(filepath.Join(dir, "record.json"), recordBytes)
}

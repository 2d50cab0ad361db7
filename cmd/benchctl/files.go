package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/localbench/localbench/atomicfile"
)

// writeError says that a file, a folder or standard output could not be written: exit code 6.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// unwritten marks an error as that of a file that could not be written, if it is one.
func unwritten(err error) error {
	if err == nil {
		return nil
	}
	return &writeError{err}
}

// writeFile writes a file beside its place, synced and renamed. A symbolic link stays one, and what exists and is not a
// regular file, such as a pipe, is written to.
func writeFile(path string, write func(io.Writer) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return unwritten(err)
		}
		return unwritten(errors.Join(write(file), file.Close()))
	}
	return atomicfile.Write(path, 0o666, write)
}

// checkedOutput is standard output. A command does not stop at a write that fails: what it prints is the last thing that it does,
// and files that it writes after that are wanted all the same. The first error becomes that of the command (run, in root.go).
type checkedOutput struct {
	to  io.Writer
	err error // the first
}

// Write never fails.
func (o *checkedOutput) Write(text []byte) (int, error) {
	if o.err == nil {
		_, o.err = o.to.Write(text)
	}
	return len(text), nil
}

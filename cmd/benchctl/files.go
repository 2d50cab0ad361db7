package main

import (
	"io"
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

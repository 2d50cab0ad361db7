package main

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/reports/gate"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/baseline"
	"github.com/localbench/localbench/suite"
)

// exitCode is the exit code of the process.
type exitCode int

// The exit codes: a contract with scripts.
const (
	exitDone         exitCode = 0
	exitFailed       exitCode = 1
	exitUsage        exitCode = 2
	exitSweep        exitCode = 3
	exitNoBaseline   exitCode = 4
	exitIncomparable exitCode = 5
	exitUnwritten    exitCode = 6
	exitOutOfMemory  exitCode = 20
	exitDiverged     exitCode = 21
	exitInterrupted  exitCode = 130
)

// exitMeaning is a row of the help and of the README.
type exitMeaning struct {
	code     exitCode
	sentence string
}

func exitMeanings() []exitMeaning {
	return []exitMeaning{
		{exitDone, "ok"},
		{exitFailed, "a check failed (regression, plan violated, not reproduced)"},
		{exitUsage, "wrong usage or invalid input; one line tells what is wrong and what is valid"},
		{exitSweep, "the sweep ended with failed runs; the other runs are recorded"},
		{exitNoBaseline, "no baseline to compare with"},
		{exitIncomparable, "records or baselines can't be read or compared: damaged, or of another machine, precision or schema"},
		{exitUnwritten, "a file, or standard output, could not be written"},
		{exitOutOfMemory, "a run's own process: out of memory"},
		{exitDiverged, "a run's own process: the loss was not finite"},
		{exitInterrupted, "interrupted; finished work is kept, --resume continues"},
	}
}

// usageError is wrong usage or bad input.
type usageError struct {
	error
	hint string
}

func (e *usageError) Unwrap() error { return e.error }

// Hint suggests a remedy, if the error does not.
func (e *usageError) Hint() string { return e.hint }

// usage marks an error as wrong usage; nil stays nil.
func usage(err error) error {
	if err == nil {
		return nil
	}
	marked := &usageError{error: err}
	var remedy interface{ Hint() string }
	if errors.As(err, &remedy) {
		marked.hint = remedy.Hint()
	}
	return marked
}

// runError is the outcome of a run in its own process.
type runError struct {
	status results.Status
	cause  error
}

func (e *runError) Error() string { return fmt.Sprintf("%s: %v", e.status, e.cause) }

// Unwrap returns the cause, which may have a remedy.
func (e *runError) Unwrap() error { return e.cause }

// codeOf maps errors to exit codes.
func codeOf(err error) exitCode {
	var (
		wrong       *usageError
		newer       *results.NewerSchemaError
		sweep       *suite.SweepError
		interrupted *suite.InterruptedError
		ended       *runError
		verdict     *gate.FailedError
		nothing     *baseline.NoneError
		apart       *compare.ApartError
		missing     *baseline.MissingError
		unreadable  *baseline.UnreadableError
		library     *gate.OtherLibraryError
		unwritten   *writeError
		file        *atomicfile.Error
		folder      *suite.OutError
	)
	notWritten := errors.As(err, &unwritten) || errors.As(err, &file) || errors.As(err, &folder)
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EFBIG} {
		notWritten = notWritten || errors.Is(err, full)
	}
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &ended):
		if code := ended.code(); code != exitFailed || !notWritten {
			return code
		}
		return exitUnwritten
	case errors.As(err, &interrupted):
		return exitInterrupted
	case errors.As(err, &newer), errors.As(err, &apart), errors.As(err, &unreadable), errors.As(err, &library):
		return exitIncomparable
	case errors.As(err, &sweep):
		if errors.As(sweep.Cause, &file) { // the records themselves
			return exitUnwritten
		}
		return exitSweep
	case errors.As(err, &nothing), errors.As(err, &missing):
		return exitNoBaseline
	case errors.As(err, &verdict):
		return exitFailed
	case notWritten:
		return exitUnwritten
	case errors.As(err, &wrong):
		return exitUsage
	}
	return exitFailed
}

func (e *runError) code() exitCode {
	switch e.status {
	case results.StatusOutOfMemory:
		return exitOutOfMemory
	case results.StatusDiverged:
		return exitDiverged
	case results.StatusInterrupted:
		return exitInterrupted
	}
	return exitFailed
}

// printError writes an error on one line, and its hint, if any, on another.
func printError(w io.Writer, err error) {
	fmt.Fprintln(w, suite.MessagePrefix+printable.Line(err.Error()))
	var remedy interface{ Hint() string }
	if errors.As(err, &remedy) && remedy.Hint() != "" {
		fmt.Fprintf(w, "hint: %s\n", printable.Line(remedy.Hint()))
	}
}

package main

import (
	"cmp"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/localbench/localbench/progress"
	"github.com/localbench/localbench/suite"
)

// Env is all that lies outside the process, so that a test can put something else in its place.
type Env struct {
	Args   []string // without the program's name
	Stdin  io.Reader
	Stdout io.Writer // results
	Stderr io.Writer // progress, logs, errors
	Getenv func(string) string
	Now    func() time.Time
	IsTTY  bool // standard error is a terminal
	// Program is the file of this program, which also executes runs in processes of their own.
	Program string
	// Columns is the width of the terminal if standard output is one, else 0.
	Columns int
	// ErrColumns is the width of the terminal if standard error is one, else 0.
	ErrColumns int
}

func processEnv() (Env, error) {
	program, err := os.Executable()
	if err != nil {
		return Env{}, err
	}
	columns, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		columns = 0
	}
	errColumns, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil {
		errColumns = 0
	}
	return Env{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Now: time.Now,
		IsTTY: term.IsTerminal(int(os.Stderr.Fd())), Program: program, Columns: columns, ErrColumns: errColumns}, nil
}

// host is where files of the program lie.
func (e Env) host() suite.Host {
	return suite.Host{LibraryDir: e.Getenv("BENCHCTL_LIB_DIR"), PlanBook: e.Getenv("BENCHCTL_PLAN_BOOK")}
}

// dataDir is the default folder of the data sets.
func (e Env) dataDir() string { return cmp.Or(e.Getenv("BENCHCTL_DATA"), "data") }

// runner runs specs as processes of this program, with records in the folder out.
func (e Env) runner(out string) suite.Runner {
	return suite.Runner{Command: []string{e.Program, "execute"}, Now: e.Now, Out: out, DataDir: e.dataDir(), Jobs: 1}
}

// screen is standard error, for progress.
func (e Env) screen() progress.Screen {
	return progress.Screen{Writer: e.Stderr, Terminal: e.IsTTY, Columns: e.ErrColumns,
		Color: e.IsTTY && e.Getenv("NO_COLOR") == "" && e.Getenv("TERM") != "dumb"}
}

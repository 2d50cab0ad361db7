package main

import (
	"io"
	"os"
	"time"

	"golang.org/x/term"
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
}

func processEnv() Env {
	return Env{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Now: time.Now, IsTTY: term.IsTerminal(int(os.Stderr.Fd()))}
}

// color reports whether colours are wanted on standard error.
func (e Env) color() bool {
	return e.IsTTY && e.Getenv("NO_COLOR") == "" && e.Getenv("TERM") != "dumb"
}

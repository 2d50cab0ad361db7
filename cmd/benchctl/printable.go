package main

import (
	"fmt"
	"io"

	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/suite"
)

// warn writes a line to standard error that is not the command's own error.
func warn(w io.Writer, text string) { fmt.Fprintln(w, suite.MessagePrefix+printable.Line(text)) }

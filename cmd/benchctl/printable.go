package main

import (
	"fmt"
	"io"

	"github.com/localbench/localbench/printable"
)

// warn writes a line to standard error that is not the command's own error.
func warn(w io.Writer, text string) { fmt.Fprintln(w, "benchctl: "+printable.Line(text)) }

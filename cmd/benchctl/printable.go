package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/localbench/localbench/reports/table"
)

// Bounds of what an error may repeat of a file or an argument, in characters.
const (
	maxQuoted = 60
	maxError  = 2000 // of a whole error; a list of tensors that do not fit is long
)

// quoted is a text in quotes, cut to a length that fits a line: for errors that repeat what a file says.
func quoted(s string) string {
	short := shortened(s, maxQuoted)
	if short == s {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%s (and %d bytes more)", strconv.Quote(s[:len(short)]), len(s)-len(short))
}

// shown is a name as it is, if it is short and has no unprintable characters, and else quoted.
func shown(s string) string {
	if s != "" && len(s) <= maxQuoted && strconv.Quote(s) == `"`+s+`"` {
		return s
	}
	return quoted(s)
}

// shortened is the beginning of a text, at most that many characters of it.
func shortened(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for i := range s {
		if most == 0 {
			return s[:i]
		}
		most--
	}
	return s
}

// oneLine is a text for standard error: one line, without characters that a terminal would take for
// commands, and of bounded length.
func oneLine(s string) string {
	line := strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	line = table.Printable(line)
	cut := shortened(line, maxError)
	if more := utf8.RuneCountInString(line[len(cut):]); more > 0 {
		return fmt.Sprintf("%s... (%d characters more)", cut, more)
	}
	return line
}

// warn writes a line to standard error that is not the command's own error.
func warn(w io.Writer, text string) { fmt.Fprintln(w, "benchctl: "+oneLine(text)) }

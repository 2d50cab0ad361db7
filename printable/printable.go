// Package printable makes texts from files, arguments and other programs safe to print: without control characters for the
// terminal, on one line, of bounded length.
package printable

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s with printable characters only: control characters, escape sequences,
// characters that change the text direction and invalid UTF-8 are written as Go
// escapes, \x1b. Line feeds stay; a tab is a blank. Texts of records, file names and file
// contents go through here before they are shown.
func Text(s string) string {
	if !strings.ContainsFunc(s, Steers) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r < utf8.RuneSelf && Steers(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case Steers(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// Steers reports whether a character is written out by Text. RuneError stands for bytes that are
// not UTF-8, and for the character of that number, which is printable.
func Steers(r rune) bool {
	return r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) || r == utf8.RuneError)
}

// Bounds in characters.
const (
	maxQuote = 60   // of what an error repeats of a file or an argument
	MaxLine  = 2000 // of a whole error; a list of tensors that do not fit is long
)

// Quote is a text in quotes, cut to a length that fits a line: for errors that repeat what a file says.
func Quote(s string) string {
	short := Shorten(s, maxQuote)
	if short == s {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%s (and %d bytes more)", strconv.Quote(s[:len(short)]), len(s)-len(short))
}

// Name is a name as it is, if it is short and has no unprintable characters, and else Quote.
func Name(s string) string {
	if s != "" && len(s) <= maxQuote && strconv.Quote(s) == `"`+s+`"` {
		return s
	}
	return Quote(s)
}

// Shorten is the beginning of a text, at most that many characters of it.
func Shorten(s string, most int) string {
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

// Line is a text for standard error: one line, without characters that a terminal would take for
// commands, and of bounded length.
func Line(s string) string {
	line := strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	line = Text(line)
	cut := Shorten(line, MaxLine)
	if more := utf8.RuneCountInString(line[len(cut):]); more > 0 {
		return fmt.Sprintf("%s... (%d characters more)", cut, more)
	}
	return line
}

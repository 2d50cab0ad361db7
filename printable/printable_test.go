package printable

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"plain, é, 中文, 👍🏽\nnext":      "plain, é, 中文, 👍🏽\nnext",
		"a\tb":                        "a b",
		"\x1b[31mred\x07\r\x7f\x00":   `\x1b[31mred\x07\x0d\x7f\x00`,
		"\u009b31m \u202egnp.exe":     `\u009b31m \u202egnp.exe`,
		"line\u2028paragraph\u2029":   `line\u2028paragraph\u2029`,
		"\xff\xc3 and a real \ufffd.": `\xff\xc3 and a real \ufffd.`,
	} {
		if got := Text(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Lines of a terminal: one line, bounded, with the rest counted in characters and not in bytes.
func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"one":                           "one",
		"\n\none\r\ntwo\nthree\n":       "one; two; three",
		"\x1b[2J\nx":                    `\x1b[2J; x`,
		strings.Repeat("é", MaxLine):    strings.Repeat("é", MaxLine),
		strings.Repeat("é", MaxLine+17): strings.Repeat("é", MaxLine) + "... (17 characters more)",
	} {
		if got := Line(in); got != want {
			t.Errorf("%.40q: got %.60q of %d bytes, want %.60q of %d", in, got, len(got), want, len(want))
		}
	}
}

func TestQuoteAndName(t *testing.T) {
	long := strings.Repeat("é", 61)
	for _, c := range []struct{ in, quoted, name string }{
		{"resnet32", `"resnet32"`, "resnet32"},
		{"", `""`, `""`},
		{"a b", `"a b"`, "a b"},
		{`a"b`, `"a\"b"`, `"a\"b"`},
		{"\x1b[0m", `"\x1b[0m"`, `"\x1b[0m"`},
		{long, `"` + long[:120] + `" (and 2 bytes more)`, `"` + long[:120] + `" (and 2 bytes more)`},
	} {
		if quoted, name := Quote(c.in), Name(c.in); quoted != c.quoted || name != c.name {
			t.Errorf("%q: got %s and %s, want %s and %s", c.in, quoted, name, c.quoted, c.name)
		}
	}
}

// No text steers a terminal, whatever its bytes are; a shortened one is a beginning that does not cut a character.
func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"a\tb", "\x1b[2J", "\xff", "é\u202e", "\u009b", strings.Repeat("é\n", 2000)} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, s string, most int) {
		for _, r := range Text(s) + Quote(s) + Name(s) + Line(s) {
			if r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control)) {
				t.Errorf("%q: %U is left", s, r)
			}
		}
		if strings.Contains(Line(s)+Quote(s)+Name(s), "\n") {
			t.Errorf("%q: more than one line", s)
		}
		most = max(0, min(most, 100))
		if short := Shorten(s, most); !strings.HasPrefix(s, short) || short != s && utf8.RuneCountInString(short) != most {
			t.Errorf("%q to %d characters: got %q", s, most, short)
		}
	})
}

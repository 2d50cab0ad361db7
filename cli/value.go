// Package cli is what commands built with cobra have in common: flags with parsers, flags that can't be combined, and
// configuration files that set flags. It knows no command and no flag of this program.
package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/printable"
)

// value is a flag whose text goes to one function.
type value struct {
	kind, text string
	set        func(string) error
}

// Set implements pflag.Value.
func (v *value) Set(s string) error {
	if err := v.set(s); err != nil {
		return err
	}
	v.text = s
	return nil
}

// String implements pflag.Value: the text as the user gave it, else the default.
func (v *value) String() string { return v.text }

// Type implements pflag.Value: the word in the help.
func (v *value) Type() string { return v.kind }

// Define adds a flag to a set. kind is the word for its value in the help, def the default's text, and set stores a text that
// was given. The error of set completes the sentence "--name text: …".
func Define(f *pflag.FlagSet, name, kind, def, help string, set func(string) error) {
	f.Var(&value{kind, def, set}, name, help)
}

// Word stores the text without the blanks around it.
func Word(p *string) func(string) error {
	return func(s string) error {
		*p = strings.TrimSpace(s)
		return nil
	}
}

// Words stores comma separated texts.
func Words(p *[]string) func(string) error {
	return List(p, func(s string) (string, error) { return s, nil })
}

// One stores what parse returns for the text.
func One[T any](p *T, parse func(string) (T, error)) func(string) error {
	return func(s string) (err error) {
		*p, err = parse(strings.TrimSpace(s))
		return err
	}
}

// Optional stores a value whose pointer is nil if the flag is not given.
func Optional[T any](p **T, parse func(string) (T, error)) func(string) error {
	return func(s string) error {
		x, err := parse(strings.TrimSpace(s))
		*p = &x
		return err
	}
}

// List stores comma separated entries; the flag replaces the default as a whole.
func List[T any](p *[]T, parse func(string) (T, error)) func(string) error {
	return func(s string) error {
		var all []T
		for _, entry := range strings.Split(s, ",") {
			entry = strings.TrimSpace(entry)
			if entry == "" {
				return errors.New("must be entries separated by single commas")
			}
			x, err := parse(entry)
			if err != nil && entry != strings.TrimSpace(s) {
				return fmt.Errorf("entry %s %w", shown(entry), err)
			}
			if err != nil {
				return err
			}
			all = append(all, x)
		}
		*p = all
		return nil
	}
}

// CountOrList is the kind of a flag that Seeds reads.
const CountOrList = "count or list"

// Seeds stores a list of whole numbers from 0 on; without a comma the text is a count n, of at most most, and stands for
// the numbers 1 to n.
func Seeds(p *[]uint64, most int) func(string) error {
	one := func(s string) (uint64, error) {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return 0, errors.New("must be a whole number of at least 0")
		}
		return n, nil
	}
	return func(s string) error {
		s = strings.TrimSpace(s)
		if strings.Contains(s, ",") {
			return List(p, one)(strings.TrimSuffix(s, ","))
		}
		count, err := Number(1, most)(s)
		*p = nil
		for seed := range count {
			*p = append(*p, uint64(seed)+1)
		}
		return err
	}
}

// Number parses a whole number in the range.
func Number(low, high int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		switch {
		case err != nil || n > high:
			return 0, fmt.Errorf("must be a whole number from %d to %d", low, high)
		case n < low:
			return 0, fmt.Errorf("must be at least %d", low)
		}
		return n, nil
	}
}

// Real parses a finite number.
func Real(s string) (float64, error) {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, errors.New("must be a number")
	}
	return x, nil
}

// Within parses a number in the range, which want describes.
func Within(low, high float64, want string) func(string) (float64, error) {
	return func(s string) (float64, error) {
		x, err := Real(s)
		switch {
		case err != nil:
			return 0, err
		case x < low || x > high:
			return 0, fmt.Errorf("must be %s", want)
		}
		return x, nil
	}
}

// Size parses a number of bytes with its unit.
func Size(s string) (int64, error) {
	s = strings.TrimSpace(s)
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > math.MaxInt64 || !strings.HasSuffix(strings.ToLower(s), "b") {
		return 0, errors.New("must be a size with its unit, such as 512MiB or 8GiB")
	}
	return int64(n), nil
}

// shown is the text of a value in an error: quoted unless it is a plain word.
func shown(s string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("+-.,/_", r)
	}
	if s == "" || len(s) > 40 || strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return printable.Quote(s)
	}
	return s
}

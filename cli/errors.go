package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/names"
)

// FlagError is what cobra's error of parsing the flags of a command says in our words: the flag and what its value must be,
// or the flag that was probably meant.
func FlagError(c *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return fmt.Errorf("--%s %w", invalid.GetFlag().Name, setError(invalid.GetFlag(), invalid.GetValue(), invalid.Unwrap()))
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if near := names.Nearest(unknown.GetSpecifiedName(), shownFlags(c)); near != "" {
			return fmt.Errorf("%w: did you mean --%s?", err, near)
		}
	}
	return err
}

// setError is the error of setting a flag, with the text; nil if err is nil.
func setError(flag *pflag.Flag, text string, err error) error {
	switch {
	case err == nil:
		return nil
	case flag.Value.Type() == "bool":
		return fmt.Errorf("%s: must be true or false", shown(text))
	}
	return fmt.Errorf("%s: %w", shown(text), err)
}

// flagNames lists the flags of a command.
func flagNames(c *cobra.Command) (all []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) { all = append(all, f.Name) })
	return all
}

// shownFlags lists the flags of a command that its help shows.
func shownFlags(c *cobra.Command) []string {
	return slices.DeleteFunc(flagNames(c), func(name string) bool { return c.Flags().Lookup(name).Hidden })
}

// Given lists the flags that were set, on the command line or by a configuration file, and those named in always, in the form
// --name=value. Those named in without are left out.
func Given(c *cobra.Command, always, without []string) (all []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		set := f.Changed || f.Value.String() != f.DefValue || slices.Contains(always, f.Name)
		if set && !slices.Contains(without, f.Name) {
			all = append(all, "--"+f.Name+"="+f.Value.String())
		}
	})
	return all
}

// Exclusive is a pair of flags that can't be combined, and why. A flag may be a name followed by a value.
type Exclusive struct{ First, Second, Why string }

// CheckExclusive refuses flags that can't be combined. Where several pairs are given, the first one counts. The flags in
// commandLine count only if the command line has them: a configuration file may hold them for other commands.
func CheckExclusive(c *cobra.Command, pairs []Exclusive, commandLine ...string) error {
	for _, e := range pairs {
		if given(c.Flags(), e.First, commandLine) && given(c.Flags(), e.Second, commandLine) {
			return fmt.Errorf("--%s and --%s can't be combined: %s", e.First, e.Second, e.Why)
		}
	}
	return nil
}

// Requirement is a flag that means something only together with another one of a list, on commands that have one of these. A
// flag of the list may be a name followed by a value. Why may add to the error.
type Requirement struct {
	Flag string
	With []string
	Why  string
}

// CheckRequired refuses flags that lack the flag that they need. commandLine is as in CheckExclusive.
func CheckRequired(c *cobra.Command, all []Requirement, commandLine ...string) error {
	for _, r := range all {
		has := func(name string) bool {
			name, _, _ = strings.Cut(name, " ")
			return c.Flags().Lookup(name) != nil
		}
		if !given(c.Flags(), r.Flag, commandLine) || !slices.ContainsFunc(r.With, has) ||
			slices.ContainsFunc(r.With, func(name string) bool { return given(c.Flags(), name, commandLine) }) {
			continue
		}
		why := ""
		if r.Why != "" {
			why = "; " + r.Why
		}
		return fmt.Errorf("--%s: needs --%s%s", r.Flag, strings.Join(r.With, " or --"), why)
	}
	return nil
}

// given reports whether a flag was set, on the command line or by a configuration file.
func given(f *pflag.FlagSet, name string, commandLine []string) bool {
	name, value, ofValue := strings.Cut(name, " ")
	flag := f.Lookup(name)
	switch {
	case flag == nil:
		return false
	case ofValue:
		return flag.Value.String() == value
	}
	return flag.Changed || flag.Value.String() != flag.DefValue && !slices.Contains(commandLine, name)
}

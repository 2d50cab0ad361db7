package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commandWith is a command that has the flags; nil if none has.
func commandWith(c *cobra.Command, names ...string) *cobra.Command {
	has := true
	for _, name := range names {
		has = has && c.Flags().Lookup(name) != nil
	}
	if has {
		return c
	}
	for _, sub := range c.Commands() {
		if found := commandWith(sub, names...); found != nil {
			return found
		}
	}
	return nil
}

// Every pair of the table is of flags of one command, and is refused with its sentence; either flag alone is not.
func TestExclusiveFlags(t *testing.T) {
	values := map[string]string{"batch": "8", "curve": "8", "fit": "1GiB", "fit-process": "1GiB", "budget": "1MiB",
		"target": "cpu", "format": "json"}
	for _, e := range exclusives() {
		second, value, ofValue := strings.Cut(e.Second, " ")
		set := func(names ...string) error {
			env := Env{Getenv: func(string) string { return "" }}
			c := commandWith(newRoot(env), e.First, second)
			if c == nil {
				t.Fatalf("no command has the flags --%s and --%s", e.First, second)
			}
			for _, name := range names {
				text := values[name]
				switch {
				case name == second && ofValue:
					text = value
				case c.Flags().Lookup(name).Value.Type() == "bool":
					text = "true"
				case text == "":
					text = "x"
				}
				if name == "table" || name == "columns" {
					text = "memory"
				}
				if err := c.Flags().Set(name, text); err != nil {
					t.Fatalf("--%s %s: %v", name, text, err)
				}
			}
			return checkExclusive(c)
		}
		err := set(e.First, second)
		if err == nil || err.Error() != "--"+e.First+" and --"+e.Second+" can't be combined: "+e.Why {
			t.Errorf("--%s and --%s: got %v, want that they can't be combined: %s", e.First, e.Second, err, e.Why)
		}
		if err := set(e.First); err != nil {
			t.Errorf("--%s alone: %v", e.First, err)
		}
		if err := set(second); err != nil {
			t.Errorf("--%s alone: %v", second, err)
		}
	}
}

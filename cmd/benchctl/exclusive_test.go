package main

import (
	"cmp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
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
		"target": "cpu", "format": "json", "jobs": "2", "gpus": "0,1", "device": "0"}
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
			return cli.CheckExclusive(c, exclusives(), fromConfiguration...)
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

// Every flag that needs another one is of a command with one of those, and is refused without them.
func TestRequiredFlags(t *testing.T) {
	values := map[string]string{"size": "1GiB", "size or percentage": "2%", "duration": "1h", "cells": "2", "bool": "true",
		"count": "2", "numbers": "0,1"}
	set := func(c *cobra.Command, name string) {
		t.Helper()
		name, value, _ := strings.Cut(name, " ")
		if name == "fit" {
			value = "8GiB"
		}
		if err := c.Flags().Set(name, cmp.Or(value, values[c.Flags().Lookup(name).Value.Type()], "cpu")); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range requirements() {
		for _, with := range r.With {
			name, _, _ := strings.Cut(with, " ")
			c := commandWith(newRoot(Env{Getenv: func(string) string { return "" }}), r.Flag, name)
			if c == nil {
				t.Fatalf("no command has the flags --%s and --%s", r.Flag, name)
			}
			set(c, r.Flag)
			if err := checkFlags(c); err == nil || !strings.HasPrefix(err.Error(), "--"+r.Flag+": needs --"+r.With[0]) {
				t.Errorf("--%s alone: got %v", r.Flag, err)
			}
			set(c, with)
			if err := checkFlags(c); err != nil {
				t.Errorf("--%s with --%s: %v", r.Flag, with, err)
			}
		}
	}
}

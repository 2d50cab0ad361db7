package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/localbench/localbench/names"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/yamlfile"
)

// readConfig sets the flags that a YAML file names and the command line does
// not. A key of another command is ignored, so that one file serves run,
// plan and describe; a key of no command is an error with its line.
func readConfig(c *cobra.Command, path string) error {
	entries, err := yamlfile.Read(path)
	if err != nil {
		return usage(fmt.Errorf("config: %w", err))
	}
	for _, e := range entries {
		err := setFromConfig(c, e.Key, e.Value)
		var unknown *names.UnknownError
		if errors.As(err, &unknown) {
			return usage(fmt.Errorf("config: %s:%d: %w", path, e.Line, err))
		}
		if err != nil {
			return usage(fmt.Errorf("config: %s:%d: %s: %w", path, e.Line, printable.Name(e.Key), err))
		}
	}
	return nil
}

func setFromConfig(c *cobra.Command, key string, value *yaml.Node) error {
	text, err := textOf(value)
	if err != nil {
		return err
	}
	flag := c.Flags().Lookup(key)
	known := knownKeys(c)
	switch {
	case !slices.Contains(known, key):
		return &names.UnknownError{Kind: "key", Name: key, Known: known}
	case flag == nil || flag.Changed:
		return nil
	}
	if value.Kind == yaml.SequenceNode && key == "seeds" {
		text += "," // [5] is the seed 5, not five seeds
	}
	return setError(flag, text, flag.Value.Set(text))
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

// knownKeys lists the flags of all commands that take a configuration.
func knownKeys(c *cobra.Command) []string {
	var known []string
	for _, command := range c.Root().Commands() {
		if command.Flags().Lookup("config") == nil {
			continue
		}
		command.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "config" && f.Name != "help" && !slices.Contains(known, f.Name) {
				known = append(known, f.Name)
			}
		})
	}
	return known
}

// textOf is the text of the flag on the command line.
func textOf(n *yaml.Node) (string, error) {
	if n.Kind == yaml.MappingNode {
		return "", errors.New("must be a value or a list of values: it is a mapping")
	}
	if n.Kind != yaml.SequenceNode {
		return yamlfile.Scalar(n)
	}
	var all []string
	for _, entry := range n.Content {
		text, err := textOf(entry)
		if err != nil {
			return "", err
		}
		all = append(all, text)
	}
	return strings.Join(all, ","), nil
}

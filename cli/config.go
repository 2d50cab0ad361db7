package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/localbench/localbench/names"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/yamlfile"
)

// ConfigFlag is the flag that names a configuration file.
const ConfigFlag = "config"

// ReadConfig sets the flags that a YAML file names and the command line does not. A key of another command that has the flag
// --config is ignored, so that one file serves several commands; a key of no command is an error with its line.
func ReadConfig(c *cobra.Command, path string) error {
	entries, err := yamlfile.Read(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	for _, e := range entries {
		err := SetFromConfig(c, e.Key, e.Value)
		var unknown *names.UnknownError
		if errors.As(err, &unknown) {
			return fmt.Errorf("config: %s:%d: %w", path, e.Line, err)
		}
		if err != nil {
			return fmt.Errorf("config: %s:%d: %s: %w", path, e.Line, printable.Name(e.Key), err)
		}
	}
	return nil
}

// SetFromConfig is ReadConfig for one key of a file.
func SetFromConfig(c *cobra.Command, key string, value *yaml.Node) error {
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
	if value.Kind == yaml.SequenceNode && flag.Value.Type() == CountOrList {
		text += "," // [5] is the number 5, not a count of five
	}
	return setError(flag, text, flag.Value.Set(text))
}

// knownKeys lists the flags of all commands that take a configuration.
func knownKeys(c *cobra.Command) []string {
	var known []string
	for _, command := range c.Root().Commands() {
		if command.Flags().Lookup(ConfigFlag) == nil {
			continue
		}
		for _, name := range flagNames(command) {
			if name != ConfigFlag && name != "help" && !slices.Contains(known, name) {
				known = append(known, name)
			}
		}
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

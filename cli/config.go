package cli

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

// ConfigFlag is the flag that names a configuration file.
const ConfigFlag = "config"

// ReadConfig sets the flags that a YAML file names and the command line does not. A key of another command that has the flag
// --config is ignored, so that one file serves several commands; a key of no command is an error with its line. Keys named in
// apart are no flags: their entries are returned.
func ReadConfig(c *cobra.Command, path string, apart ...string) (found []yamlfile.Entry, err error) {
	entries, err := yamlfile.Read(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return found, eachEntry(path, entries, func(e yamlfile.Entry) error {
		if slices.Contains(apart, e.Key) {
			found = append(found, e)
			return nil
		}
		return SetFromConfig(c, e.Key, e.Value, apart...)
	})
}

// eachEntry does something with each entry of a file. Errors get the place.
func eachEntry(path string, entries []yamlfile.Entry, do func(yamlfile.Entry) error) error {
	for _, e := range entries {
		if err := AtEntry(path, e, do(e)); err != nil {
			return err
		}
	}
	return nil
}

// AtEntry is an error about an entry of a configuration file with its place; nil for nil.
func AtEntry(path string, e yamlfile.Entry, err error) error {
	var unknown *names.UnknownError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown) && unknown.Kind == "key":
		return fmt.Errorf("config: %s:%d: %w", path, e.Line, err)
	}
	return fmt.Errorf("config: %s:%d: %s: %w", path, e.Line, printable.Name(e.Key), err)
}

// SetFromConfig is ReadConfig for one key of a file. others are keys that a misspelt one may have meant, too.
func SetFromConfig(c *cobra.Command, key string, value *yaml.Node, others ...string) error {
	flag := c.Flags().Lookup(key)
	known := knownKeys(c)
	switch {
	case !slices.Contains(known, key):
		return &names.UnknownError{Kind: "key", Name: key, Known: append(known, others...)}
	case flag == nil || flag.Changed:
		return nil
	}
	return SetFlag(flag, value)
}

// SetFlag sets a flag to a value of a YAML file.
func SetFlag(flag *pflag.Flag, value *yaml.Node) error {
	text, err := textOf(value)
	if err != nil {
		return err
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

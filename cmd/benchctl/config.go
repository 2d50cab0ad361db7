package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/names"
)

// readSmall reads a file that a person has written. One of more than a mebibyte, such as a device
// that never ends, is an error.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("%s: more than 1 MiB, want a file that somebody has written", path)
	}
	return text, err
}

// readConfig sets the flags that a YAML file names and the command line does
// not. A key of another command is passed over, so that one file serves run,
// plan and describe; a key of no command is an error with its line.
func readConfig(c *cobra.Command, path string) error {
	text, err := readSmall(path)
	if err != nil {
		return usage(fmt.Errorf("config: %w", err))
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return usage(fmt.Errorf("config: %s", at(path, err)))
	}
	seen := map[string]bool{}
	for _, doc := range file.Docs {
		entries, err := entriesOf(doc.Body)
		if err != nil {
			return usage(fmt.Errorf("config: %s: %w", path, err))
		}
		for _, e := range entries {
			key, line := e.Key.String(), e.Key.GetToken().Position.Line
			err := setFromConfig(c, key, e.Value)
			if seen[key] {
				err = errors.New("the key stands twice, want it once")
			}
			var unknown *names.UnknownError
			if errors.As(err, &unknown) {
				return usage(fmt.Errorf("config: %s:%d: %w", path, line, err))
			}
			if err != nil {
				return usage(fmt.Errorf("config: %s:%d: %s: %w", path, line, key, err))
			}
			seen[key] = true
		}
	}
	return nil
}

// at puts the place in front of a parser's error, which reads "[3:1] text" and
// then shows the lines around.
func at(path string, err error) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	if m := regexp.MustCompile(`^\[(\d+):\d+\] (.*)$`).FindStringSubmatch(first); m != nil {
		return fmt.Sprintf("%s:%s: %s", path, m[1], m[2])
	}
	return path + ": " + first
}

func entriesOf(n ast.Node) ([]*ast.MappingValueNode, error) {
	switch n := n.(type) {
	case nil:
		return nil, nil
	case *ast.MappingNode:
		return n.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, nil
	case *ast.CommentGroupNode:
		return nil, nil
	}
	return nil, fmt.Errorf("got a %s, want lines of `flag: value`", strings.ToLower(n.Type().String()))
}

func setFromConfig(c *cobra.Command, key string, value ast.Node) error {
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
	if _, isList := value.(*ast.SequenceNode); isList && key == "seeds" {
		text += "," // [5] is the seed 5, not five seeds
	}
	return setError(flag, text, flag.Value.Set(text))
}

// setError is the error of setting a flag to a text, of a switch in our words.
func setError(flag *pflag.Flag, text string, err error) error {
	if err != nil && flag.Value.Type() == "bool" {
		return fmt.Errorf("got %q, want true or false", text)
	}
	return err
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

// textOf is what the user would have written behind the flag.
func textOf(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.SequenceNode:
		var all []string
		for _, entry := range n.Values {
			text, err := textOf(entry)
			if err != nil {
				return "", err
			}
			all = append(all, text)
		}
		return strings.Join(all, ","), nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.NullNode:
		return "", errors.New("got nothing, want a value")
	case ast.ScalarNode:
		return n.GetToken().Value, nil
	}
	return "", fmt.Errorf("got a %s, want a value or a list of values", strings.ToLower(n.Type().String()))
}

// Package yamlfile reads YAML files of `key: value` lines: a sweep, or thresholds. Anchors and deep nesting, which such
// files do not need, are errors. Errors name the file and the line.
package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/localbench/localbench/files"
	"github.com/localbench/localbench/printable"
)

// Bounds of a file.
const (
	maxBytes = 1 << 20
	maxDepth = 8 // levels of lists and mappings; a flag's list has one
)

// Entry is a line `key: value` of a YAML file.
type Entry struct {
	Key   string
	Line  int // from 1
	Value *yaml.Node
}

// Read reads a YAML file of `key: value` lines, which may have several documents. Each key may stand
// once. Anchors and aliases, with which a file of a few hundred bytes can stand for gigabytes, are
// refused. Errors name the file and the line.
func Read(path string) ([]Entry, error) {
	text, err := files.Read(path, maxBytes)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

// Parse is Read for the content of a file.
func Parse(path string, text []byte) (entries []Entry, err error) {
	seen := map[string]int{}
	for documents := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var document yaml.Node
		err := documents.Decode(&document)
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s", place(path, err))
		}
		if err := check(&document, 0); err != nil {
			return nil, fmt.Errorf("%s:%w", path, err)
		}
		if len(document.Content) == 0 {
			continue
		}
		mapping := document.Content[0]
		if mapping.Kind == yaml.ScalarNode && mapping.Tag == "!!null" {
			continue
		}
		found, err := entriesOf(mapping, seen)
		if err != nil {
			return nil, fmt.Errorf("%s:%w", path, err)
		}
		entries = append(entries, found...)
	}
}

// Mapping is the lines `key: value` of a value of a file. The error begins with its line.
func Mapping(n *yaml.Node) ([]Entry, error) { return entriesOf(n, map[string]int{}) }

// entriesOf are the entries of a mapping; seen are the lines of keys that are set already.
func entriesOf(mapping *yaml.Node, seen map[string]int) (entries []Entry, err error) {
	if mapping.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%d: must be lines of `name: value`: it is %s", mapping.Line, kind(mapping))
	}
	for i := 0; i < len(mapping.Content); i += 2 {
		key := mapping.Content[i]
		if key.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("%d: %s is not a name: lines must be `name: value`", key.Line, kind(key))
		}
		if first, twice := seen[key.Value]; twice {
			return nil, fmt.Errorf("%d: %s: is already set in line %d", key.Line, printable.Name(key.Value), first)
		}
		seen[key.Value] = key.Line
		entries = append(entries, Entry{key.Value, key.Line, mapping.Content[i+1]})
	}
	return entries, nil
}

// List is the entries of a list. The error begins with its line.
func List(n *yaml.Node) ([]*yaml.Node, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("%d: must be a list: it is %s", n.Line, kind(n))
	}
	return n.Content, nil
}

// check refuses anchors, aliases and deep nesting; the error begins with the line.
func check(n *yaml.Node, depth int) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("%d: anchors and aliases (& and *) are not supported; write the value out", n.Line)
	case depth > maxDepth:
		return fmt.Errorf("%d: lists and mappings are nested more than %d levels deep", n.Line, maxDepth)
	}
	for _, child := range n.Content {
		if err := check(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// place prefixes the parser's error with file and line; it reads "yaml: line 3: text".
func place(path string, err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := regexp.MustCompile(`^line (\d+): (?s)(.*)$`).FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%s:%s: %s", path, m[1], m[2])
	}
	return path + ": " + text
}

// Scalar is the text of a value that is a single word or number.
func Scalar(n *yaml.Node) (string, error) {
	switch {
	case n.Kind != yaml.ScalarNode:
		return "", fmt.Errorf("must be a value: it is %s", kind(n))
	case n.Tag == "!!null":
		return "", errors.New("the value is missing")
	}
	return n.Value, nil
}

// kind names what a node is, for errors.
func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	return fmt.Sprintf("the text %s", printable.Quote(n.Value))
}

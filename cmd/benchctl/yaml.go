package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/localbench/localbench/files"
)

// Bounds of a YAML file that a person writes for this program: a sweep, or thresholds.
const (
	maxYAMLBytes = 1 << 20
	maxYAMLDepth = 8 // levels of lists and mappings; a flag's list has one
)

// yamlEntry is a line `key: value` of a YAML file.
type yamlEntry struct {
	key   string
	line  int // from 1
	value *yaml.Node
}

// readYAML reads a YAML file of `key: value` lines, which may have several documents. Each key may stand
// once. Anchors and aliases, with which a file of a few hundred bytes can stand for gigabytes, are
// refused. Errors name the file and the line.
func readYAML(path string) ([]yamlEntry, error) {
	text, err := files.Read(path, maxYAMLBytes)
	if err != nil {
		return nil, err
	}
	return parseYAML(path, text)
}

// parseYAML is readYAML for the content of a file.
func parseYAML(path string, text []byte) (entries []yamlEntry, err error) {
	seen := map[string]int{}
	for documents := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var document yaml.Node
		err := documents.Decode(&document)
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s", yamlPlace(path, err))
		}
		if err := checkYAML(&document, 0); err != nil {
			return nil, fmt.Errorf("%s:%w", path, err)
		}
		if len(document.Content) == 0 {
			continue
		}
		mapping := document.Content[0]
		if mapping.Kind == yaml.ScalarNode && mapping.Tag == "!!null" {
			continue
		}
		if mapping.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("%s:%d: got %s; the file must have lines of `name: value`", path, mapping.Line, yamlKind(mapping))
		}
		for i := 0; i < len(mapping.Content); i += 2 {
			key := mapping.Content[i]
			if key.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("%s:%d: got %s as a name; the file must have lines of `name: value`", path, key.Line, yamlKind(key))
			}
			if first, twice := seen[key.Value]; twice {
				return nil, fmt.Errorf("%s:%d: %s: is already set in line %d", path, key.Line, shown(key.Value), first)
			}
			seen[key.Value] = key.Line
			entries = append(entries, yamlEntry{key.Value, key.Line, mapping.Content[i+1]})
		}
	}
}

// checkYAML refuses anchors, aliases and deep nesting; the error begins with the line.
func checkYAML(n *yaml.Node, depth int) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("%d: anchors and aliases (& and *) are not supported; write the value out", n.Line)
	case depth > maxYAMLDepth:
		return fmt.Errorf("%d: lists and mappings are nested more than %d levels deep", n.Line, maxYAMLDepth)
	}
	for _, child := range n.Content {
		if err := checkYAML(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// yamlPlace puts the file and the line in front of the parser's error, which reads "yaml: line 3: text".
func yamlPlace(path string, err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := regexp.MustCompile(`^line (\d+): (?s)(.*)$`).FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%s:%s: %s", path, m[1], m[2])
	}
	return path + ": " + text
}

// yamlScalar is the text of a value that is a single word or number.
func yamlScalar(n *yaml.Node) (string, error) {
	switch {
	case n.Kind != yaml.ScalarNode:
		return "", fmt.Errorf("got %s, want a value", yamlKind(n))
	case n.Tag == "!!null":
		return "", errors.New("got nothing, want a value")
	}
	return n.Value, nil
}

// yamlKind names what a node is, for errors.
func yamlKind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	return fmt.Sprintf("the text %s", quoted(n.Value))
}

package main

import (
	"encoding/json"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/suite"
)

func schemaCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "print the JSON Schema of configuration files, for editors",
		Long: "schema prints the JSON Schema of the YAML files that --config takes. Editors with a YAML\n" +
			"language server complete and check keys and values with it: store it, and begin the\n" +
			"file with the line `# yaml-language-server: $schema=PATH`.",
		Example: "  benchctl schema > sweep.schema.json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			e := json.NewEncoder(env.Stdout)
			e.SetIndent("", "  ")
			e.SetEscapeHTML(false)
			return e.Encode(configSchema(newRoot(env)))
		},
	}
}

// schema is a JSON Schema.
type schema map[string]any

// configSchema is the schema of configuration files. What a flag takes is found by setting it: root is used up.
func configSchema(root *cobra.Command) schema {
	values := schema{}
	keys := schema{}
	for _, c := range root.Commands() {
		if c.Flags().Lookup(cli.ConfigFlag) == nil {
			continue
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if values[f.Name] == nil && f.Name != cli.ConfigFlag && f.Name != "help" {
				values[f.Name] = valueSchema(f)
				keys[f.Name] = schema{"$ref": "#/$defs/" + f.Name}
			}
		})
	}
	runs, lists, others := schema{}, schema{}, schema{}
	for _, name := range runKeys() {
		runs[name] = keys[name]
		lists[name] = schema{"type": "array", "minItems": 1, "items": keys[name]}
		if !isMethods(name) {
			others[name] = keys[name]
		}
	}
	entries := func(properties schema) schema {
		return schema{"type": "object", "properties": properties, "additionalProperties": false}
	}
	byMethod := schema{}
	ways, _, _ := suite.Names()
	for _, m := range ways {
		byMethod[m] = schema{"$ref": "#/$defs/" + keyOverrides}
	}
	values["runs"], values[keyOverrides] = entries(runs), entries(others)
	describe := func(s schema, text string) schema {
		s["description"] = text
		return s
	}
	keys[keyMatrix] = describe(entries(lists), "flags that describe runs, each with a list of values: all are crossed")
	keys[keyInclude] = describe(schema{"type": "array", "items": schema{"$ref": "#/$defs/runs"}},
		"further runs: flags and their values")
	keys[keyExclude] = describe(schema{"type": "array", "items": schema{"$ref": "#/$defs/runs"}},
		"combinations of the matrix that are left out: those with these values")
	keys[keyOverrides] = describe(entries(byMethod), "flags of the runs of one method")
	return schema{"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Configuration of benchctl",
		"description": "Flags of benchctl by name, and keys that combine them into runs", "$defs": values, "type": "object",
		"properties": keys, "additionalProperties": false}
}

// valueSchema is what a flag takes in a file.
func valueSchema(f *pflag.Flag) schema {
	takes := func(text string) bool { return f.Value.Set(text) == nil }
	s := schema{"description": f.Usage}
	ways, nets, sets := suite.Names()
	word := schema(nil) // of a list
	switch f.Name {
	case "methods":
		word = schema{"enum": ways}
	case "networks":
		word = schema{"anyOf": []schema{{"enum": nets}, {"type": "string", "pattern": `\.pt2$`}}}
	case "datasets":
		word = schema{"anyOf": []schema{{"enum": sets}, {"type": "string", "pattern": "^folder:"}}}
	}
	words, isWord := wordValues()[f.Name]
	switch {
	case f.Value.Type() == "bool":
		s["type"] = "boolean"
	case isWord:
		s["enum"] = yamlWords(words)
	case word != nil:
		s["anyOf"] = []schema{word, {"type": "array", "minItems": 1, "items": word}, {"type": "string", "pattern": ","}}
	case takes("x"): // text
		s["type"] = []string{"string", "number", "array"}
	case f.Value.Type() == "duration":
		s["type"], s["pattern"] = "string", `^([0-9.]+(ns|us|µs|ms|s|m|h))+$`
	case takes("1MiB") && takes("2%"):
		s["type"] = []string{"string", "integer"}
	case takes("1MiB"):
		s["type"], s["pattern"] = "string", `^[0-9.]+ ?[kKmMgGtT]?[iI]?[bB]$`
	default:
		number := numberSchema(takes)
		if !takes("1,2") && !takes("0.5,0.5") {
			for key, value := range number {
				s[key] = value
			}
			break
		}
		s["anyOf"] = []schema{number, {"type": "array", "minItems": 1, "items": number}, {"type": "string", "pattern": ","}}
	}
	return s
}

// numberSchema is what a flag takes that is a number.
func numberSchema(takes func(string) bool) schema {
	n := schema{"type": "integer"}
	if takes("0.5") || takes("0.5,0.5") {
		n["type"] = "number"
	}
	switch {
	case takes("-1"):
	case takes("0"):
		n["minimum"] = 0
	case n["type"] == "integer":
		n["minimum"] = 1
	default:
		n["exclusiveMinimum"] = 0
	}
	return n
}

// yamlWords are the values of words in a file: on and off are booleans to readers of YAML 1.1.
func yamlWords(words []string) (all []any) {
	for _, w := range words {
		all = append(all, w)
	}
	if slices.Contains(words, "on") {
		all = append(all, true, false)
	}
	return all
}

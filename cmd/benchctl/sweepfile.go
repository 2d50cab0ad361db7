package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/names"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/yamlfile"
)

// The keys of a configuration file that are no flags.
const (
	keyMatrix    = "matrix"
	keyInclude   = "include"
	keyExclude   = "exclude"
	keyOverrides = "overrides"
)

func sweepKeys() []string { return []string{keyMatrix, keyInclude, keyExclude, keyOverrides} }

// maxCombinations bounds the combinations of a matrix, so that a typing error is not a sweep of years.
const maxCombinations = 100_000

// sweepFile is what a configuration file says beyond flags.
type sweepFile struct {
	path             string
	matrix           []axis
	include, exclude [][]yamlfile.Entry
	overrides        map[string][]yamlfile.Entry // by method
}

// axis is a key of the matrix and its values.
type axis struct {
	yamlfile.Entry
	values []*yaml.Node
}

// runFlagsOnly defines the flags that describe runs, and nothing else, on a command of its own.
func runFlagsOnly() (*pflag.FlagSet, *cobra.Command, *suite.Request) {
	c := &cobra.Command{}
	s := addShared(c)
	addTraining(c, &s.request)
	addSamples(c, &s.request)
	return c.Flags(), c, &s.request
}

// runKeys are the names of the flags that describe runs.
func runKeys() (keys []string) {
	flags, _, _ := runFlagsOnly()
	flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains([]string{cli.ConfigFlag, "format", "table", "columns", "help"}, f.Name) {
			keys = append(keys, f.Name)
		}
	})
	return keys
}

// requestsOf is the request of a file with a matrix, further combinations or overrides: the first of its combinations, and the
// others in More. c has the flags of the file and of the command line.
func requestsOf(c *cobra.Command, path string, entries []yamlfile.Entry) (suite.Request, error) {
	f := sweepFile{path: path, overrides: map[string][]yamlfile.Entry{}}
	known := runKeys()
	for _, e := range entries {
		if err := f.read(e, known); err != nil {
			return suite.Request{}, err
		}
	}
	var all []suite.Request
	combinations, err := f.combinations()
	if err != nil {
		return suite.Request{}, err
	}
	for _, entries := range combinations {
		requests, err := f.requests(c, entries, nil)
		if err != nil {
			return suite.Request{}, err
		}
		all = append(all, requests...)
	}
	for _, entries := range f.include {
		requests, err := f.requests(c, nil, entries)
		if err != nil {
			return suite.Request{}, err
		}
		all = append(all, requests...)
	}
	if len(all) == 0 {
		return suite.Request{}, fmt.Errorf("config: %s: exclude leaves no combination of the matrix", path)
	}
	all[0].More = all[1:]
	return all[0], nil
}

// read reads one of the keys.
func (f *sweepFile) read(e yamlfile.Entry, known []string) error {
	switch e.Key {
	case keyMatrix:
		keys, err := f.keys(e, e.Value, "key", known)
		for _, k := range keys {
			values, err := yamlfile.List(k.Value)
			if err != nil {
				return f.at(err)
			}
			f.matrix = append(f.matrix, axis{k, values})
		}
		return err
	case keyOverrides:
		ways, _, _ := suite.Names()
		methods, err := f.keys(e, e.Value, "method", ways)
		for _, m := range methods {
			keys, err := f.keys(e, m.Value, "key", slices.DeleteFunc(slices.Clone(known), isMethods))
			if err != nil {
				return err
			}
			f.overrides[m.Key] = keys
		}
		return err
	}
	list, err := yamlfile.List(e.Value)
	if err != nil {
		return f.at(err)
	}
	for _, n := range list {
		keys, err := f.keys(e, n, "key", known)
		if err != nil {
			return err
		}
		if e.Key == keyInclude {
			f.include = append(f.include, keys)
		} else {
			f.exclude = append(f.exclude, keys)
		}
	}
	return nil
}

// keys are the entries of a mapping below an entry, whose keys are of a kind and known.
func (f *sweepFile) keys(e yamlfile.Entry, n *yaml.Node, kind string, known []string) ([]yamlfile.Entry, error) {
	entries, err := yamlfile.Mapping(n)
	if err != nil {
		return nil, f.at(err)
	}
	for _, k := range entries {
		if !slices.Contains(known, k.Key) {
			err := &names.UnknownError{Kind: kind, Name: k.Key, Known: known}
			return nil, fmt.Errorf("config: %s:%d: %s: %w", f.path, k.Line, e.Key, err)
		}
	}
	return entries, nil
}

// at is an error that begins with its line, with the file.
func (f *sweepFile) at(err error) error { return fmt.Errorf("config: %s:%w", f.path, err) }

func isMethods(key string) bool { return key == "methods" }

// combinations crosses the keys of the matrix, without what is excluded.
func (f *sweepFile) combinations() ([][]yamlfile.Entry, error) {
	all := [][]yamlfile.Entry{nil}
	for _, a := range f.matrix {
		if len(all)*len(a.values) > maxCombinations {
			return nil, fmt.Errorf("config: %s:%d: the matrix has more than %d combinations", f.path, a.Line, maxCombinations)
		}
		var next [][]yamlfile.Entry
		for _, before := range all {
			for _, v := range a.values {
				next = append(next, append(slices.Clone(before), yamlfile.Entry{Key: a.Key, Line: a.Line, Value: v}))
			}
		}
		all = next
	}
	for _, out := range f.exclude {
		for _, e := range out {
			if !slices.ContainsFunc(f.matrix, func(a axis) bool { return a.Key == e.Key }) {
				return nil, fmt.Errorf("config: %s:%d: exclude: %s is not a key of the matrix", f.path, e.Line, e.Key)
			}
		}
		n := len(all)
		all = slices.DeleteFunc(all, func(entries []yamlfile.Entry) bool { return hasAll(entries, out) })
		if len(all) == n && len(out) > 0 {
			return nil, fmt.Errorf("config: %s:%d: exclude: matches no combination of the matrix that is left", f.path, out[0].Line)
		}
	}
	return all, nil
}

// hasAll reports whether a combination has, for each key of a pattern, one of its values.
func hasAll(entries, pattern []yamlfile.Entry) bool {
	for _, p := range pattern {
		values := []*yaml.Node{p.Value}
		if p.Value.Kind == yaml.SequenceNode {
			values = p.Value.Content
		}
		if !slices.ContainsFunc(entries, func(e yamlfile.Entry) bool {
			return e.Key == p.Key && slices.ContainsFunc(values, func(v *yaml.Node) bool {
				return v.Kind == yaml.ScalarNode && e.Value.Kind == yaml.ScalarNode && v.Value == e.Value.Value
			})
		}) {
			return false
		}
	}
	return true
}

// requests are the requests of a combination: one, or one for each method if there are overrides. What comes later counts: the
// flags of the file, the combination, the overrides of the method, the entries of include, and the command line.
func (f *sweepFile) requests(c *cobra.Command, combination, included []yamlfile.Entry) ([]suite.Request, error) {
	whole, err := f.request(c, "", combination, included)
	if err != nil || len(f.overrides) == 0 {
		return []suite.Request{whole}, err
	}
	var all []suite.Request
	for _, method := range whole.Methods {
		one, err := f.request(c, method, combination, f.overrides[method], included)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// request is the request of entries, of one method unless it is empty.
func (f *sweepFile) request(c *cobra.Command, method string, parts ...[]yamlfile.Entry) (suite.Request, error) {
	flags, own, request := runFlagsOnly()
	var err error
	take := func(name, text string) {
		if flag := flags.Lookup(name); flag != nil && err == nil && name != cli.ConfigFlag {
			err = flags.Set(name, text)
		}
	}
	c.Flags().VisitAll(func(given *pflag.Flag) {
		if given.Changed || given.Value.String() != given.DefValue {
			take(given.Name, given.Value.String())
		}
	})
	for _, part := range parts {
		for _, e := range part {
			if c.Flags().Lookup(e.Key) == nil { // of another command
				continue
			}
			flag := flags.Lookup(e.Key)
			if err := cli.SetFlag(flag, e.Value); err != nil {
				return *request, cli.AtEntry(f.path, e, err)
			}
			flag.Changed = true
		}
	}
	c.Flags().Visit(func(given *pflag.Flag) { take(given.Name, given.Value.String()) })
	if err != nil {
		return *request, err
	}
	if method != "" {
		request.Methods = []string{method}
	}
	if err := checkFlags(own); err != nil {
		return *request, fmt.Errorf("config: %s: %w", f.path, err)
	}
	return *request, nil
}

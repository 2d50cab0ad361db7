package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/localbench/localbench/files"
)

// collection is a file of many records: a baseline.
type collection struct {
	Schema  int64             `json:"schema"`
	Records []json.RawMessage `json:"records"`
}

// ReadAny reads records from a folder, a file of one record, or a collection. What
// is broken or of a newer schema becomes a warning, as in ReadDir; a single file
// that is so is an error. What is to be done to each record is done as it is read.
func ReadAny(path string, each ...func(*Record)) ([]Record, []Warning, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("records: %w", err)
	}
	if stat.IsDir() {
		return ReadDir(path, each...)
	}
	text, err := files.Read(path, maxFileBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("records: %w", err)
	}
	records, warnings, err := Parse(path, text)
	for i := range records {
		for _, change := range each {
			change(&records[i])
		}
	}
	return records, warnings, err
}

// Parse reads the text of a file of one record or of a collection, as ReadAny does; errors
// and warnings call it by the name.
func Parse(path string, text []byte) ([]Record, []Warning, error) {
	var c collection
	if err := json.Unmarshal(text, &c); err != nil || c.Records == nil {
		r, err := decodeNamed(path, text)
		if err != nil {
			return nil, nil, err
		}
		return []Record{r}, nil, nil
	}
	if c.Schema > Schema {
		return nil, nil, &NewerSchemaError{Path: path, Got: c.Schema, Want: Schema}
	}
	var records []Record
	var warnings []Warning
	for i, raw := range c.Records {
		r, err := decode(raw)
		if err != nil {
			warnings = append(warnings, Warning{Path: path, Err: fmt.Errorf("%s: record %d: %w", path, i+1, err)})
			continue
		}
		records = append(records, r)
	}
	return records, warnings, nil
}

// WriteCollection writes records to one file: beside its place, synced, renamed.
func WriteCollection(path string, records []Record) error {
	c := collection{Schema: Schema}
	for _, r := range records {
		r.Schema = Schema
		if r.ID == "" {
			r.ID = SpecID(r.Spec)
		}
		if err := r.Validate(); err != nil {
			return fmt.Errorf("%s: %w", r.ID, err)
		}
		text, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.ID, err)
		}
		c.Records = append(c.Records, text)
	}
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fmt.Errorf("records: %w", err)
	}
	if err := renameio.WriteFile(path, append(text, '\n'), 0o666, renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("records: %s was not written: %w", path, errors.Unwrap(err))
	}
	return nil
}

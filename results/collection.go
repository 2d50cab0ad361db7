package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/files"
)

// collection is a file of many records: a baseline.
type collection struct {
	Schema  int64             `json:"schema"`
	Plan    []string          `json:"plan,omitempty"`
	Records []json.RawMessage `json:"records"`
}

// ReadAny reads records from a folder, a file of one record, or a collection. A
// damaged record or one of a newer schema becomes a warning, as in ReadDir; in a single
// file it is an error. The given functions are applied to each record as it is read.
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
// and warnings use the name.
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

// PlanFlags returns the flags of `benchctl plan` with which the records of a collection were planned; nil
// for a collection without them, such as one of measured records.
func PlanFlags(path string) ([]string, error) {
	text, err := files.Read(path, maxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	var c collection
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, explain(err, text))
	}
	return c.Plan, nil
}

// Brief removes the bytes by module and the largest tensors: they only explain differences, and are most of a record.
func Brief(r *Record) { r.Memory.ByModule, r.Memory.Top = nil, nil }

// WriteCollection writes records to one file, atomically: a JSON object with one record per line, so that a
// line of a diff is a record. plan are the flags of `benchctl plan` that the records were planned with, or nil.
func WriteCollection(path string, plan []string, records []Record) error {
	head, err := json.Marshal(collection{Schema: Schema, Plan: plan, Records: []json.RawMessage{}})
	if err != nil {
		return err
	}
	var text bytes.Buffer
	text.Write(bytes.TrimSuffix(head, []byte("]}")))
	for i, r := range records {
		r.Schema = Schema
		if r.ID == "" {
			r.ID = SpecID(r.Spec)
		}
		if err := r.Validate(); err != nil {
			return fmt.Errorf("%s: %w", r.ID, err)
		}
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.ID, err)
		}
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteByte('\n')
		text.Write(line)
	}
	text.WriteString("\n]}\n")
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fmt.Errorf("records: %w", &atomicfile.Error{Path: path, Err: err})
	}
	if err := atomicfile.WriteBytes(path, text.Bytes(), 0o666); err != nil {
		return fmt.Errorf("records: %w", err)
	}
	return nil
}

// ReadAll reads the records of all paths with ReadAny. A record of a newer schema is skipped with a warning, unless nothing
// else is left: then it is the error, a *NewerSchemaError. No record at all is an error, too.
func ReadAll(paths []string, each ...func(*Record)) (all []Record, skipped []Warning, err error) {
	var newest *NewerSchemaError
	for _, path := range paths {
		records, warnings, err := ReadAny(path, each...)
		var newer *NewerSchemaError
		if errors.As(err, &newer) {
			warnings, err = append(warnings, Warning{Path: path, Err: err}), nil
		}
		if err != nil {
			return nil, nil, err
		}
		for _, w := range warnings {
			if errors.As(w.Err, &newer) {
				newest = newer
			}
		}
		all, skipped = append(all, records...), append(skipped, warnings...)
	}
	if len(all) > 0 {
		return all, skipped, nil
	}
	if newest != nil { // which is not said twice
		isNewest := func(w Warning) bool { return w.Err == error(newest) } //nolint:errorlint // this very warning
		return nil, slices.DeleteFunc(skipped, isNewest), newest
	}
	return nil, skipped, fmt.Errorf("no records in %s", strings.Join(paths, ", "))
}

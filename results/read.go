package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxFileBytes bounds what a reader takes in; a record of 10,000 epochs of 100
// modules is about 40 MiB.
const maxFileBytes = 256 << 20

// NewerSchemaError says that a record was written by a newer program than this.
type NewerSchemaError struct {
	Path string // of the file
	Got  int64  // its schema
	Want int64  // the newest schema that can be read
}

// Error names the file and both schemas.
func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("%s: schema is newer than this program: got %d, want at most %d", e.Path, e.Got, e.Want)
}

// Hint says what to do about it.
func (e *NewerSchemaError) Hint() string {
	return "read it with the release of benchctl that wrote it, or a later one"
}

// Warning is a file that was skipped, and why.
type Warning struct {
	Path string
	Err  error
}

// String is the sentence for a report; the error names the file.
func (w Warning) String() string { return "skipped " + w.Err.Error() }

// Read reads the record in one file. Older schemas are migrated; a newer one is
// a *NewerSchemaError. Fields that the schema does not have are passed over.
func Read(path string) (Record, error) {
	text, err := readFile(path)
	if err != nil {
		return Record{}, fmt.Errorf("record: %w", err)
	}
	return decodeNamed(path, text)
}

// decodeNamed is decode with the file's name in its errors.
func decodeNamed(path string, text []byte) (Record, error) {
	record, err := decode(text)
	var newer *NewerSchemaError
	if errors.As(err, &newer) {
		newer.Path = path
		return Record{}, newer
	}
	if err != nil {
		return Record{}, fmt.Errorf("%s: %w", path, err)
	}
	return record, nil
}

// ReadDir reads every *.json of a folder, without its sub-folders, in the order
// of their names. A file that is broken, cut off or of a newer schema becomes a
// warning and never hides the others. The error is for the folder itself.
func ReadDir(dir string) ([]Record, []Warning, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("records: %w", err)
	}
	var records []Record
	var warnings []Warning
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".json") || strings.HasPrefix(name, ".") {
			continue
		}
		path := filepath.Join(dir, name)
		record, err := Read(path)
		if err != nil {
			warnings = append(warnings, Warning{Path: path, Err: err})
			continue
		}
		records = append(records, record)
	}
	return records, warnings, nil
}

// readFile reads a plain file; a pipe or a device would block or never end.
func readFile(path string) ([]byte, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !stat.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: got %s, want a plain file", path, stat.Mode().Type())
	}
	if stat.Size() > maxFileBytes {
		return nil, fmt.Errorf("%s: got %d bytes, want at most %d", path, stat.Size(), int64(maxFileBytes))
	}
	return os.ReadFile(path)
}

// decode turns the text of a file into a valid record.
func decode(text []byte) (Record, error) {
	var head struct {
		Schema *int64 `json:"schema"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return Record{}, explain(err, text)
	}
	switch {
	case head.Schema == nil:
		return Record{}, errors.New("schema: got none, want a record with a schema number")
	case *head.Schema > Schema:
		return Record{}, &NewerSchemaError{Got: *head.Schema, Want: Schema}
	}
	text, err := migrate(text, *head.Schema, migrations())
	if err != nil {
		return Record{}, err
	}
	var record Record
	if err := json.Unmarshal(text, &record); err != nil {
		return Record{}, explain(err, text)
	}
	return record, record.Validate()
}

// explain tells a file that was cut off from one that is not JSON.
func explain(err error, text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("file is empty, want a record")
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		scan := json.NewDecoder(bytes.NewReader(text))
		var all json.RawMessage
		if errors.Is(scan.Decode(&all), io.ErrUnexpectedEOF) {
			return fmt.Errorf("file is cut off after %d bytes: %w", len(text), err)
		}
		return fmt.Errorf("not JSON at byte %d: %w", syntax.Offset, err)
	}
	return err
}

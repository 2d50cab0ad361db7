package results

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/localbench/localbench/files"
)

// maxFileBytes bounds the size of a file; a record of 10,000 epochs of 100
// modules is about 40 MiB.
const maxFileBytes = 256 << 20

// NewerSchemaError reports a record that was written by a newer program.
type NewerSchemaError struct {
	Path string // of the file
	Got  int64  // its schema
	Want int64  // the newest schema that can be read
}

// Error names the file and both schemas.
func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("%s: schema %d is newer than this program, which reads up to %d", e.Path, e.Got, e.Want)
}

// Hint tells what to do.
func (e *NewerSchemaError) Hint() string {
	return "read it with the release of benchctl that wrote it, or a later one"
}

// Warning is a skipped file and the reason.
type Warning struct {
	Path string
	Err  error
}

// String is the sentence for a report, one line; the error names the file.
func (w Warning) String() string {
	return "skipped " + strings.ReplaceAll(w.Err.Error(), "\n", "; ")
}

// Read reads the record in one file. Older schemas are migrated; a newer one is
// a *NewerSchemaError. Unknown fields are ignored.
func Read(path string) (Record, error) {
	text, err := files.Read(path, maxFileBytes)
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

// ReadDir reads every *.json of a folder but profiles, without its sub-folders, in the order
// of their names. A file that is damaged, truncated or of a newer schema becomes a
// warning and never hides the others. The error is for the folder itself. Functions that are applied
// to each record as it is read (Slim) limit the memory of thousands of records.
func ReadDir(dir string, each ...func(*Record)) ([]Record, []Warning, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("records: %w", err)
	}
	var paths []string
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".json") && !strings.HasPrefix(name, ".") && !isProfile(name) {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	all, faults := make([]Record, len(paths)), make([]error, len(paths))
	var next atomic.Int64
	var readers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(paths)) {
		readers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(paths); i = int(next.Add(1)) - 1 {
				all[i], faults[i] = Read(paths[i])
				for _, change := range each {
					change(&all[i])
				}
			}
		})
	}
	readers.Wait()
	var records []Record
	var warnings []Warning
	for i, err := range faults {
		if err != nil {
			warnings = append(warnings, Warning{Path: paths[i], Err: err})
			continue
		}
		records = append(records, all[i])
	}
	return records, warnings, nil
}

// Slim removes the details of single runs that make up most of a long record: the losses of
// modules by epoch, and the accuracy of their classifiers after all epochs but the last.
func Slim(r *Record) {
	last := len(r.Accuracy.Epochs) - 1
	for i := range r.Accuracy.Epochs {
		e := &r.Accuracy.Epochs[i]
		e.ModuleLosses = nil
		if i < last {
			e.Heads = nil
		}
	}
}

// Totals is Slim, and removes what else a table of many records does not show: all epochs but the last, and the memory by module
// and by value.
func Totals(r *Record) {
	Brief(r)
	if n := len(r.Accuracy.Epochs); n > 1 {
		r.Accuracy.Epochs = []Epoch{r.Accuracy.Epochs[n-1]}
	}
	Slim(r)
}

// decode converts the text of a file to a valid record.
func decode(text []byte) (Record, error) {
	// Nearly every record is of the newest schema and is read once.
	var record Record
	if err := json.Unmarshal(text, &record); err == nil && record.Schema == Schema {
		record.Memory.nameArena(record.Started.IsZero())
		return record, record.Validate()
	}
	record = Record{}
	var head struct {
		Schema *int64 `json:"schema"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return Record{}, explain(err, text)
	}
	switch {
	case head.Schema == nil:
		return Record{}, errors.New("schema: missing; the file is not a record")
	case *head.Schema > Schema:
		return Record{}, &NewerSchemaError{Got: *head.Schema, Want: Schema}
	}
	text, err := migrate(text, *head.Schema, migrations())
	if err != nil {
		return Record{}, err
	}
	if err := json.Unmarshal(text, &record); err != nil {
		return Record{}, explain(err, text)
	}
	record.Memory.nameArena(record.Started.IsZero())
	return record, record.Validate()
}

// nameArena moves the arena of a planned record from before StepArenaBytes into that field: in such a record ArenaBytes was the
// arena of the training step, in a run's record that of the run.
func (m *Memory) nameArena(planned bool) {
	if planned && m.StepArenaBytes == nil {
		m.StepArenaBytes, m.ArenaBytes = m.ArenaBytes, nil
	}
}

// explain distinguishes a truncated file from one that is not JSON.
func explain(err error, text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("file is empty")
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		scan := json.NewDecoder(bytes.NewReader(text))
		var all json.RawMessage
		if errors.Is(scan.Decode(&all), io.ErrUnexpectedEOF) {
			return fmt.Errorf("file is truncated after %d bytes: %w", len(text), err)
		}
		return fmt.Errorf("not JSON at byte %d: %w", syntax.Offset, err)
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("%s: JSON %s at byte %d: must be %s", cmp.Or(kind.Field, "file"), kind.Value, kind.Offset, wanted(kind.Type))
	}
	return err
}

// wanted names the JSON value of a type.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

package results

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/localbench/localbench/atomicfile"
)

// Path is the path of a run's record in a folder of records.
func Path(dir, id string) string { return filepath.Join(dir, id+".json") }

// Write writes `<dir>/<id>.json` and creates the folder if needed. A schema of 0
// and an empty id are filled in (the newest, SpecID).
//
// The file is written atomically: after a failure an old record of the run is
// unchanged and no partial file exists. Measured
// numbers that are not finite are omitted, or null in a Series; other faults of
// the record (see Validate), or an id that is not its spec's, are an error. One of
// the system is an *atomicfile.Error.
func Write(dir string, record Record) error {
	text, record, err := encode(record)
	if err != nil {
		return fmt.Errorf("record %s: %w", record.ID, err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("record %s: folder of records: %w", record.ID, &atomicfile.Error{Path: dir, Err: err})
	}
	path := Path(dir, record.ID)
	if err := atomicfile.WriteBytes(path, text, 0o666); err != nil {
		return fmt.Errorf("record %s: %w", record.ID, err)
	}
	return nil
}

// encode fills in the fields that Write fills in, and converts the record to the text of its file.
func encode(record Record) ([]byte, Record, error) {
	if record.Schema == 0 {
		record.Schema = Schema
	}
	want := SpecID(record.Spec)
	if record.ID == "" {
		record.ID = want
	}
	if err := record.Validate(); err != nil {
		return nil, record, err
	}
	if record.ID != want {
		return nil, record, fmt.Errorf("id %s: must be %s, the id of its spec", record.ID, want)
	}
	text, err := marshal(record)
	return text, record, err
}

func marshal(record Record) ([]byte, error) {
	clean := withoutNonFinite(reflect.ValueOf(record)).Interface()
	text, err := json.MarshalIndent(clean, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

package results

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// migration converts the fields of a record of one schema to those of the next.
type migration func(fields map[string]any) error

// migrations lists, at index i, the step from schema i+1 to i+2. There is one
// schema so far, so the list is empty. A new schema raises Schema and appends one.
func migrations() []migration { return []migration{} }

// migrate converts the text of a record of an older schema to the newest. Numbers
// keep all their digits.
func migrate(text []byte, from int64, steps []migration) ([]byte, error) {
	newest := int64(len(steps)) + 1
	if from < 1 || from > newest {
		return nil, fmt.Errorf("schema %d: must be 1 to %d", from, newest)
	}
	if from == newest {
		return text, nil
	}
	fields := map[string]any{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		return nil, err
	}
	for schema := from; schema < newest; schema++ {
		if err := steps[schema-1](fields); err != nil {
			return nil, fmt.Errorf("migrating schema %d to %d: %w", schema, schema+1, err)
		}
		fields["schema"] = schema + 1
	}
	return json.Marshal(fields)
}

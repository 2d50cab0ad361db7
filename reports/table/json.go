package table

import (
	"fmt"
	"io"
	"math"
)

// jsonFormat is one document, {"tables": [...]}: the columns with their units, and
// each row as an object by column key, with its text and its number.
type jsonFormat struct{}

func (jsonFormat) Name() string      { return "json" }
func (jsonFormat) Extension() string { return ".json" }

func (jsonFormat) Write(w io.Writer, tables ...Table) error {
	if err := check(tables); err != nil {
		return err
	}
	shapes := []jsonShape{}
	for _, t := range tables {
		shapes = append(shapes, jsonTable(t))
	}
	if err := JSON(w, map[string][]jsonShape{"tables": shapes}); err != nil {
		return fmt.Errorf("tables: %w", err)
	}
	return nil
}

type jsonShape struct {
	ID      string                `json:"id,omitzero"`
	Run     string                `json:"run,omitzero"`
	Title   string                `json:"title"`
	Columns []jsonColumn          `json:"columns"`
	Rows    []map[string]jsonCell `json:"rows"`
	Notes   []string              `json:"notes"`
}

type jsonColumn struct {
	Key  string `json:"key"`
	Name string `json:"name"`
	Unit string `json:"unit,omitzero"`
}

type jsonCell struct {
	Text  string   `json:"text"`
	Value *float64 `json:"value,omitempty"`
	SD    *float64 `json:"sd,omitempty"`
	Ratio *float64 `json:"vs_bp,omitempty"`
	Best  bool     `json:"best,omitzero"`
}

// jsonTable omits empty cells: a value that was not measured is absent.
func jsonTable(t Table) jsonShape {
	out := jsonShape{ID: t.ID, Run: t.Run, Title: t.Title, Columns: []jsonColumn{}, Rows: []map[string]jsonCell{},
		Notes: append([]string{}, t.Notes...)}
	for _, c := range t.Columns {
		out.Columns = append(out.Columns, jsonColumn{c.Key, c.Name, c.Unit})
	}
	for _, row := range t.Rows {
		cells := map[string]jsonCell{}
		for i, c := range row {
			if i < len(t.Columns) && (c.Text != "" || c.Number != nil) {
				cells[t.Columns[i].Key] = jsonCell{c.Text, finite(c.Number), finite(c.Spread), finite(c.Ratio), c.Best}
			}
		}
		out.Rows = append(out.Rows, cells)
	}
	return out
}

// finite is nil for a number that JSON cannot hold.
func finite(x *float64) *float64 {
	if x == nil || math.IsNaN(*x) || math.IsInf(*x, 0) {
		return nil
	}
	return x
}

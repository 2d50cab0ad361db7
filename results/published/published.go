// Package published holds published results, each with its source and a mark of how
// it was verified. A cell without a value is a setting of a paper's table whose value could not
// be verified: it can be run, but is not judged until
// its value is added (Fill).
package published

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/localbench/localbench/files"
	"github.com/localbench/localbench/names"
)

// maxFileBytes bounds a file that Fill reads; our own has 58 KB.
const maxFileBytes = 16 << 20

//go:embed published.json
var text []byte

// Scale is how much of a published run is repeated.
type Scale string

// The scales at which a table is run.
const (
	ScaleFull    Scale = "full"    // the paper's epochs
	ScaleReduced Scale = "reduced" // a tenth of them
	ScaleSmoke   Scale = "smoke"   // one epoch of the first samples: that all of it runs
)

// The metrics of cells.
const (
	Top1            = "top1"             // accuracy on the test set, a fraction
	Top5            = "top5"             // the same, the class among the five likeliest
	Memory          = "memory"           // bytes
	MemoryReduction = "memory_reduction" // of bp's memory that the method does without, a fraction
)

// Cell is one published result.
type Cell struct {
	Table    string            `json:"table"`
	Dataset  string            `json:"dataset"`
	Network  string            `json:"network"`
	Method   string            `json:"method"`
	Metric   string            `json:"metric"`
	Value    *float64          `json:"value,omitempty"` // nil: the cell is known, but its figure could not be verified
	SD       *float64          `json:"sd,omitempty"`    // over the paper's trials
	Modules  int               `json:"modules,omitempty"`
	AuxDepth int               `json:"aux_depth,omitempty"`
	Batch    int64             `json:"batch,omitempty"`  // 0: the recipe's
	Epochs   int               `json:"epochs,omitempty"` // 0: the recipe's
	Options  map[string]string `json:"options,omitempty"`
	// Recipe describes the paper's training where it differs from ours; such a cell can't
	// be compared with our results.
	Recipe string `json:"recipe,omitempty"`
	Mark   string `json:"mark"` // a key of the file's marks
	Source string `json:"source"`
	Note   string `json:"note,omitempty"`
}

// Accuracy reports whether the cell is an accuracy.
func (c Cell) Accuracy() bool { return c.Metric == Top1 || c.Metric == Top5 }

// same reports whether two cells have the same setting.
func (c Cell) same(o Cell) bool {
	return c.Table == o.Table && c.Dataset == o.Dataset && c.Network == o.Network && c.Method == o.Method && c.Metric == o.Metric &&
		c.Modules == o.Modules && c.AuxDepth == o.AuxDepth && c.Batch == o.Batch && c.Epochs == o.Epochs &&
		maps.Equal(c.Options, o.Options)
}

// check validates a cell.
func (c Cell) check() error {
	for _, field := range [][2]string{{"table", c.Table}, {"dataset", c.Dataset}, {"network", c.Network}, {"method", c.Method},
		{"source", c.Source}} {
		if field[1] == "" {
			return fmt.Errorf("%s: missing", field[0])
		}
	}
	if !slices.Contains([]string{Top1, Top5, Memory, MemoryReduction}, c.Metric) {
		return fmt.Errorf("metric %q: must be %s, %s, %s or %s", c.Metric, Top1, Top5, Memory, MemoryReduction)
	}
	if !slices.Contains([]string{"A", "B", "D"}, c.Mark) {
		return fmt.Errorf("mark %q: must be A (seen in the authors' material), B (restated by others) or D (derived)", c.Mark)
	}
	for i, x := range []*float64{c.Value, c.SD} {
		name := []string{"value", "sd"}[i]
		switch {
		case x == nil:
		case c.Metric == Memory && *x <= 0:
			return fmt.Errorf("%s: %g: must be a number of bytes", name, *x)
		case c.Metric != Memory && (*x < 0 || *x > 1):
			return fmt.Errorf("%s: %g: must be a fraction in [0, 1], such as 0.9363 for 93.63 %%", name, *x)
		}
	}
	return nil
}

// All returns every cell, in the order of the tables.
func All() ([]Cell, error) { return parse(text) }

func parse(text []byte) ([]Cell, error) {
	var file struct {
		Schema int               `json:"schema"`
		Marks  map[string]string `json:"marks"`
		Cells  []Cell            `json:"cells"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("must be an object with cells, as in results/published/published.json: %w", err)
	}
	if file.Schema != 1 {
		return nil, fmt.Errorf("schema %d: must be 1", file.Schema)
	}
	for i, c := range file.Cells {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("cell %d (%s, %s, %s): %w", i+1, c.Table, c.Network, c.Method, err)
		}
	}
	return file.Cells, nil
}

// Fill reads a file of the same form, filled in from the papers by the user, and
// adds its values. A value is added to the cell with its setting if that has no
// value; a value without such a cell becomes a new cell after the others. An existing value
// is never overwritten.
func Fill(cells []Cell, path string) ([]Cell, error) {
	text, err := files.Read(path, maxFileBytes)
	if err != nil {
		return nil, err
	}
	filled, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	cells = slices.Clone(cells)
	for _, c := range filled {
		if c.Value == nil { // as in a copy of our own file, of which some were filled in
			continue
		}
		twin := func(o Cell) bool {
			return c.same(o) && (o.Value == nil || *o.Value == *c.Value && o.Source == c.Source)
		}
		if at := slices.IndexFunc(cells, twin); at >= 0 {
			cells[at] = c
			continue
		}
		cells = append(cells, c)
	}
	return cells, nil
}

// Table selects the cells of a table, or of all tables whose name begins with the name and a dash. The error
// of an unknown table lists the known ones.
func Table(cells []Cell, name string) ([]Cell, error) {
	var of []Cell
	var known []string
	for _, c := range cells {
		if c.Table == name || strings.HasPrefix(c.Table, name+"-") {
			of = append(of, c)
		}
		if !slices.Contains(known, c.Table) {
			known = append(known, c.Table)
		}
	}
	if name == "" || of == nil {
		return nil, &names.UnknownError{Kind: "table", Name: name, Known: known}
	}
	return of, nil
}

// Select returns the cells of a table that are of the methods and networks; empty lists: of all. fill is a file with values
// for cells without one; empty: none.
func Select(fill, table string, methods, networks []string) ([]Cell, error) {
	cells, err := All()
	if err == nil && fill != "" {
		cells, err = Fill(cells, fill)
	}
	if err == nil {
		cells, err = Table(cells, table)
	}
	if err != nil {
		return nil, err
	}
	all := len(cells)
	cells = slices.DeleteFunc(cells, func(c Cell) bool {
		return len(methods) > 0 && !slices.Contains(methods, c.Method) || len(networks) > 0 && !slices.Contains(networks, c.Network)
	})
	if len(cells) == 0 {
		return nil, fmt.Errorf("--table: none of the %d cells of %s has the methods %s and networks %s", all, table,
			cmp.Or(strings.Join(methods, ","), "any"), cmp.Or(strings.Join(networks, ","), "any"))
	}
	return cells, nil
}

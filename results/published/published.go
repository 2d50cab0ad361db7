// Package published holds figures of papers, each with its source and a mark of how
// it was seen. Only figures that were seen are here. A cell without one is a setting of a
// paper's table whose figure nobody could read: it can be run, and is judged by no one.
package published

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed published.json
var text []byte

// Cell is one figure.
type Cell struct {
	Table    string            `json:"table"`
	Dataset  string            `json:"dataset"`
	Network  string            `json:"network"`
	Method   string            `json:"method"`
	Metric   string            `json:"metric"`          // top1, a fraction; memory, bytes
	Value    *float64          `json:"value,omitempty"` // nil: the cell is known, its figure was not seen
	SD       *float64          `json:"sd,omitempty"`    // over the paper's trials
	Modules  int               `json:"modules,omitempty"`
	AuxDepth int               `json:"aux_depth,omitempty"`
	Batch    int64             `json:"batch,omitempty"`  // 0: the recipe's
	Epochs   int               `json:"epochs,omitempty"` // 0: the recipe's
	Options  map[string]string `json:"options,omitempty"`
	Mark     string            `json:"mark"` // A: seen in the authors' material; B: restated; D: derived
	Source   string            `json:"source"`
	Note     string            `json:"note,omitempty"`
}

// Cells returns the figures of a table. The error of an unknown table lists the known
// ones.
func Cells(table string) ([]Cell, error) {
	var file struct {
		Cells []Cell `json:"cells"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("published: %w", err)
	}
	var cells []Cell
	var known []string
	for _, c := range file.Cells {
		if c.Table == table {
			cells = append(cells, c)
		}
		if !slices.Contains(known, c.Table) {
			known = append(known, c.Table)
		}
	}
	if cells == nil {
		return nil, fmt.Errorf("table: got %q, want one of %s", table, strings.Join(known, ", "))
	}
	return cells, nil
}

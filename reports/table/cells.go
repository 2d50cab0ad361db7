package table

import (
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/localbench/localbench/results"
)

// TextColumn is a column of names.
func TextColumn(key, name string) Column { return Column{Key: key, Name: name} }

// NumberColumn is a column of quantities.
func NumberColumn(key, name string) Column { return Column{Key: key, Name: name, Align: AlignRight} }

// BytesCell is a size; empty where it is not known.
func BytesCell(n *int64) Cell {
	if n == nil {
		return Cell{}
	}
	return Number(float64(*n), Bytes(*n))
}

// CountCell is a count with separated thousands; empty where it is not known.
func CountCell(n *int64) Cell {
	if n == nil {
		return Cell{}
	}
	return Number(float64(*n), Count(*n))
}

// FLOPsCell is a count of operations with an SI prefix: 138.6 M.
func FLOPsCell(n *int64) Cell {
	if n == nil {
		return Cell{}
	}
	x, prefix := humanize.ComputeSI(float64(*n))
	return Number(float64(*n), fmt.Sprintf("%.4g %s", x, prefix))
}

// PlainCell is a whole number as it is; empty for 0, where a setting does not apply.
func PlainCell(n int64) Cell {
	if n == 0 {
		return Cell{}
	}
	return Number(float64(n), fmt.Sprint(n))
}

// Over relates a cell to a baseline, where there is one.
func Over(c Cell, baseline *int64) Cell {
	if c.Number != nil && baseline != nil && *baseline > 0 {
		ratio := *c.Number / float64(*baseline)
		c.Ratio = &ratio
	}
	return c
}

// SpecColumns are the columns that tell runs apart in most tables.
func SpecColumns() []Column {
	return []Column{TextColumn("method", "method"), TextColumn("network", "network"), TextColumn("dataset", "data set"),
		NumberColumn("batch", "batch"), NumberColumn("aux_depth", "d"), NumberColumn("modules", "K")}
}

// SpecCells are the cells of SpecColumns; localModules is K.
func SpecCells(s results.Spec, localModules int64) []Cell {
	return []Cell{
		Text(s.Method),
		Text(s.Network),
		Text(s.Dataset),
		PlainCell(s.Batch),
		PlainCell(s.AuxDepth),
		PlainCell(localModules),
	}
}

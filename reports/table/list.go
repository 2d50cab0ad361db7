package table

import (
	"io"

	"github.com/localbench/localbench/names"
)

// Format writes tables one after the other in one notation.
type Format interface {
	Name() string      // as in --format
	Extension() string // of a file, with its dot
	Write(w io.Writer, tables ...Table) error
}

// Formats lists every format, the default first.
func Formats() []Format { return []Format{text{}, markdown{}, csvFormat{}, latex{}, jsonFormat{}} }

// Lookup finds a format by its name.
func Lookup(name string) (Format, error) {
	return names.Find("format", name, Formats(), Format.Name)
}

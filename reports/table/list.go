package table

import (
	"fmt"
	"io"
	"strings"
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
	var names []string
	for _, f := range Formats() {
		if f.Name() == name {
			return f, nil
		}
		names = append(names, f.Name())
	}
	return nil, fmt.Errorf("format: got %q, want one of %s", name, strings.Join(names, ", "))
}

package graph

import (
	"fmt"
	"io"
)

// Dump writes the program as text, one op a line: results, kind, operands,
// scope and phase. For people and golden tests, not for machines.
func (g *Graph) Dump(w io.Writer) error {
	for i, op := range g.Ops {
		if _, err := fmt.Fprintf(w, "%4d %-9s %-24s", i, op.Phase, op.Kind); err != nil {
			return err
		}
		for _, v := range op.Results {
			in := ""
			if v.Shares != nil {
				in = " in " + v.Shares.Name
			}
			fmt.Fprintf(w, " %s%s,", v, in)
		}
		fmt.Fprint(w, " <-")
		for _, v := range op.Operands {
			fmt.Fprintf(w, " %s,", v)
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}

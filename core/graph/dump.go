package graph

import (
	"bufio"
	"fmt"
	"io"
)

// Dump writes the program as text, one op a line: position, phase, kind, results with type, shape and category, operands,
// and the scope where it was written. A result that aliases an operand is followed by "in" and that operand; the stream of
// an op, if not 0, and the ops of other streams that it waits for stand at the end. For people, not for programs.
func (g *Graph) Dump(w io.Writer) error {
	out := bufio.NewWriter(w)
	for i, op := range g.Ops {
		fmt.Fprintf(out, "%4d %-9s %s", i, op.Phase, op.Kind)
		for n, v := range op.Results {
			fmt.Fprintf(out, "%s %s (%s)", separator(n), v, v.Category)
			if v.Shares != nil {
				fmt.Fprintf(out, " in %s", v.Shares.Name)
			}
		}
		fmt.Fprint(out, " <-")
		for n, v := range op.Operands {
			fmt.Fprintf(out, "%s %s", separator(n), v)
		}
		fmt.Fprintf(out, " @ %s", op.Scope)
		if op.Stream > 0 {
			fmt.Fprintf(out, " stream %d", op.Stream)
		}
		if len(op.Waits) > 0 {
			fmt.Fprintf(out, " waits for ops %v", op.Waits)
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

func separator(n int) string {
	if n == 0 {
		return ""
	}
	return ","
}

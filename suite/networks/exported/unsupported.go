package exported

import (
	"cmp"
	"fmt"
	"strings"
)

// UnsupportedError lists everything in a graph that the step program has no op for.
type UnsupportedError struct {
	Path string
	Ops  []UnsupportedOp // the most frequent first
}

// UnsupportedOp is one kind of op, or one use of an op, that is not supported.
type UnsupportedOp struct {
	Op     string // "gelu", "conv2d with dilation"
	Count  int
	Module string // the first module that runs it
}

// Error lists the ops, with their number and the first module of each.
func (e *UnsupportedError) Error() string {
	parts := make([]string, len(e.Ops))
	for i, o := range e.Ops {
		parts[i] = fmt.Sprintf("%s (%d, first in %s)", o.Op, o.Count, cmp.Or(o.Module, "the network itself"))
	}
	return fmt.Sprintf("%s: the network uses ops that are not supported: %s", e.Path, strings.Join(parts, "; "))
}

// Hint says where the supported ops are listed.
func (e *UnsupportedError) Hint() string {
	return "docs/your-own-network.md lists the ops that are supported"
}

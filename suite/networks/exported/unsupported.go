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

// attention returns an error that names the network if it computes attention, as vision transformers do.
func attention(g *graphText) error {
	uses := map[string]int{}
	first := map[string]*nodeText{}
	for i := range g.Nodes {
		name, _, _ := strings.Cut(strings.TrimPrefix(g.Nodes[i].Target, "torch.ops.aten."), ".")
		if uses[name]++; first[name] == nil {
			first[name] = &g.Nodes[i]
		}
	}
	name := "scaled_dot_product_attention"
	if uses[name] == 0 && uses["matmul"]+uses["bmm"] > 0 {
		name = "softmax" // of the products of queries and keys, as Swin has it
	}
	if uses[name] == 0 {
		return nil
	}
	modules, class, where := first[name].stack(), "the network", "the network itself"
	if len(modules) > 0 {
		class, where = modules[0].kind[strings.LastIndexByte(modules[0].kind, '.')+1:], cmp.Or(modules[len(modules)-1].path, where)
	}
	return &FormatError{Reason: fmt.Sprintf("%s computes attention (%s: %d, first in %s); transformers are not supported, only "+
		"networks of convolutions", class, name, uses[name], where)}
}

package exported

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// The JSON of a graph, as torch/_export/serde/schema.py of PyTorch defines it: the parts that this package needs.

type document struct {
	Schema struct {
		Major int `json:"major"`
	} `json:"schema_version"`
	Module struct {
		Graph     graphText `json:"graph"`
		Signature signature `json:"signature"`
	} `json:"graph_module"`
}

type graphText struct {
	Inputs  []argument            `json:"inputs"`
	Outputs []argument            `json:"outputs"`
	Nodes   []nodeText            `json:"nodes"`
	Tensors map[string]tensorMeta `json:"tensor_values"`
}

type nodeText struct {
	Target string `json:"target"`
	Inputs []struct {
		Name string   `json:"name"`
		Arg  argument `json:"arg"`
	} `json:"inputs"`
	Outputs  []argument `json:"outputs"`
	Metadata struct {
		Stack string `json:"nn_module_stack"`
	} `json:"metadata"`
}

// argument is a tagged union; exactly one of its fields is set.
type argument struct {
	Tensor  *named          `json:"as_tensor"`
	Tensors []named         `json:"as_tensors"`
	None    json.RawMessage `json:"as_none"`
	Int     *int64          `json:"as_int"`
	Ints    []int64         `json:"as_ints"`
	Float   json.RawMessage `json:"as_float"` // a number, or "Infinity", "-Infinity", "NaN"
	Bool    *bool           `json:"as_bool"`
	Text    *string         `json:"as_string"`
	SymInt  *symInt         `json:"as_sym_int"`
	SymInts []symInt        `json:"as_sym_ints"`
}

type named struct {
	Name string `json:"name"`
}

// symInt is a number, or the name of a value that a node computes from a symbolic size.
type symInt struct {
	Int  *int64 `json:"as_int"`
	Name string `json:"as_name"`
}

type tensorMeta struct {
	Type  int `json:"dtype"`
	Sizes []struct {
		Int  *int64          `json:"as_int"`
		Expr json.RawMessage `json:"as_expr"` // symbolic
	} `json:"sizes"`
}

// The element types of the schema that matter here.
const (
	typeInt64   = 5
	typeFloat32 = 7
)

type signature struct {
	Inputs []struct {
		Parameter *struct {
			Arg  named  `json:"arg"`
			Name string `json:"parameter_name"`
		} `json:"parameter"`
		Buffer *struct {
			Arg  named  `json:"arg"`
			Name string `json:"buffer_name"`
		} `json:"buffer"`
		User *struct {
			Arg argument `json:"arg"`
		} `json:"user_input"`
	} `json:"input_specs"`
	Outputs []struct {
		User *struct {
			Arg argument `json:"arg"`
		} `json:"user_output"`
	} `json:"output_specs"`
}

// arg returns an argument of the node by name, nil if it is absent or None: then it has its default.
func (n *nodeText) arg(name string) *argument {
	for i := range n.Inputs {
		if a := &n.Inputs[i].Arg; n.Inputs[i].Name == name && a.None == nil {
			return a
		}
	}
	return nil
}

// tensor returns the name of the tensor that an argument is, "" if the argument is something else.
func (n *nodeText) tensor(name string) string {
	if a := n.arg(name); a != nil && a.Tensor != nil {
		return a.Tensor.Name
	}
	return ""
}

// result is the name of the first result.
func (n *nodeText) result() string {
	if len(n.Outputs) > 0 && n.Outputs[0].Tensor != nil {
		return n.Outputs[0].Tensor.Name
	}
	return ""
}

// number returns a number, or the given default where the argument is absent; ok is false where it is something else.
func (n *nodeText) number(name string, def float64) (x float64, ok bool) {
	switch a := n.arg(name); {
	case a == nil:
		return def, true
	case a.Int != nil:
		return float64(*a.Int), true
	case a.Float != nil:
		x, err := strconv.ParseFloat(strings.Trim(string(a.Float), `"`), 64)
		return x, err == nil
	}
	return 0, false
}

// name is the op without its overload and the underscore of ops that work in place.
func (n *nodeText) name() string {
	name, _, _ := strings.Cut(strings.TrimPrefix(n.Target, "torch.ops.aten."), ".")
	return strings.TrimSuffix(name, "_")
}

// dimension returns a dimension of a tensor of the given rank, counted from 0; 0 where the argument is absent.
func (n *nodeText) dimension(name string, rank int) (d int, ok bool) {
	x, ok := n.number(name, 0)
	if x < 0 {
		x += float64(rank)
	}
	if !ok || !(x >= 0 && x < float64(rank)) || x != math.Trunc(x) {
		return 0, false
	}
	return int(x), true
}

// text returns a text, or the default where the argument is absent; empty where it is something else.
func (n *nodeText) text(name, def string) string {
	switch a := n.arg(name); {
	case a == nil:
		return def
	case a.Text != nil:
		return *a.Text
	}
	return ""
}

// flag is number for a truth value.
func (n *nodeText) flag(name string, def bool) (value, ok bool) {
	switch a := n.arg(name); {
	case a == nil:
		return def, true
	case a.Bool != nil:
		return *a.Bool, true
	}
	return false, false
}

// pair returns two whole numbers, which may be given as one.
func (n *nodeText) pair(name string, def [2]int64) (p [2]int64, ok bool) {
	a := n.arg(name)
	if a == nil {
		return def, true
	}
	switch ints := a.list(); {
	case len(ints) == 0 && a.Ints != nil:
		return def, true
	case len(ints) == 1:
		p = [2]int64{ints[0], ints[0]}
	case len(ints) == 2:
		p = [2]int64{ints[0], ints[1]}
	default:
		return p, false
	}
	for _, x := range p {
		if x < 0 || x > 1<<20 {
			return p, false
		}
	}
	return p, true
}

// list returns the whole numbers of an argument that is one or a list of them, with 0 for a size that is symbolic.
func (a *argument) list() []int64 {
	switch {
	case a.Int != nil:
		return []int64{*a.Int}
	case a.Ints != nil:
		return a.Ints
	case a.SymInt != nil:
		return symInts([]symInt{*a.SymInt})
	}
	return symInts(a.SymInts)
}

func symInts(list []symInt) (out []int64) {
	for _, s := range list {
		n := int64(0)
		if s.Int != nil {
			n = *s.Int
		}
		out = append(out, n)
	}
	return out
}

// module is one entry of a node's module stack.
type module struct{ path, kind string }

// stack returns the modules that the node ran in, the network itself first.
func (n *nodeText) stack() (out []module) {
	for _, entry := range strings.Split(n.Metadata.Stack, ";") {
		fields := strings.Split(entry, ",")
		if len(fields) >= 3 && !strings.HasPrefix(fields[1], "_") {
			out = append(out, module{fields[1], fields[2]})
		}
	}
	return out
}

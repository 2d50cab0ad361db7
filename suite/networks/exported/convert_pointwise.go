package exported

import (
	"slices"
	"strings"

	"github.com/localbench/localbench/core/graph"
)

// pointwiseReaders read activations, sums and products.
var pointwiseReaders = map[string]reader{
	"relu": activation(graph.ActivationReLU), "relu6": activation(graph.ActivationReLU6), "hardtanh": readHardtanh,
	"silu": activation(graph.ActivationSiLU), "sigmoid": activation(graph.ActivationSigmoid),
	"hardswish": activation(graph.ActivationHardswish), "hardsigmoid": activation(graph.ActivationHardsigmoid), "gelu": readGELU,
	"add": readAdd, "mul": readGate,
}

func activation(a graph.Activation) reader {
	return func(_ *converter, _ *nodeText, o *op) string {
		o.kind, o.activation = kindActivation, a
		return ""
	}
}

func readHardtanh(_ *converter, n *nodeText, o *op) string {
	o.kind, o.activation = kindActivation, graph.ActivationReLU6
	low, ok1 := n.number("min_val", -1)
	high, ok2 := n.number("max_val", 1)
	if !ok1 || !ok2 || low != 0 || high != 6 {
		return "with other bounds than 0 and 6"
	}
	return ""
}

func readGELU(_ *converter, n *nodeText, o *op) string {
	o.kind = kindActivation
	switch n.text("approximate", "none") {
	case "none":
		o.activation = graph.ActivationGELU
	case "tanh":
		o.activation = graph.ActivationGELUTanh
	default:
		return "with another approximation than none or tanh"
	}
	return ""
}

func readAdd(c *converter, n *nodeText, o *op) string {
	o.kind = kindAdd
	if alpha, ok := n.number("alpha", 1); !ok || alpha != 1 {
		return "with a factor (alpha)"
	}
	if !slices.Equal(c.sizes[o.in[0]], c.sizes[o.in[1]]) {
		return "of tensors of different shapes"
	}
	return ""
}

// readGate reads the product of a map [N, C, H, W] and factors [N, C, 1, 1], as in squeeze-and-excitation. A sigmoid or
// hardsigmoid that makes the factors becomes a part of the op.
func readGate(c *converter, _ *nodeText, o *op) string {
	o.kind = kindGate
	fits := func(side int) bool {
		x := c.sizes[o.in[1-side]]
		return len(x) == 3 && slices.Equal(c.sizes[o.in[side]], []int64{x[0], 1, 1})
	}
	for side, v := range o.in {
		if m := c.maker[v]; fits(side) && m != nil && m.kind == kindActivation &&
			(m.activation == graph.ActivationSigmoid || m.activation == graph.ActivationHardsigmoid) {
			o.in, o.activation = []int{o.in[1-side], m.in[0]}, m.activation
			return ""
		}
	}
	for _, side := range []int{1, 0} {
		if fits(side) {
			o.in = []int{o.in[1-side], o.in[side]}
			return ""
		}
	}
	return "other than of a map [N, C, H, W] by factors [N, C, 1, 1] or a parameter, or in stochastic depth"
}

// factor returns which operand of a product is a parameter, -1 if none or both are.
func (c *converter) factor(name string, operands []string) int {
	if name != "mul" || len(operands) != 2 {
		return -1
	}
	_, first := c.parameters[operands[0]]
	_, second := c.parameters[operands[1]]
	switch {
	case first == second:
		return -1
	case first:
		return 0
	}
	return 1
}

// readScale reads the product of a tensor and a parameter that has an element for each channel.
func readScale(c *converter, n *nodeText, o *op) string {
	const other = "by a parameter other than one with an element for each channel"
	o.kind = kindScale
	side := "self"
	if _, ok := c.parameters[n.tensor(side)]; !ok {
		side = "other"
	}
	full := c.parameters[n.tensor(side)]
	dot := strings.LastIndexByte(full, '.')
	if dot < 0 {
		return "by a parameter that is in no module"
	}
	if c.used[full] {
		return "by a parameter that several ops read"
	}
	o.parameter = full[dot+1:]
	var ok bool
	if o.layer, o.shape, ok = c.parameter(n, side, o.parameter); !ok {
		return "by a parameter that is not float32"
	}
	l := c.layoutOf(o.in[0])
	sizes, channels := c.sizes[o.in[0]], -1
	for i, extent := range o.shape { // aligned with the last dimensions of the tensor
		dim := len(sizes) - len(o.shape) + i
		switch {
		case extent == 1 && dim >= -1:
		case channels < 0 && dim >= 0 && extent == sizes[dim]:
			channels = dim
		default:
			return other
		}
	}
	if channels < 0 || !l.along(channels) {
		return other
	}
	o.inputs, o.layout, o.settled = sizes[channels], l, true
	return ""
}

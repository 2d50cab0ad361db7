package exported

import "slices"

// pointwiseReaders read activations, sums and products.
var pointwiseReaders = map[string]reader{
	"relu": plain(kindReLU), "relu6": plain(kindReLU6), "hardtanh": readHardtanh, "silu": plain(kindSiLU),
	"sigmoid": plain(kindSigmoid), "add": readAdd, "mul": readGate,
}

func readHardtanh(_ *converter, n *nodeText, o *op) string {
	o.kind = kindReLU6
	low, ok1 := n.number("min_val", -1)
	high, ok2 := n.number("max_val", 1)
	if !ok1 || !ok2 || low != 0 || high != 6 {
		return "with other bounds than 0 and 6"
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

// readGate reads the product of squeeze-and-excitation.
func readGate(c *converter, _ *nodeText, o *op) string {
	o.kind = kindGate
	for side, v := range o.in {
		gate, x := c.maker[v], o.in[1-side]
		if gate != nil && gate.kind == kindSigmoid && len(c.sizes[x]) == 3 && slices.Equal(c.sizes[v], []int64{c.sizes[x][0], 1, 1}) {
			o.in = []int{x, gate.in[0]}
			return ""
		}
	}
	return "other than by the sigmoid of squeeze-and-excitation, or in stochastic depth"
}

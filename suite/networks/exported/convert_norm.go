package exported

// normReaders read normalisations.
var normReaders = map[string]reader{"batch_norm": readNorm, "layer_norm": readLayerNorm}

func readNorm(c *converter, n *nodeText, o *op) string {
	o.kind = kindNorm
	training, ok := n.flag("training", false)
	if !ok || !training {
		return evaluation
	}
	shape, why := c.layerOf(n, o, 1, true)
	if why != "" {
		return why
	}
	for _, role := range []string{"running_mean", "running_var"} {
		if layer, b, ok := c.parameter(n, role, role); !ok || layer != o.layer || len(b) != 1 || b[0] != o.width {
			return "without running statistics"
		}
	}
	var ok1, ok2 bool
	o.momentum, ok1 = n.number("momentum", 0.1)
	o.eps, ok2 = n.number("eps", 1e-5)
	if !ok1 || !ok2 || !(o.momentum >= 0 && o.momentum <= 1) || !(o.eps > 0 && o.eps < 1) {
		return "with a momentum outside of 0 to 1, or an eps that is not positive"
	}
	o.inputs = shape[0]
	if in := c.sizes[o.in[0]]; len(in) != 3 && len(in) != 1 || in[0] != o.inputs {
		return "of something else than [N, C, H, W] or [N, C]"
	}
	return ""
}

// readLayerNorm reads the normalisation of the last dimension.
func readLayerNorm(c *converter, n *nodeText, o *op) string {
	o.kind = kindLayerNorm
	shape, why := c.layerOf(n, o, 1, true)
	if why != "" {
		return why
	}
	over := n.arg("normalized_shape")
	in := c.sizes[o.in[0]]
	l, ok := c.rowsOf(o)
	if over == nil || len(over.list()) != 1 || over.list()[0] != shape[0] || in[len(in)-1] != shape[0] || !ok {
		return "over other dimensions than the channels"
	}
	if o.eps, ok = n.number("eps", 1e-5); !ok || !(o.eps > 0 && o.eps < 1) {
		return "with an eps that is not positive"
	}
	o.inputs, o.layout, o.settled = shape[0], l, true
	return ""
}
